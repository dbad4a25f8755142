//! Decides what should run and what happens next.
//!
//! [`machine`] is the core: a pure state machine, without I/O, clock or tasks. One actor owns its state, performs the
//! effects that it asks for through executors and probes, and feeds back what happened as events.

pub mod actor;
pub mod executor;
pub mod health;
pub mod layout;
pub mod logs;
pub mod machine;
pub mod mirror;
pub mod ports;
pub mod secrets;
pub mod words;

pub use actor::Orchestrator;

#![doc = include_str!("../README.md")]
//!
//! # Modules
//!
//! | module | what is in it |
//! |---|---|
//! | [`command`] | what to run, as a value |
//! | [`layer`] | what wraps a command: `sudo`, `env`; layers nest |
//! | [`executor`] | runs commands on this machine |
//! | [`process`] | a direct child: managed, streamed, and killed when its handle is dropped |
//! | [`attached`] | somebody else's process: watched and signalled, but never stopped by us |
//! | [`supervised`] | a local service under the shim, which outlives whoever started it |
//! | [`boot_clock`] | the time since the boot, and when a process started in that time |
//! | [`logs`] | following the records of a run directory |
//! | [`mod@write`] | writing a file with the rights of a service's user |
//! | [`shim_binary`] | one copy of the shim per version |
//!
//! Nothing here starts an executor or depends on one: every future runs under whichever runtime polls it.

pub mod attached;
pub mod boot_clock;
pub mod command;
pub mod executor;
pub mod layer;
pub mod logs;
pub mod patience;
pub mod process;
mod pty;
mod reaper;
pub mod shim_binary;
pub mod supervised;
pub mod write;

pub use attached::AttachedHandle;
pub use command::{Command, StdinMode, WindowSize};
pub use executor::Executor;
pub use layer::Layer;
pub use process::{ProcessEvent, Running};
pub use supervised::{Supervised, Supervisor};

#![doc = include_str!("../README.md")]
//!
//! # Rooms
//!
//! | room | what is in it |
//! |---|---|
//! | [`command`] | what to run, as a value |
//! | [`layer`] | where to run it: local, ssh, docker; they nest |
//! | [`executor`] | a stack of layers, and `run` |
//! | [`process`] | a direct child: managed, streamed, killed when its handle is dropped |
//! | [`attached`] | somebody else's process: watched and signalled, never stopped by us |
//! | [`supervised`] | a local service under the shim, which outlives whoever started it |
//! | [`boot_clock`] | the time since the boot, and when a process began in it |
//! | [`logs`] | following the log of a run directory |
//! | [`mod@write`] | putting a file where a service's user may put it |
//! | [`shim_binary`] | one copy of the shim per version |
//!
//! Nothing here starts an executor or binds one: every future runs under whichever runtime polls it.

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
pub use logs::LogFollower;
pub use process::{ProcessEvent, Running};
pub use supervised::{Supervised, Supervisor};

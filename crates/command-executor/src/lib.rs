#![doc = include_str!("../README.md")]
//!
//! # Modules
//!
//! | module | what is in it |
//! |---|---|
//! | [`host`] | a machine on which things are run, and what it is told and answers |
//! | [`local`] | this machine |
//! | [`command`] | what to run, as a value |
//! | [`layer`] | what wraps a command: `sudo`, `env`; layers nest |
//! | [`mod@run`] | following a command to its end |
//! | [`process`] | a direct child: managed, streamed, and killed when its handle is dropped |
//! | [`supervised`] | a run under the shim, which outlives whoever started it |
//! | [`boot_clock`] | the time since the boot, and when a process started in that time |
//! | [`logs`] | following the records of a run directory |
//! | [`shim_binary`] | one copy of the shim per version |
//!
//! Nothing here starts an executor or depends on one: every future runs under whichever runtime polls it.

mod attached;
pub mod boot_clock;
pub mod command;
pub mod host;
pub mod layer;
pub mod local;
pub mod logs;
pub mod patience;
pub mod process;
mod pty;
mod reaper;
pub mod run;
pub mod shim_binary;
pub mod supervised;
mod write;

pub use command::{Command, StdinMode, WindowSize};
pub use host::{Generation, Host, HostError, Managed, NotReached};
pub use layer::Layer;
pub use local::Local;
pub use process::{ProcessEvent, Running};
pub use run::run_until;

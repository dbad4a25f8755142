//! The supervisor of one process, and the run-directory contract it shares with whoever started it.
#![doc = include_str!("../README.md")]
//!
//! | room | what is in it |
//! |---|---|
//! | [`run_dir`] | the files of a run directory, and the lock that says whether its shim lives |
//! | [`identity`] | processes named so that a reused pid is never mistaken for the old one |
//! | [`log`] | log segments: writer, reader, line cutter |
//! | [`control`] | what a client may ask of a running shim |
//! | [`handshake`] | the one line a starting shim sends to its starter |
//! | [`command`] | running a command with a supervisor of its own, which ends with its starter |
//! | [`exit_watch`] | how a process ended whose shim died before it could say so |
//! | [`tree`] | finding and killing what a dead shim left behind |
//! | [`cgroup`] | whether cgroups may be used here, and killing with them |
//! | [`zygote`] | asking a waiting shim for supervisors, which start faster that way |
//! | [`mod@write`] | putting a file where a service's user may put it |
//! | [`main`] | the `harness-shim` program itself |
//!
//! The life of a shim:
//!
//! ```text
//!            spec read, log, socket        identity written          main exits, rest signalled
//! started ------------------------> forked ----------------> running ------------------------> draining
//!    |                                |  exec failed            | Stop                            |  |
//!    |                                v                         v                     nobody left |  | grace over
//!    +--------------------------> exit record <--- gone <--- stopping ---- grace over --> killing <--+
//! ```

mod account;
mod atomic_file;
pub mod cgroup;
mod cli;
pub mod command;
pub mod control;
mod exec;
pub mod exit_watch;
pub mod handshake;
pub mod identity;
mod launch;
pub mod log;
pub mod run_dir;
mod supervise;
mod sys;
mod text;
pub mod tree;
mod working_dir;
pub mod write;
pub mod zygote;

pub use cli::main;

//! The supervisor of one process, and the layout of the run directory that it shares with whoever started it.
#![doc = include_str!("../README.md")]
//!
//! | module | what is in it |
//! |---|---|
//! | [`run_dir`] | the files of a run directory, and the lock that shows whether its shim lives |
//! | [`identity`] | processes, identified in such a way that a reused pid is never mistaken for the old process |
//! | [`log`] | log segments: writer, reader, line cutter |
//! | [`control`] | the requests that a client can send to a running shim |
//! | [`handshake`] | the single line that a starting shim sends to its starter |
//! | [`command`] | running a command with its own supervisor, which ends with the starter |
//! | [`exit_watch`] | how a process ended if its shim died before it could report that |
//! | [`tree`] | finding and killing what a dead shim left behind |
//! | [`cgroup`] | whether cgroups may be used here, and killing with them |
//! | [`zygote`] | asking a waiting shim to fork supervisors, which is faster |
//! | [`mod@write`] | writing a file with the rights of a service's user |
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
pub mod words;
mod working_dir;
pub mod write;
pub mod zygote;

pub use cli::main;

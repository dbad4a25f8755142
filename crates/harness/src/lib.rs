//! The programs of harness: the `harness` command line, whose verbs send requests over the one protocol, with all the text
//! that people read, and the daemon that owns the services.
//!
//! A program with types of its own calls [`cli::main_with`] and [`daemon::main_with`]. `harness-shim` shares only the
//! library crates with them.

pub mod actions;
pub mod cli;
pub mod daemon;

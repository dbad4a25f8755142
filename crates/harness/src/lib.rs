//! The `harness` command line: verbs that send requests over the one protocol, and all the text that people read.
//!
//! The package's other two programs, `harness-executor-daemon` and `harness-shim`, share only the library crates with
//! it.

pub mod actions;
pub mod cli;

//! The `harness` command line: thin verbs over the one protocol, and all the words people read.
//!
//! The package's other two programs, `harness-executor-daemon` and `harness-shim`, share nothing with it but
//! the crates below.

pub mod actions;
pub mod cli;

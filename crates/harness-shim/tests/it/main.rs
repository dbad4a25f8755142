//! The real shim, run the way a starter runs it.

#![allow(missing_docs, unreachable_pub, reason = "tests")]
#![expect(
    clippy::disallowed_methods,
    reason = "the tests start the shim and what it supervises themselves"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests fail the test"
)]

mod disk_full;
mod exec;
mod formats;
mod garbage;
mod leftovers;
mod output;
mod running;
mod stdin_tty;
mod stopping;
mod support;
mod users;

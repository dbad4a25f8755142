//! The real shim, run in the way in which a starter runs it.

#![cfg(test)]
#![allow(unreachable_pub, reason = "tests")]
#![expect(
    clippy::disallowed_methods,
    reason = "the tests start the shim and what it supervises themselves"
)]

mod disk_full;
mod evidence;
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

//! Never orphaned, never doubled, nothing forgotten: whatever is killed or held, at whatever instant.
//!
//! | file | what is attacked |
//! |---|---|
//! | `orders` | the daemon, killed amid start, stop, restart, replacement and crashes of services |
//! | `oneshots` | the daemon, killed while one-shots run and end |
//! | `floods` | the daemon, killed while services flood their logs |
//! | `together` | the daemon, supervisors and services, killed at once |
//! | `shims` | supervisors, killed under a living daemon |
//! | `clients` | command lines, killed amid a request or a stream |
//! | `paused` | the daemon, stopped by SIGSTOP for a while |
//!
//! Instants and orders are drawn from a seed, which a failing test tells: `HARNESS_CHAOS_SEED` draws them again,
//! and `HARNESS_CHAOS_ROUNDS` says how many rounds there are in all.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    missing_docs,
    reason = "this is test code, which fails by panicking"
)]

#[path = "../common/mod.rs"]
mod common;

mod clients;
mod dice;
mod floods;
mod oneshots;
mod orders;
mod paused;
mod shims;
mod together;
mod witness;

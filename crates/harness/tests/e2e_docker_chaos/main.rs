//! Never orphaned, never doubled, nothing forgotten, where services are containers: the daemon is killed at any instant.
//!
//! | file | amid what |
//! |---|---|
//! | `orders` | starts, stops, restarts and replacements of containers, and deaths of theirs |
//! | `oneshots` | one-shots that run and end |
//! | `floods` | floods of log lines |
//!
//! Instants and orders are drawn from a seed, which a failing test tells: `HARNESS_CHAOS_SEED` draws them again. There
//! is a quarter of the rounds that `HARNESS_CHAOS_ROUNDS` asks of `e2e_chaos`, whose witnesses these are.

#![cfg(feature = "docker-tests")]
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

#[path = "../e2e_chaos/dice.rs"]
#[allow(dead_code, reason = "each test program uses its part of it")]
mod dice;

mod floods;
mod oneshots;
mod orders;
mod world;

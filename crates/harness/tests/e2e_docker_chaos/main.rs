//! Never orphaned, never doubled, nothing forgotten, where services are containers: the daemon is killed at any instant,
//! as `../chaos` says.
//!
//! `HARNESS_CHAOS_SEED` draws the instants of a failing test again. There is a quarter of the rounds that
//! `HARNESS_CHAOS_ROUNDS` asks of `e2e_chaos`.

#![cfg(test)]
#![cfg(feature = "docker-tests")]

#[path = "../common/mod.rs"]
mod common;

#[path = "../chaos/mod.rs"]
#[allow(dead_code, reason = "each test program uses its part of it")]
mod chaos;

mod containers;

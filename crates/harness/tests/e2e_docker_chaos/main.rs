//! Never orphaned, never doubled, nothing forgotten, with services that are containers: the daemon is killed at any
//! instant, as `../chaos` says. `HARNESS_CHAOS_SEED` repeats the instants of a failing test. There are a quarter of
//! the rounds that `e2e_chaos` plays with `HARNESS_CHAOS_ROUNDS`.

#![cfg(test)]
#![cfg(feature = "docker-tests")]

#[path = "../common/mod.rs"]
mod common;

#[path = "../chaos/mod.rs"]
#[allow(dead_code, reason = "each test program uses its part of it")]
mod chaos;

mod containers;

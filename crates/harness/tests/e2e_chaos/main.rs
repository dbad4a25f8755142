//! Never orphaned, never doubled, nothing forgotten: whatever is killed or held, at whatever instant.
//!
//! | file | what is attacked |
//! |---|---|
//! | `host` | the daemon, as `../chaos` says, where services are processes |
//! | `together` | the daemon, supervisors and services, killed at once |
//! | `shims` | supervisors, killed under a living daemon |
//! | `hooks` | the daemon and services, amid their hooks |
//! | `clients` | command lines, killed amid a request or a stream |
//! | `homes` | the home, damaged at any instant, with the daemon and supervisors killed as well |
//! | `paused` | the daemon, stopped by SIGSTOP for a while |
//! | `sessions` | the shells, terminals and groups that orders are given from, with strangers in them |
//!
//! Instants and orders are drawn from a seed, which a failing test tells: `HARNESS_CHAOS_SEED` draws them again,
//! and `HARNESS_CHAOS_ROUNDS` says how many rounds there are in all.

#![cfg(test)]

#[path = "../common/mod.rs"]
mod common;

#[path = "../chaos/mod.rs"]
mod chaos;

mod clients;
mod homes;
mod hooks;
mod host;
mod paused;
mod sessions;
mod shims;
mod together;

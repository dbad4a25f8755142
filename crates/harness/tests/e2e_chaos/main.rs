//! Never orphaned, never doubled, nothing forgotten, whatever is killed or suspended at any instant.
//!
//! | file | what is attacked |
//! |---|---|
//! | `host` | the daemon, as `../chaos` says, with services that are processes |
//! | `together` | the daemon, supervisors and services, killed at once |
//! | `shims` | supervisors, killed while the daemon lives |
//! | `hooks` | the daemon and services, while hooks run |
//! | `clients` | command lines, killed during a request or a stream |
//! | `homes` | the home, damaged at any instant, with the daemon and supervisors killed as well |
//! | `paused` | the daemon, stopped by SIGSTOP for a while |
//! | `sessions` | the shells, terminals and groups that commands are run from, with unrelated processes in them |
//! Instants and requests are random, from a seed that a failing test prints: `HARNESS_CHAOS_SEED` repeats them, and
//! `HARNESS_CHAOS_ROUNDS` says how many rounds there are in all.

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

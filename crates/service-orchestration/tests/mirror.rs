//! The mirror of output under random cuts, repeats and kills: nothing is lost, nothing is doubled.
//!
//! `HARNESS_MIRROR_SEED=n` plays only the case with that number. `HARNESS_MIRROR_START=n` plays different cases for each
//! n. `HARNESS_SOAK=1` plays twenty times as many.

#![cfg(test)]
#![allow(unreachable_pub, dead_code, reason = "a test")]

#[path = "simulation_world/rng.rs"]
mod rng;

mod mirror_world;

use mirror_world::{numbered, timed};
use rng::Rng;

const CASES: u64 = 200;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn play(case: impl Fn(&mut Rng) -> Result<(), String>) {
    let factor = if number("HARNESS_SOAK").is_some() { 20 } else { 1 };
    let first = number("HARNESS_MIRROR_START").unwrap_or(0) * CASES * factor;
    let seeds = match number("HARNESS_MIRROR_SEED") {
        Some(seed) => seed..seed + 1,
        None => first..first + CASES * factor,
    };
    for seed in seeds {
        if let Err(violation) = case(&mut Rng::new(seed)) {
            panic!("case {seed}: {violation}\nagain: HARNESS_MIRROR_SEED={seed}");
        }
    }
}

#[test]
fn a_source_with_numbers_is_mirrored_once() {
    play(numbered::play);
}

#[test]
fn a_source_with_times_is_mirrored_once() {
    play(|rng| timed::play(rng, timed::Kind::Whole));
}

#[test]
fn a_source_with_times_is_mirrored_once_while_its_log_rotates() {
    play(|rng| timed::play(rng, timed::Kind::Rotating));
}

#[test]
fn lines_that_are_shown_before_the_source_has_them_are_mirrored_once() {
    play(|rng| timed::play(rng, timed::Kind::Ahead));
}

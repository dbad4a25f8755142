//! The machine in a random world: many thousands of schedules in virtual time, every promise checked at every step.
//!
//! `HARNESS_SIM_SEED=n` plays the one schedule with that number, `HARNESS_SIM_SHOW=1` prints what goes in and out.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "a test")]

mod simulation_world;

use simulation_world::{Flaw, World};

const SCHEDULES: u64 = 5_250;

fn play(seed: u64) {
    let mut world = World::new(seed, Flaw::Sound);
    if let Err(violation) = world.play() {
        panic!(
            "schedule {seed} at {:?}: {violation}\nagain: HARNESS_SIM_SEED={seed}",
            world.now.0
        );
    }
}

/// Four tests, so that they share the cores.
fn play_quarter(quarter: u64) {
    if let Some(seed) = std::env::var("HARNESS_SIM_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
    {
        if quarter == 0 {
            play(seed);
        }
        return;
    }
    for index in 0..SCHEDULES {
        play(index * 4 + quarter);
    }
}

#[test]
fn random_schedules_first_quarter() {
    play_quarter(0);
}

#[test]
fn random_schedules_second_quarter() {
    play_quarter(1);
}

#[test]
fn random_schedules_third_quarter() {
    play_quarter(2);
}

#[test]
fn random_schedules_last_quarter() {
    play_quarter(3);
}

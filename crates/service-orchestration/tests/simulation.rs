//! The machine in a random world: many thousands of schedules in virtual time, with every promise checked at every
//! step.
//!
//! `HARNESS_SIM_SEED=n` plays only the schedule with that number, and `HARNESS_SIM_SHOW=1` prints what goes in and
//! out. `HARNESS_SIM_START=n` plays different schedules for each n. `HARNESS_SOAK=1` plays ten times as many.

#![cfg(test)]
#![allow(unreachable_pub, clippy::large_enum_variant, reason = "a test")]

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

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Four tests, so that they share the cores.
fn play_quarter(quarter: u64) {
    if let Some(seed) = number("HARNESS_SIM_SEED") {
        if quarter == 0 {
            play(seed);
        }
        return;
    }
    let factor = if number("HARNESS_SOAK").is_some() { 10 } else { 1 };
    let schedules = SCHEDULES * factor;
    let first = number("HARNESS_SIM_START").unwrap_or(0).wrapping_mul(schedules);
    for index in 0..schedules {
        play(first.wrapping_add(index).wrapping_mul(4).wrapping_add(quarter));
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

/// How many of these schedules break a check, with the messages.
fn objections(flaw: Flaw) -> Vec<String> {
    (0..200)
        .filter_map(|seed| World::new(seed, flaw).play().err())
        .collect()
}

#[test]
fn the_checks_see_a_probe_that_lies() {
    let seen = objections(Flaw::LyingProbe);
    assert!(
        seen.iter().any(|text| text.contains("shown as healthy")),
        "{seen:?}"
    );
}

#[test]
fn the_checks_see_a_process_taken_for_dead() {
    let seen = objections(Flaw::FalseExit);
    assert!(
        seen.iter()
            .any(|text| text.contains("beside") || text.contains("lives and is shown")),
        "{seen:?}"
    );
}

#[test]
fn the_checks_see_an_operation_that_hangs() {
    let seen = objections(Flaw::LostVerdict);
    assert!(seen.iter().any(|text| text.contains("hang")), "{seen:?}");
}

#[test]
fn the_checks_see_a_hook_that_is_left() {
    let seen = objections(Flaw::HookLeft);
    assert!(seen.iter().any(|text| text.contains("hook")), "{seen:?}");
}

#[test]
fn the_checks_see_an_after_stop_that_is_forgotten() {
    let seen = objections(Flaw::ForgottenDebt);
    assert!(
        seen.iter()
            .any(|text| text.contains("begins beside hooks") || text.contains("hooks are left")),
        "{seen:?}"
    );
}

#[test]
fn the_checks_see_a_loss_that_nobody_heeds() {
    let seen = objections(Flaw::UnheededLoss);
    assert!(
        seen.iter().any(|text| text.contains("cannot be reached")),
        "{seen:?}"
    );
}

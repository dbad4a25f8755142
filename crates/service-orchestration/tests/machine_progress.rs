//! Launches that take long and report progress.

#![cfg(test)]
#![allow(unreachable_pub, reason = "a test")]

mod machine_support;

use harness_model::ServiceState;
use harness_model::spec::RestartMode;
use machine_support::{Bench, name, plain, probed, restarting};
use service_orchestration::machine::*;

fn progress(bench: &mut Bench, service: &str, doing: &str) {
    let generation = bench.view(service).generation;
    bench.give(Event::Generation {
        service: name(service),
        generation,
        happened: Happened::Progressed(doing.to_owned()),
    });
}

#[test]
fn a_launch_that_goes_on_has_time() {
    let mut bench = Bench::new(&[("db", probed("1"))]);
    bench.start(false, false, &[]);
    for done in 0..5 {
        bench.wait(50_000);
        progress(&mut bench, "db", &format!("pulling {done}"));
        assert_eq!(bench.view("db").doing, Some(format!("pulling {done}")));
        assert_eq!(bench.outcome(), None);
    }
    bench.launched("db");
    assert_eq!(bench.view("db").doing, None);
    bench.wait(1_000);
    bench.probe("db", ProbeOutcome::Healthy);
    assert_eq!(bench.outcome(), Some(Outcome::Done));
}

#[test]
fn one_that_stalls_fails_with_what_it_was_at_and_is_stopped() {
    let mut bench = Bench::new(&[("db", plain("1"))]);
    bench.start(false, false, &[]);
    progress(&mut bench, "db", "pulling image x");
    assert_eq!(bench.deeds(), "+db");
    bench.wait(61_000);
    assert_eq!(bench.deeds(), "-db");
    // Progress that is reported after the stop changes nothing any more.
    progress(&mut bench, "db", "pulling on");
    assert_eq!(bench.view("db").doing, None);
    let generation = bench.view("db").generation;
    bench.give(Event::Generation {
        service: name("db"),
        generation,
        happened: Happened::LaunchFailed("given up".to_owned()),
    });
    let roots = bench.roots();
    assert_eq!(roots[0].reason, "not launched within 60s: pulling image x");
}

#[test]
fn attempts_that_fail_have_no_more_time_for_saying_what_they_are_at() {
    let mut bench = Bench::new(&[("db", restarting(plain("1"), RestartMode::Always, None))]);
    bench.start(false, false, &[]);
    let began = bench.now;
    let mut attempts = 0;
    let goes_on = |bench: &Bench| !bench.effects.iter().any(|e| matches!(e, Effect::Finished { .. }));
    while goes_on(&bench) {
        assert!(bench.now.since(began).as_secs() < 62, "{attempts} attempts");
        if bench.view("db").state == ServiceState::Starting {
            progress(&mut bench, "db", "pulling image x");
            bench.wait(200);
            let generation = bench.view("db").generation;
            bench.give(Event::Generation {
                service: name("db"),
                generation,
                happened: Happened::LaunchFailed("there is no such image".to_owned()),
            });
            attempts += 1;
        }
        bench.wait(50);
    }
    assert!(attempts > 2);
    let roots = bench.roots();
    assert!(roots[0].reason.contains("there is no such image"), "{roots:?}");
}

#[test]
fn one_that_takes_long_and_fails_is_not_waited_for_again() {
    let mut bench = Bench::new(&[("db", restarting(plain("1"), RestartMode::Always, None))]);
    bench.start(false, false, &[]);
    for _ in 0..3 {
        bench.wait(50_000);
        progress(&mut bench, "db", "pulling image x");
    }
    let generation = bench.view("db").generation;
    bench.give(Event::Generation {
        service: name("db"),
        generation,
        happened: Happened::LaunchFailed("the registry hung up".to_owned()),
    });
    bench.wait(1);
    let roots = bench.roots();
    assert!(roots[0].reason.contains("the registry hung up"), "{roots:?}");
}

//! A place that cannot be reached: in every phase time stands still, nothing is ordered, nothing is claimed, and orders
//! end all the same.

#![cfg(test)]
#![allow(unreachable_pub, reason = "a test")]

mod machine_support;

use std::time::Duration;

use harness_model::resolve::SpecDigest;
use harness_model::spec::{Condition, RestartMode};
use harness_model::{ExitStatus, Health, ServiceState};
use machine_support::*;
use service_orchestration::machine::*;

const AWAY: Option<&str> = Some("the link is lost");
const MINUTES: u64 = 600_000;

fn not_recovered(bench: &mut Bench) {
    let definition = bench.file[&name("db")].clone();
    bench.give(Event::Recover {
        service: name("db"),
        found: Recovered {
            generation: 3,
            digest: definition.digest.clone(),
            restarts: 0,
            found: Found::NotKnown {
                terms: Terms::of(&definition),
                going: false,
                why: "its place does not answer".into(),
            },
        },
        definition,
        wanted: true,
        defined: true,
        owed: None,
    });
    bench.give(Event::Tick);
}

fn found_at_last(bench: &mut Bench, found: Recovered) {
    let definition = bench.file[&name("db")].clone();
    bench.give(Event::Recover {
        service: name("db"),
        definition,
        wanted: true,
        defined: true,
        found,
        owed: None,
    });
}

fn running(bench: &Bench) -> Recovered {
    let definition = bench.file[&name("db")].clone();
    Recovered {
        generation: 3,
        digest: definition.digest.clone(),
        restarts: 0,
        found: Found::Running {
            terms: Terms::of(&definition),
            for_: Duration::from_secs(500),
            was_ready: true,
            going: false,
        },
    }
}

#[test]
fn a_launch_that_cannot_be_reached_has_all_its_time_left() {
    let mut bench = Bench::new(&[("db", probed("1"))]);
    let window = bench.file[&name("db")].startup_timeout;
    bench.start(false, false, &[]);
    bench.wait(1000);
    bench.contact("db", AWAY);
    assert_eq!(bench.view("db").state, ServiceState::Unknown);
    assert_eq!(bench.view("db").error.as_deref(), AWAY);
    bench.wait(29_000);
    assert_eq!(bench.outcome(), None);
    bench.wait(1000);
    let roots = bench.roots();
    assert_eq!(roots[0].cause, FailureCause::NotReached);
    assert_eq!(roots[0].reason, "not reached for 30s: the link is lost");
    bench.wait(MINUTES);
    assert_eq!(bench.deeds(), "+db");
    // The answer alone says that it is reached again.
    bench.launched("db");
    let left = bench.view("db").startup_deadline.unwrap().since(bench.now);
    assert_eq!(left, window - Duration::from_secs(1));
    bench.probe("db", ProbeOutcome::Healthy);
    assert_eq!(bench.view("db").state, ServiceState::Running);
}

#[test]
fn who_is_not_ready_and_cannot_be_reached_is_not_timed_out() {
    for mode in [RestartMode::No, RestartMode::Always] {
        let mut bench = Bench::new(&[("db", restarting(probed("1"), mode, None))]);
        bench.start(false, false, &[]);
        bench.launched("db");
        bench.wait(0);
        bench.probe("db", bad());
        bench.contact("db", AWAY);
        bench.wait(MINUTES);
        let view = bench.view("db");
        assert_eq!(
            (view.state, view.health),
            (ServiceState::Unknown, Health::Unknown)
        );
        assert_eq!(bench.deeds(), "+db");
        bench.contact("db", None);
        bench.wait(1000);
        bench.probe("db", ProbeOutcome::Healthy);
        assert_eq!(bench.view("db").state, ServiceState::Running, "{mode:?}");
    }
}

#[test]
fn a_stop_that_cannot_be_reached_claims_nothing_and_is_carried_out_later() {
    let mut bench = Bench::new(&[
        ("db", plain("1")),
        ("app", on(plain("1"), "db", Condition::Started)),
    ]);
    bench.start(false, false, &[]);
    bench.launched("db");
    bench.launched("app");
    bench.wait(1000);
    assert_eq!(
        (bench.outcome(), bench.deeds().as_str()),
        (Some(Outcome::Done), "+db +app")
    );
    bench.contact("app", AWAY);
    bench.stop(&[]);
    bench.wait(29_000);
    assert_eq!((bench.outcome(), bench.deeds().as_str()), (None, ""));
    bench.wait(1000);
    // Nobody waits for it any more: what it depends on is stopped.
    assert_eq!(bench.deeds(), "-db");
    bench.exited("db", 0);
    let roots = bench.roots();
    assert_eq!(roots.len(), 1, "{roots:?}");
    assert_eq!(
        (roots[0].service.as_str(), &roots[0].cause),
        ("app", &FailureCause::NotReached)
    );
    bench.wait(MINUTES);
    let view = bench.view("app");
    assert_eq!((view.state, view.failure), (ServiceState::Stopping, None));
    assert_eq!(bench.deeds(), "");
    bench.contact("app", None);
    assert_eq!(bench.deeds(), "-app");
    bench.exited("app", 0);
    assert_eq!(bench.view("app").state, ServiceState::Stopped);
    assert!(bench.machine.is_idle());
}

#[test]
fn a_stop_that_may_not_have_arrived_is_asked_for_again() {
    let mut bench = Bench::new(&[("db", hooked(plain("1"), &[Hook::BeforeStop]))]);
    bench.start(false, false, &[]);
    bench.launched("db");
    bench.wait(1000);
    bench.stop(&[]);
    assert_eq!(bench.deeds(), "+db db:BeforeStop");
    // A hook that was begun is not run again.
    bench.contact("db", AWAY);
    bench.wait(MINUTES);
    bench.contact("db", None);
    assert_eq!(bench.deeds(), "");
    bench.hook_finished("db", Hook::BeforeStop, Ok(()));
    assert_eq!(bench.deeds(), "-db");
    bench.contact("db", AWAY);
    bench.wait(MINUTES);
    assert_eq!(bench.deeds(), "");
    bench.contact("db", None);
    assert_eq!(bench.deeds(), "-db");
    // From then on its grace period counts as usual.
    bench.wait(MINUTES);
    assert_eq!(bench.deeds(), "!db");
    assert_eq!(bench.view("db").failure, Some(FailureCause::WouldNotStop));
}

#[test]
fn an_order_to_what_was_lost_long_ago_still_waits_for_it() {
    let mut bench = Bench::new(&[("db", plain("1"))]);
    bench.start(false, false, &[]);
    bench.launched("db");
    bench.wait(1000);
    bench.contact("db", AWAY);
    bench.outcome();
    bench.wait(MINUTES);
    bench.start(false, false, &[]);
    bench.wait(20_000);
    assert_eq!(bench.outcome(), None);
    bench.contact("db", None);
    bench.wait(1000);
    assert_eq!(bench.outcome(), Some(Outcome::Done));
    assert_eq!(bench.deeds(), "+db");
}

#[test]
fn who_can_do_without_what_cannot_be_reached_begins_without_it() {
    let mut app = on(plain("1"), "db", Condition::Started);
    app.dependencies[0].required = false;
    let mut bench = Bench::new(&[("db", plain("1")), ("app", app)]);
    bench.start(false, false, &[]);
    bench.contact("db", AWAY);
    bench.wait(29_000);
    assert_eq!(bench.deeds(), "+db");
    bench.wait(2_000);
    assert_eq!(bench.deeds(), "+app");
}

#[test]
fn a_silent_place_is_heard_of_late() {
    let exited = |code| Ended::Exit(ExitStatus::Code(code));
    for (what, late, state, deeds) in [
        ("runs", None, ServiceState::Running, ""),
        ("ended", Some(exited(3)), ServiceState::Starting, "+db"),
        ("rebooted", Some(Ended::Rebooted), ServiceState::Starting, "+db"),
    ] {
        let mut bench = Bench::new(&[("db", restarting(plain("1"), RestartMode::Always, None))]);
        not_recovered(&mut bench);
        bench.wait(MINUTES);
        assert_eq!(bench.view("db").state, ServiceState::Unknown, "{what}");
        assert_eq!(bench.deeds(), "");
        let digest = bench.file[&name("db")].digest.clone();
        let found = match late {
            None => running(&bench),
            Some(Ended::Rebooted) => Recovered {
                generation: 3,
                digest: SpecDigest::from_text("1"),
                restarts: 0,
                found: Found::Rebooted,
            },
            Some(ended) => Recovered {
                generation: 3,
                digest,
                restarts: 0,
                found: Found::Ended {
                    ended,
                    failed: None,
                    fresh: true,
                    was_ready: true,
                },
            },
        };
        found_at_last(&mut bench, found);
        bench.wait(0);
        assert_eq!(
            (bench.view("db").state, bench.deeds().as_str()),
            (state, deeds),
            "{what}"
        );
    }
}

#[test]
fn a_stop_of_what_was_never_seen_waits_until_it_is() {
    for runs in [true, false] {
        let mut bench = Bench::new(&[("db", plain("1"))]);
        not_recovered(&mut bench);
        bench.stop(&[]);
        bench.wait(31_000);
        assert_eq!(bench.roots()[0].cause, FailureCause::NotReached);
        assert_eq!(bench.deeds(), "");
        let found = match runs {
            true => running(&bench),
            false => Recovered {
                generation: 3,
                digest: SpecDigest::from_text("1"),
                restarts: 0,
                found: Found::Idle,
            },
        };
        found_at_last(&mut bench, found);
        if runs {
            assert_eq!(bench.deeds(), "-db");
            bench.exited("db", 0);
        }
        assert_eq!(bench.view("db").state, ServiceState::Stopped);
        assert!(bench.machine.is_idle());
    }
}

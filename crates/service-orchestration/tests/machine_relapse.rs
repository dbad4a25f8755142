//! Orders that meet services which are down for a moment: they wait for them as `wait` does, but not forever.

#![cfg(test)]
#![allow(unreachable_pub, reason = "a test")]

mod machine_support;

use harness_model::Health;
use harness_model::spec::{Condition, RestartMode};
use machine_support::{Bench, bad, name, on, plain, probed, restarting};
use service_orchestration::machine::*;

/// `db` has been healthy and has turned unhealthy; `child` was never started.
fn unhealthy_db() -> Bench {
    let mut bench = Bench::new(&[
        ("db", probed("1")),
        ("child", on(plain("1"), "db", Condition::Ready)),
    ]);
    bench.start(false, false, &["db"]);
    bench.launched("db");
    bench.probe("db", ProbeOutcome::Healthy);
    assert_eq!(bench.outcome(), Some(Outcome::Done));
    fall_ill(&mut bench, "db");
    bench.deeds();
    bench
}

/// Lets time pass while `service` gives this answer to each of its probes.
fn pass(bench: &mut Bench, seconds: u64, service: &str, answer: &ProbeOutcome) {
    for _ in 0..seconds {
        bench.wait(1_000);
        bench.probe(service, answer.clone());
    }
}

fn recover(bench: &mut Bench, service: &str) {
    while bench.view(service).health != Health::Healthy {
        pass(bench, 1, service, &ProbeOutcome::Healthy);
    }
}

fn fall_ill(bench: &mut Bench, service: &str) {
    while bench.view(service).health != Health::Unhealthy {
        bench.wait(10_000);
        bench.probe(service, bad());
    }
}

#[test]
fn a_start_waits_for_what_is_unhealthy_for_a_moment() {
    let mut bench = unhealthy_db();
    bench.start(false, false, &["child"]);
    assert_eq!(bench.outcome(), None);
    pass(&mut bench, 45, "db", &bad());
    assert_eq!((bench.deeds(), bench.outcome()), (String::new(), None));
    recover(&mut bench, "db");
    bench.probe("db", ProbeOutcome::Healthy);
    assert_eq!(bench.deeds(), "+child");
    bench.launched("child");
    bench.wait(400);
    assert_eq!(bench.outcome(), Some(Outcome::Done));
}

#[test]
fn it_waits_no_longer_than_the_startup_timeout_and_says_what_ails_it() {
    let mut bench = unhealthy_db();
    bench.start(false, false, &["child"]);
    pass(&mut bench, 59, "db", &bad());
    assert_eq!(bench.outcome(), None);
    pass(&mut bench, 2, "db", &bad());
    let roots = bench.roots();
    assert_eq!(roots[0].service, name("db"));
    assert_eq!(roots[0].cause, FailureCause::Unhealthy);
    assert_eq!(roots[0].reason, "unhealthy: connection refused");
    assert_eq!(roots[0].blocked, [name("child")]);
    assert_eq!(bench.deeds(), "", "it runs on, and its dependent waits");
}

#[test]
fn one_that_leaves_dependencies_alone_waits_for_them_too() {
    for recovers in [true, false] {
        let mut bench = unhealthy_db();
        let definitions = bench.file.clone();
        bench.submit(OperationRequest::Start {
            definitions,
            targets: Some([name("child")].into()),
            no_deps: true,
            restart: false,
            unchosen: Default::default(),
            prune: false,
            rollback: false,
        });
        pass(&mut bench, 30, "db", &bad());
        assert_eq!(bench.outcome(), None);
        if recovers {
            recover(&mut bench, "db");
            bench.launched("child");
            bench.wait(400);
            assert_eq!(bench.outcome(), Some(Outcome::Done));
        } else {
            pass(&mut bench, 31, "db", &bad());
            let roots = bench.roots();
            assert_eq!(roots[0].reason, "unhealthy: connection refused");
        }
    }
}

#[test]
fn a_start_of_the_unhealthy_one_itself_waits_for_it() {
    let mut bench = unhealthy_db();
    bench.start(false, false, &["db"]);
    pass(&mut bench, 30, "db", &bad());
    assert_eq!(bench.outcome(), None);
    recover(&mut bench, "db");
    assert_eq!(bench.outcome(), Some(Outcome::Done));
}

/// `child` needs `db`, and also `work`, which takes longer than `db` may take to start.
fn long_start(db: Definition) -> Bench {
    let work = Definition {
        oneshot: true,
        startup_timeout: std::time::Duration::from_secs(600),
        ..plain("1")
    };
    let child = on(plain("1"), "db", Condition::Ready);
    let child = on(child, "work", Condition::Completed);
    let mut bench = Bench::new(&[("db", db), ("work", work), ("child", child)]);
    bench.start(false, false, &[]);
    bench.launched("db");
    bench.launched("work");
    bench.probe("db", ProbeOutcome::Healthy);
    bench
}

#[test]
fn what_falls_ill_late_in_a_long_start_has_its_time_once_more() {
    let mut bench = long_start(probed("1"));
    pass(&mut bench, 70, "db", &ProbeOutcome::Healthy);
    fall_ill(&mut bench, "db");
    bench.exited("work", 0);
    pass(&mut bench, 45, "db", &bad());
    assert_eq!(bench.outcome(), None);
    recover(&mut bench, "db");
    bench.launched("child");
    bench.wait(400);
    assert_eq!(bench.outcome(), Some(Outcome::Done));
}

#[test]
fn what_is_restarted_late_in_a_long_start_has_its_time_once_more() {
    let mut bench = long_start(restarting(probed("1"), RestartMode::OnFailure, None));
    pass(&mut bench, 70, "db", &ProbeOutcome::Healthy);
    bench.exited("work", 0);
    bench.exited("db", 3);
    // `child` was launched at the instant between the two.
    bench.launched("child");
    bench.wait(1_000);
    assert_eq!(bench.outcome(), None);
    bench.launched("db");
    bench.probe("db", ProbeOutcome::Healthy);
    assert_eq!(bench.outcome(), Some(Outcome::Done));
}

#[test]
fn services_that_take_turns_in_being_ill_do_not_hold_up_an_order_for_ever() {
    let child = on(plain("1"), "a", Condition::Ready);
    let child = on(child, "b", Condition::Ready);
    let mut bench = Bench::new(&[("a", probed("1")), ("b", probed("1")), ("child", child)]);
    bench.start(false, false, &["a", "b"]);
    for service in ["a", "b"] {
        bench.launched(service);
        bench.probe(service, ProbeOutcome::Healthy);
    }
    assert_eq!(bench.outcome(), Some(Outcome::Done));
    fall_ill(&mut bench, "a");
    bench.start(false, false, &["child"]);
    let began = bench.now;
    while bench.outcome().is_none() {
        for (ill, well) in [("b", "a"), ("a", "b")] {
            fall_ill(&mut bench, ill);
            recover(&mut bench, well);
        }
        assert!(bench.now.since(began).as_secs() < 300, "it hangs");
    }
}

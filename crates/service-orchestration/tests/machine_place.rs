//! What the place of a service says of it: the health check of its image, and that its state is unknown.

#![cfg(test)]
#![allow(unreachable_pub, reason = "a test")]

mod machine_support;

use std::time::Duration;

use harness_model::spec::{Condition, RestartMode};
use harness_model::{Health, ServiceState};
use machine_support::*;
use service_orchestration::machine::*;

fn policy() -> HealthPolicy {
    probed("x").health.unwrap()
}

impl Bench {
    /// The image has a health check, which is reported before the launch is answered.
    fn found(&mut self, service: &str) {
        let generation = self.view(service).generation;
        self.give(Event::Generation {
            service: name(service),
            generation,
            happened: Happened::HealthFound {
                policy: policy(),
                needs: None,
            },
        });
    }

    /// The same, with a health check that makes a start take longer.
    fn found_slow(&mut self, service: &str, needs: Duration) {
        let generation = self.view(service).generation;
        self.give(Event::Generation {
            service: name(service),
            generation,
            happened: Happened::HealthFound {
                policy: policy(),
                needs: Some(needs),
            },
        });
    }

    fn pause(&mut self, service: &str, why: &str) {
        let generation = self.view(service).generation;
        self.give(Event::Generation {
            service: name(service),
            generation,
            happened: Happened::Contact(Some(Lost::Paused(why.to_owned()))),
        });
    }
}

#[test]
fn a_check_of_the_image_is_waited_for_by_default() {
    let mut bench = Bench::new(&[
        ("db", plain("1")),
        ("app", on(plain("1"), "db", Condition::Ready)),
        ("strict", on(plain("1"), "db", Condition::Healthy)),
    ]);
    bench.start(false, false, &[]);
    assert_eq!(bench.view("app").waiting[0].condition, "be ready");
    bench.found("db");
    bench.launched("db");
    assert_eq!(bench.view("db").health, Health::Starting);
    assert_eq!(bench.view("app").waiting[0].condition, "be healthy");
    bench.wait(1000);
    bench.probe("db", bad());
    assert_eq!(bench.deeds(), "+db");
    bench.wait(1000);
    bench.probe("db", ProbeOutcome::Healthy);
    assert_eq!(bench.deeds(), "+app +strict");
    // The next generation's image may have none.
    bench.start(false, true, &["db"]);
    bench.exited("db", 0);
    bench.launched("db");
    assert_eq!(bench.view("db").health, Health::None);
}

#[test]
fn a_check_of_the_image_may_give_a_start_more_time() {
    let timeout = plain("1").startup_timeout;
    let (more, less) = (timeout * 3, timeout / 2);
    for (needs, patience) in [(more, more), (less, timeout)] {
        let mut bench = Bench::new(&[("db", restarting(plain("1"), RestartMode::OnFailure, None))]);
        bench.start(false, false, &[]);
        // A row of attempts shares the time.
        for _ in 0..2 {
            bench.found_slow("db", needs);
            bench.launched("db");
            bench.wait(1000);
            bench.exited("db", 1);
            bench.wait(1000);
        }
        bench.found_slow("db", needs);
        bench.launched("db");
        let mut waited = 4;
        while bench.view("db").state != ServiceState::Stopping {
            bench.probe("db", bad());
            bench.wait(1000);
            waited += 1;
            assert!(waited < 10_000);
        }
        let (waited, patience) = (Duration::from_secs(waited), patience);
        assert!(
            waited >= patience && waited <= patience + Duration::from_secs(3),
            "{waited:?}, not {patience:?}"
        );
        bench.exited("db", 1);
        let roots = bench.roots();
        let said = format!("not healthy within {}s", patience.as_secs());
        assert!(roots[0].reason.starts_with(&said), "{roots:?}");
    }
}

#[test]
fn who_has_no_check_at_all_is_ready_and_never_healthy() {
    let mut bench = Bench::new(&[
        ("db", plain("1")),
        ("app", on(plain("1"), "db", Condition::Ready)),
        ("strict", on(plain("1"), "db", Condition::Healthy)),
    ]);
    bench.start(false, false, &[]);
    bench.launched("db");
    bench.launched("app");
    bench.wait(1000);
    assert_eq!(bench.deeds(), "+db +app");
    let roots = bench.roots();
    assert_eq!(roots.len(), 1, "{roots:?}");
    assert_eq!(
        (roots[0].service.as_str(), roots[0].reason.as_str()),
        (
            "strict",
            "depends on db, which has no health check, and neither has its image"
        )
    );
}

#[test]
fn who_is_out_of_contact_is_unknown_and_holds_nothing() {
    let ill = restarting(probed("1"), RestartMode::Always, None);
    let mut bench = Bench::new(&[
        ("db", ill),
        ("app", on(plain("1"), "db", Condition::Started)),
        ("late", on(plain("1"), "db", Condition::Started)),
    ]);
    bench.start(false, false, &["app"]);
    bench.launched("db");
    bench.launched("app");
    bench.probe("db", ProbeOutcome::Healthy);
    bench.wait(1000);
    assert_eq!(bench.outcome(), Some(Outcome::Done));
    bench.contact("db", Some("the engine is away"));
    let view = bench.view("db");
    assert_eq!(
        (view.state, view.health),
        (ServiceState::Unknown, Health::Unknown)
    );
    assert_eq!(view.error.as_deref(), Some("the engine is away"));
    assert!(!view.ready);
    let app = bench.view("app");
    assert_eq!(app.state, ServiceState::Running);
    assert_eq!(
        app.error.as_deref(),
        Some("depends on db, which is in an unknown state")
    );
    bench.start(false, false, &["late"]);
    assert_eq!(bench.view("late").state, ServiceState::Pending);
    // While its state is unknown, the answers of probes are no reason to restart it.
    for _ in 0..5 {
        bench.wait(10_000);
        bench.probe("db", bad());
        assert_eq!(bench.view("db").state, ServiceState::Unknown);
    }
    assert_eq!(bench.deeds(), "+db +app");
    bench.contact("db", None);
    let view = bench.view("db");
    assert_eq!(
        (view.state, view.health),
        (ServiceState::Running, Health::Unknown)
    );
    assert_eq!(bench.deeds(), "+late");
    bench.wait(0);
    bench.probe("db", ProbeOutcome::Healthy);
    assert_eq!(bench.view("db").health, Health::Healthy);
    assert_eq!(bench.view("app").error, None);
}

#[test]
fn who_is_paused_runs_and_holds_nothing() {
    let mut bench = Bench::new(&[
        ("db", restarting(probed("1"), RestartMode::Always, None)),
        ("plain", plain("1")),
        ("app", on(plain("1"), "db", Condition::Started)),
        ("late", on(plain("1"), "plain", Condition::Started)),
    ]);
    bench.start(false, false, &["app", "plain"]);
    bench.launched("db");
    bench.launched("plain");
    bench.launched("app");
    bench.probe("db", ProbeOutcome::Healthy);
    bench.wait(1000);
    assert_eq!(bench.outcome(), Some(Outcome::Done));
    for service in ["db", "plain"] {
        bench.pause(service, "somebody paused it");
        let view = bench.view(service);
        assert_eq!(
            (view.state, view.health),
            (ServiceState::Running, Health::Unknown)
        );
        assert_eq!(view.error.as_deref(), Some("somebody paused it"));
        assert!(!view.ready);
    }
    let app = bench.view("app");
    assert_eq!(app.error.as_deref(), Some("depends on db, which is paused"));
    bench.start(false, false, &["late"]);
    assert_eq!(bench.view("late").state, ServiceState::Pending);
    for _ in 0..5 {
        bench.wait(10_000);
        bench.probe("db", bad());
        let view = bench.view("db");
        assert_eq!(view.health, Health::Unknown);
        assert_eq!(view.last_probe.as_deref(), Some("somebody paused it"));
    }
    bench.contact("db", None);
    bench.contact("plain", None);
    assert_eq!(bench.view("plain").health, Health::None);
    assert_eq!(bench.view("db").health, Health::Unknown);
    bench.wait(0);
    bench.probe("db", ProbeOutcome::Healthy);
    assert_eq!(bench.view("db").health, Health::Healthy);
    assert_eq!(bench.view("app").error, None);
    assert_eq!(bench.deeds().matches('-').count(), 0);
}

#[test]
fn who_is_paused_while_it_starts_fails_with_that_reason() {
    let mut bench = Bench::new(&[("db", probed("1"))]);
    bench.start(false, false, &[]);
    bench.launched("db");
    bench.pause("db", "somebody paused it");
    bench.wait(61_000);
    let roots = bench.roots();
    assert_eq!(roots.len(), 1, "{roots:?}");
    assert!(roots[0].reason.ends_with("somebody paused it"), "{roots:?}");
    assert_eq!(bench.deeds(), "+db");
}

#[test]
fn an_adopted_service_is_probed_as_its_image_says() {
    for was_ready in [true, false] {
        let mut bench = Bench::new(&[("db", plain("1"))]);
        let definition = bench.file[&name("db")].clone();
        let found = Recovered {
            generation: 3,
            digest: definition.digest.clone(),
            restarts: 0,
            found: Found::Running {
                terms: Terms::of(&definition),
                for_: Duration::from_secs(100),
                was_ready,
                going: false,
            },
        };
        bench.give(Event::Recover {
            service: name("db"),
            definition,
            wanted: true,
            defined: true,
            found,
            owed: None,
        });
        bench.found("db");
        bench.wait(0);
        assert_eq!(bench.view("db").health, Health::Unknown);
        bench.probe("db", ProbeOutcome::Healthy);
        assert_eq!(bench.view("db").health, Health::Healthy);
    }
}

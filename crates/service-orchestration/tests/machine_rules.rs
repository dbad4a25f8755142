//! The rules of the machine one by one, in virtual time, with every answer given by hand.

#![cfg(test)]
#![allow(unreachable_pub, reason = "a test")]

mod machine_support;

use std::time::{Duration, Instant};

use harness_model::resolve::SpecDigest;
use harness_model::spec::{Condition, RestartMode};
use harness_model::{ExitStatus, Health, ServiceState};
use machine_support::{Bench, bad, name, on, plain, probed, restarting};
use service_orchestration::machine::*;

#[test]
fn a_dependent_starts_the_moment_its_dependency_is_healthy_and_stops_before_it() {
    let mut bench = Bench::new(&[
        ("db", probed("1")),
        ("api", on(plain("1"), "db", Condition::Healthy)),
        ("other", plain("1")),
    ]);
    bench.start(false, false, &[]);
    assert_eq!(bench.deeds(), "+db +other");
    bench.launched("db");
    bench.launched("other");
    assert_eq!(bench.view("api").waiting[0].condition, "be healthy");
    bench.probe("db", ProbeOutcome::Unknown("?".into()));
    assert_eq!(bench.deeds(), "");
    bench.wait(20);
    bench.probe("db", ProbeOutcome::Healthy);
    assert_eq!(bench.deeds(), "+api");
    bench.launched("api");
    bench.wait(299);
    assert_eq!(bench.outcome(), None);
    bench.wait(2);
    assert_eq!(bench.outcome(), Some(Outcome::Done));
    bench.stop(&[]);
    assert_eq!(bench.deeds(), "-api -other");
    bench.exited("api", 0);
    assert_eq!(bench.deeds(), "-db");
    bench.exited("db", 0);
    bench.exited("other", 0);
    assert_eq!(bench.outcome(), Some(Outcome::Done));
    assert!(bench.machine.is_idle() && bench.machine.next_deadline().is_none());
}

#[test]
fn a_second_start_changes_nothing_and_a_changed_spec_replaces_that_one_alone() {
    let mut bench = Bench::new(&[
        ("db", plain("1")),
        ("api", on(plain("1"), "db", Condition::Started)),
    ]);
    bench.start(false, false, &[]);
    bench.launched("db");
    bench.launched("api");
    bench.wait(400);
    bench.deeds();
    assert_eq!(bench.outcome(), Some(Outcome::Done));
    bench.start(false, false, &[]);
    assert_eq!(
        (bench.deeds(), bench.outcome()),
        (String::new(), Some(Outcome::Done))
    );
    bench.file.insert(name("db"), plain("2"));
    bench.start(false, false, &[]);
    assert_eq!(bench.deeds(), "-db");
    bench.exited("db", 0);
    assert_eq!(bench.deeds(), "+db");
    bench.launched("db");
    bench.wait(400);
    assert_eq!(
        (bench.deeds(), bench.outcome()),
        (String::new(), Some(Outcome::Done))
    );
    assert_eq!(
        (bench.view("db").generation, bench.view("api").generation),
        (2, 1)
    );
}

#[test]
fn a_crash_at_start_names_the_root_and_what_it_blocks() {
    let mut bench = Bench::new(&[
        ("db", plain("1")),
        ("api", on(probed("1"), "db", Condition::Started)),
        ("web", on(plain("1"), "api", Condition::Healthy)),
    ]);
    bench.start(false, false, &[]);
    bench.launched("db");
    bench.launched("api");
    bench.wait(200);
    bench.exited("api", 3);
    bench.wait(300);
    let roots = bench.roots();
    assert_eq!(roots.len(), 1);
    assert_eq!(roots[0].reason, "exited 3 after 0.2s");
    assert_eq!(roots[0].blocked, [name("web")]);
    assert_eq!(bench.view("db").state, ServiceState::Running);
    assert_eq!(
        bench.view("web").error.as_deref(),
        Some("depends on api, which failed")
    );
}

#[test]
fn restarts_are_counted_and_end() {
    let mut bench = Bench::new(&[("api", restarting(plain("1"), RestartMode::OnFailure, Some(2)))]);
    bench.start(false, false, &[]);
    for _ in 0..3 {
        bench.launched("api");
        bench.wait(200);
        bench.exited("api", 3);
        bench.wait(200);
    }
    assert_eq!(bench.deeds(), "+api +api +api");
    assert_eq!(bench.roots()[0].reason, "exited 3 after 0.2s (attempt 3 of 3)");
    assert_eq!(bench.view("api").state, ServiceState::Failed);
    assert_eq!(bench.view("api").restarts, 2);
}

#[test]
fn a_check_that_never_passes_ends_at_startup_timeout_with_the_last_answer() {
    let mut bench = Bench::new(&[("api", probed("1"))]);
    bench.start(false, false, &[]);
    bench.launched("api");
    for _ in 0..120 {
        bench.probe("api", bad());
        bench.wait(500);
    }
    assert_eq!(bench.deeds(), "+api");
    let roots = bench.roots();
    assert_eq!(roots[0].cause, FailureCause::StartupTimeout);
    assert_eq!(roots[0].reason, "not healthy within 60s: connection refused");
    // The order is over. The service runs on, and says what is wrong with it now.
    bench.wait(20_000);
    bench.probe("api", ProbeOutcome::Unhealthy("HTTP 500".into()));
    let api = bench.view("api");
    assert_eq!(
        (api.state, api.health),
        (ServiceState::Running, Health::Unhealthy)
    );
    assert_eq!(api.error.as_deref(), Some("not healthy within 60s: HTTP 500"));
    assert_eq!(api.failure, Some(FailureCause::StartupTimeout));
}

#[test]
fn what_is_healthy_late_is_healthy_and_its_dependents_start() {
    let mut bench = Bench::new(&[
        ("api", probed("1")),
        ("web", on(plain("1"), "api", Condition::Healthy)),
        ("page", {
            let mut page = on(plain("1"), "api", Condition::Healthy);
            page.dependencies[0].required = false;
            page
        }),
    ]);
    bench.start(false, false, &[]);
    bench.launched("api");
    for _ in 0..70 {
        bench.probe("api", bad());
        bench.wait(1000);
    }
    // One that could do without it does not wait any longer, and the order names the other.
    assert_eq!(bench.deeds(), "+api +page");
    bench.launched("page");
    bench.wait(1000);
    let roots = bench.roots();
    assert_eq!(roots.len(), 1, "{roots:?}");
    assert_eq!(roots[0].service, name("api"));
    assert_eq!(roots[0].blocked, [name("web")]);
    assert_eq!(bench.view("web").state, ServiceState::Pending);
    bench.wait(600_000);
    bench.probe("api", ProbeOutcome::Healthy);
    let api = bench.view("api");
    assert_eq!(
        (api.state, api.health, api.error),
        (ServiceState::Running, Health::Healthy, None)
    );
    assert_eq!(bench.deeds(), "+web");
}

#[test]
fn a_oneshot_that_takes_too_long_runs_on_and_completes() {
    let mut bench = Bench::new(&[
        (
            "job",
            Definition {
                oneshot: true,
                ..plain("1")
            },
        ),
        ("web", on(plain("1"), "job", Condition::Completed)),
    ]);
    bench.start(false, false, &[]);
    bench.launched("job");
    bench.wait(61_000);
    let roots = bench.roots();
    assert_eq!(
        (roots[0].service.as_str(), roots[0].reason.as_str()),
        ("job", "not completed within 60s")
    );
    assert_eq!(bench.deeds(), "+job");
    assert_eq!(bench.view("job").state, ServiceState::Running);
    bench.wait(600_000);
    bench.exited("job", 0);
    assert_eq!(bench.view("job").state, ServiceState::Completed);
    assert_eq!(bench.deeds(), "+web");
}

#[test]
fn a_policy_restarts_what_is_not_healthy_in_time() {
    for mode in [
        RestartMode::OnFailure,
        RestartMode::Always,
        RestartMode::UnlessStopped,
    ] {
        let mut bench = Bench::new(&[("api", restarting(probed("1"), mode, None))]);
        bench.start(false, false, &[]);
        bench.launched("api");
        for _ in 0..61 {
            bench.probe("api", bad());
            bench.wait(1000);
        }
        assert_eq!(bench.deeds(), "+api -api", "{mode:?}");
        bench.exited("api", 0);
        bench.wait(1000);
        assert_eq!(bench.deeds(), "+api", "{mode:?}");
    }
}

#[test]
fn exit_0_before_healthy_is_a_failure_and_without_a_probe_it_is_completion() {
    let mut bench = Bench::new(&[("api", probed("1")), ("job", plain("1"))]);
    bench.start(false, false, &[]);
    bench.launched("api");
    bench.launched("job");
    bench.exited("api", 0);
    bench.exited("job", 0);
    assert_eq!(bench.view("job").state, ServiceState::Completed);
    assert_eq!(bench.roots()[0].reason, "exited 0 before it was healthy");
}

#[test]
fn retries_failures_in_a_row_make_unhealthy_and_the_policy_restarts() {
    for mode in [RestartMode::No, RestartMode::OnFailure] {
        let mut bench = Bench::new(&[("api", restarting(probed("1"), mode, None))]);
        bench
            .file
            .insert(name("web"), on(plain("1"), "api", Condition::Healthy));
        bench.start(false, false, &[]);
        bench.launched("api");
        bench.probe("api", ProbeOutcome::Healthy);
        bench.launched("web");
        for _ in 0..3 {
            assert_eq!(bench.view("api").health, Health::Healthy);
            bench.wait(10_000);
            bench.probe("api", bad());
        }
        if mode == RestartMode::No {
            assert_eq!(
                (bench.view("api").state, bench.view("api").health),
                (ServiceState::Running, Health::Unhealthy)
            );
            assert_eq!(
                bench.view("web").error.as_deref(),
                Some("depends on api, which is unhealthy")
            );
        } else {
            assert_eq!(bench.deeds(), "+api +web -api");
            bench.exited("api", 0);
            assert_eq!(bench.deeds(), "+api");
        }
    }
}

#[test]
fn a_start_during_a_stop_waits_until_it_is_gone() {
    let mut bench = Bench::new(&[("api", plain("1"))]);
    bench.start(false, false, &[]);
    bench.launched("api");
    bench.wait(400);
    bench.outcome();
    bench.stop(&[]);
    bench.start(false, false, &[]);
    assert_eq!(bench.deeds(), "+api -api");
    assert_eq!(bench.outcome(), Some(Outcome::Superseded));
    bench.exited("api", 0);
    assert_eq!(bench.deeds(), "+api");
    bench.launched("api");
    bench.wait(400);
    assert_eq!(bench.outcome(), Some(Outcome::Done));
}

#[test]
fn what_will_not_die_is_killed_and_never_shown_as_stopped() {
    let mut bench = Bench::new(&[("api", plain("1"))]);
    bench.start(false, false, &[]);
    bench.launched("api");
    bench.wait(400);
    bench.outcome();
    bench.stop(&[]);
    bench.wait(14_999);
    assert_eq!(bench.deeds(), "+api -api");
    bench.wait(2);
    assert_eq!(bench.deeds(), "!api");
    bench.wait(5_000);
    assert_eq!(bench.roots()[0].cause, FailureCause::WouldNotStop);
    assert_eq!(bench.view("api").state, ServiceState::Unknown);
    bench.exited("api", 0);
    assert_eq!(bench.view("api").state, ServiceState::Stopped);
}

#[test]
fn a_completed_one_shot_runs_again_only_after_a_stop_or_a_change() {
    let job = Definition {
        oneshot: true,
        ..plain("1")
    };
    let mut bench = Bench::new(&[("job", job), ("api", on(plain("1"), "job", Condition::Completed))]);
    bench.start(false, false, &[]);
    bench.launched("job");
    bench.exited("job", 0);
    assert_eq!(bench.deeds(), "+job +api");
    bench.start(false, false, &[]);
    assert_eq!(bench.deeds(), "");
    bench.launched("api");
    bench.stop(&[]);
    bench.exited("api", 0);
    bench.start(false, false, &[]);
    assert_eq!(bench.deeds(), "-api +job");
}

#[test]
fn an_exit_that_a_dead_supervisor_could_not_tell_completes_one_shots_alone() {
    let job = Definition {
        oneshot: true,
        ..restarting(plain("1"), RestartMode::OnFailure, None)
    };
    let api = restarting(plain("1"), RestartMode::OnFailure, None);
    let mut bench = Bench::new(&[("job", job), ("api", api), ("plain", plain("1"))]);
    bench.start(false, false, &[]);
    for service in ["job", "api", "plain"] {
        bench.launched(service);
    }
    bench.deeds();
    bench.wait(500);
    for service in ["job", "api", "plain"] {
        bench.ended(service, Ended::Unsupervised(ExitStatus::Code(0)));
    }
    bench.wait(10);
    assert_eq!(bench.view("job").state, ServiceState::Completed);
    // The death of its supervisor may have closed its streams, and the service may have taken that for the end of its
    // work.
    assert_eq!(bench.deeds(), "+api");
    assert_eq!(bench.view("plain").state, ServiceState::Failed);
    let error = bench.view("plain").error.unwrap();
    assert_eq!(error, "its supervisor died, and it exited 0 after 0.5s");
}

#[test]
fn a_failed_start_with_rollback_takes_down_what_it_began_and_nothing_else() {
    let mut bench = Bench::new(&[("old", plain("1")), ("db", plain("1")), ("api", plain("1"))]);
    bench.start(false, false, &["old"]);
    bench.launched("old");
    bench.start(true, false, &[]);
    bench.launched("db");
    bench.launched("api");
    bench.exited("api", 1);
    bench.deeds();
    bench.wait(400);
    assert_eq!(bench.deeds(), "-db");
    bench.exited("db", 0);
    assert_eq!(bench.outcome(), Some(Outcome::Done), "the start of old");
    assert_eq!(bench.roots()[0].service, name("api"));
    assert_eq!(bench.view("old").state, ServiceState::Running);
}

#[test]
fn recovery_waits_for_all_and_continues_what_was_interrupted() {
    let mut bench = Bench::new(&[]);
    let recover = |service: &str, definition: Definition, found| Event::Recover {
        service: name(service),
        definition,
        wanted: true,
        defined: true,
        found,
        owed: None,
    };
    let mut optional = on(plain("1"), "db", Condition::Healthy);
    optional.dependencies[0].required = false;
    bench.give(recover(
        "api",
        optional,
        Recovered {
            generation: 4,
            digest: SpecDigest::from_text("1"),
            restarts: 0,
            found: Found::Idle,
        },
    ));
    let running = Recovered {
        generation: 2,
        digest: SpecDigest::from_text("1"),
        restarts: 0,
        found: Found::Running {
            terms: Terms::of(&probed("1")),
            for_: Duration::from_secs(100),
            was_ready: true,
            going: false,
        },
    };
    bench.give(recover("db", probed("1"), running));
    let always = restarting(plain("1"), RestartMode::Always, None);
    bench.give(recover(
        "cron",
        always,
        Recovered {
            generation: 1,
            digest: SpecDigest::from_text("1"),
            restarts: 0,
            found: Found::Rebooted,
        },
    ));
    bench.give(recover(
        "gone",
        plain("1"),
        Recovered {
            generation: 1,
            digest: SpecDigest::from_text("1"),
            restarts: 0,
            found: Found::Rebooted,
        },
    ));
    assert!(bench.effects.is_empty());
    bench.wait(0);
    assert_eq!(bench.deeds(), "+cron");
    assert_eq!(bench.view("db").health, Health::Unknown);
    assert_eq!(
        bench.view("gone").error.as_deref(),
        Some("the machine was rebooted")
    );
    bench.probe("db", ProbeOutcome::Healthy);
    assert_eq!(bench.deeds(), "+api");
    assert_eq!(bench.view("api").generation, 5);
}

#[test]
fn an_end_before_it_was_healthy_is_a_failure_to_the_next_daemon_too() {
    let ended = |definition: Definition, was_ready| {
        let mut bench = Bench::new(&[]);
        bench.give(Event::Recover {
            service: name("db"),
            definition,
            wanted: true,
            defined: true,
            found: Recovered {
                generation: 3,
                digest: SpecDigest::from_text("1"),
                restarts: 0,
                found: Found::Ended {
                    ended: Ended::Exit(ExitStatus::Code(0)),
                    failed: None,
                    fresh: true,
                    was_ready,
                },
            },
            owed: None,
        });
        bench.wait(0);
        (bench.view("db").state, bench.deeds())
    };
    let nothing = String::new;
    let again = |definition| restarting(definition, RestartMode::OnFailure, None);
    assert_eq!(ended(probed("1"), false), (ServiceState::Failed, nothing()));
    assert_eq!(ended(again(probed("1")), false).1, "+db");
    assert_eq!(
        ended(again(probed("1")), true),
        (ServiceState::Completed, nothing())
    );
    assert_eq!(
        ended(again(plain("1")), false),
        (ServiceState::Completed, nothing())
    );
    let oneshot = Definition {
        oneshot: true,
        ..again(probed("1"))
    };
    assert_eq!(ended(oneshot, false), (ServiceState::Completed, nothing()));
}

#[test]
fn stable_running_is_counted_across_daemons() {
    let mut bench = Bench::new(&[]);
    bench.wait(60_000);
    let always = restarting(plain("1"), RestartMode::Always, None);
    bench.give(Event::Recover {
        service: name("api"),
        definition: always,
        wanted: true,
        defined: true,
        found: Recovered {
            generation: 20,
            digest: SpecDigest::from_text("1"),
            restarts: 19,
            found: Found::Running {
                terms: Terms::of(&plain("1")),
                for_: Duration::from_secs(6),
                was_ready: true,
                going: false,
            },
        },
        owed: None,
    });
    // Six seconds before, and five now.
    bench.wait(5000);
    bench.exited("api", 3);
    assert_eq!(bench.deeds(), "+api");
}

#[test]
fn a_cycle_of_dependencies_is_reported_and_hangs_nothing() {
    let mut bench = Bench::new(&[
        ("a", on(plain("1"), "b", Condition::Started)),
        ("b", on(plain("1"), "a", Condition::Started)),
    ]);
    bench.start(false, false, &[]);
    assert!(matches!(
        bench.roots()[0].cause,
        FailureCause::MissingDependency(_)
    ));
    bench.stop(&[]);
    assert_eq!(bench.outcome(), Some(Outcome::Done));
}

#[test]
fn a_thousand_services_in_a_row_come_up_and_go_down_quickly() {
    let began = Instant::now();
    let label = |index: usize| format!("s{:03}", (index * 7919) % 1000);
    let mut bench = Bench::new(&[]);
    for index in 0..1000 {
        let mut definition = plain("1");
        if index > 0 {
            definition = on(definition, &label(index - 1), Condition::Started);
        }
        bench.file.insert(name(&label(index)), definition);
    }
    bench.start(false, false, &[]);
    (0..1000).for_each(|index| bench.launched(&label(index)));
    bench.wait(400);
    bench.stop(&[]);
    (0..1000).rev().for_each(|index| bench.exited(&label(index), 0));
    assert!(bench.machine.is_idle());
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn what_nobody_chose_this_time_stays_and_what_left_the_file_goes_with_a_prune() {
    let mut bench = Bench::new(&[("api", plain("1")), ("shell", plain("1")), ("gone", plain("1"))]);
    bench.start(false, false, &[]);
    for service in ["api", "shell", "gone"] {
        bench.launched(service);
    }
    bench.wait(400);
    bench.deeds();
    assert_eq!(bench.outcome(), Some(Outcome::Done));
    let api = bench.file.get(&name("api")).cloned().unwrap();
    let request = |prune: bool| OperationRequest::Start {
        definitions: [(name("api"), api.clone())].into(),
        targets: None,
        no_deps: false,
        restart: false,
        unchosen: [name("shell")].into(),
        prune,
        rollback: false,
    };
    bench.submit(request(false));
    assert_eq!(bench.deeds(), "");
    assert!(bench.view("shell").defined && !bench.view("gone").defined);
    assert_eq!(bench.outcome(), Some(Outcome::Done));
    bench.submit(request(true));
    assert_eq!(bench.deeds(), "-gone");
    bench.exited("gone", 0);
    assert_eq!(bench.outcome(), Some(Outcome::Done));
    assert!(bench.machine.snapshot(&name("gone"), bench.now).is_none());
    // It is not forgotten when it is at rest, either.
    bench.stop(&["shell"]);
    bench.exited("shell", 0);
    bench.submit(request(true));
    assert_eq!(bench.view("shell").state, ServiceState::Stopped);
}

#[test]
fn what_was_not_in_the_file_is_not_after_a_recovery_either() {
    let mut bench = Bench::new(&[("api", plain("1"))]);
    for (service, defined) in [("api", true), ("gone", false)] {
        bench.give(Event::Recover {
            service: name(service),
            definition: plain("1"),
            wanted: true,
            defined,
            found: Recovered {
                generation: 1,
                digest: SpecDigest::from_text("1"),
                restarts: 0,
                found: Found::Running {
                    terms: Terms::of(&plain("1")),
                    for_: Duration::from_secs(60),
                    was_ready: true,
                    going: false,
                },
            },
            owed: None,
        });
    }
    bench.give(Event::Tick);
    assert!(bench.view("api").defined && !bench.view("gone").defined);
    bench.stop(&["gone"]);
    bench.exited("gone", 0);
    assert!(bench.machine.snapshot(&name("gone"), bench.now).is_none());
}

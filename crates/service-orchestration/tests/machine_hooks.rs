//! Hooks belong to their generation: what runs or is left of them ends with it, and `after_stop` runs before anything
//! else follows.

#![cfg(test)]
#![allow(unreachable_pub, reason = "a test")]

mod machine_support;

use std::time::Duration;

use harness_model::resolve::SpecDigest;
use harness_model::spec::{Condition, RestartMode};
use harness_model::{ExitStatus, ServiceState};
use machine_support::{Bench, hooked, name, on, plain, probed, restarting};
use service_orchestration::machine::*;

const ALL: [Hook; 4] = [
    Hook::BeforeStart,
    Hook::AfterHealthy,
    Hook::BeforeStop,
    Hook::AfterStop,
];

/// One service, up.
fn up(definition: Definition) -> Bench {
    let mut bench = Bench::new(&[("api", definition)]);
    bench.start(false, false, &[]);
    if bench.view("api").step == Step::Preparing {
        bench.hook_finished("api", Hook::BeforeStart, Ok(()));
    }
    bench.launched("api");
    bench.wait(400);
    bench.deeds();
    bench
}

#[test]
fn a_whole_life_with_every_hook() {
    let mut bench = Bench::new(&[("api", hooked(plain("1"), &ALL))]);
    bench.start(false, false, &[]);
    assert_eq!(bench.deeds(), "api:BeforeStart");
    bench.hook_finished("api", Hook::BeforeStart, Ok(()));
    bench.launched("api");
    assert_eq!(bench.deeds(), "+api api:AfterHealthy");
    bench.hook_finished("api", Hook::AfterHealthy, Ok(()));
    bench.wait(400);
    assert_eq!(bench.outcome(), Some(Outcome::Done));
    bench.stop(&[]);
    assert_eq!(bench.deeds(), "api:BeforeStop");
    bench.hook_finished("api", Hook::BeforeStop, Ok(()));
    assert_eq!(bench.deeds(), "-api");
    bench.exited("api", 0);
    assert_eq!(bench.deeds(), "api:end");
    bench.hooks_ended("api");
    assert_eq!(bench.deeds(), "api:AfterStop");
    assert_eq!(
        bench.view("api").doing.as_deref(),
        Some("running its after_stop hook")
    );
    assert_eq!(
        (bench.view("api").state, bench.outcome()),
        (ServiceState::Stopping, None)
    );
    bench.hook_finished("api", Hook::AfterStop, Ok(()));
    assert_eq!(bench.view("api").state, ServiceState::Stopped);
    assert_eq!(bench.outcome(), Some(Outcome::Done));
    assert!(bench.machine.is_idle() && bench.machine.next_deadline().is_none());
}

#[test]
fn a_stop_ends_a_before_start_and_is_done_when_that_is_gone() {
    let mut bench = Bench::new(&[("api", hooked(plain("1"), &[Hook::BeforeStart, Hook::AfterStop]))]);
    bench.start(false, false, &[]);
    bench.stop(&[]);
    // Nothing was launched, so no `after_stop` runs.
    assert_eq!(bench.deeds(), "api:BeforeStart api:end");
    assert_eq!(bench.view("api").state, ServiceState::Stopping);
    bench.hook_finished("api", Hook::BeforeStart, Ok(()));
    assert_eq!(bench.view("api").state, ServiceState::Stopping);
    bench.hooks_ended("api");
    assert_eq!(
        (bench.view("api").state, bench.deeds()),
        (ServiceState::Stopped, String::new())
    );
}

#[test]
fn a_failed_before_start_is_gone_before_the_next_attempt() {
    let again = restarting(plain("1"), RestartMode::OnFailure, Some(1));
    let mut bench = Bench::new(&[("api", hooked(again, &[Hook::BeforeStart, Hook::AfterStop]))]);
    bench.start(false, false, &[]);
    bench.hook_finished("api", Hook::BeforeStart, Err("exited 6"));
    assert_eq!(bench.deeds(), "api:BeforeStart api:end");
    bench.wait(1000);
    assert_eq!(bench.deeds(), "");
    bench.hooks_ended("api");
    assert_eq!(
        (bench.deeds(), bench.view("api").generation),
        ("api:BeforeStart".into(), 2)
    );
    bench.hook_finished("api", Hook::BeforeStart, Err("exited 6"));
    bench.hooks_ended("api");
    let roots = bench.roots();
    assert_eq!(
        roots[0].reason,
        "before_start hook failed: exited 6 (attempt 2 of 2)"
    );
    assert!(matches!(roots[0].cause, FailureCause::Hook(Hook::BeforeStart, _)));
}

#[test]
fn a_before_start_has_its_own_time_and_takes_none_from_the_start() {
    let mut api = hooked(plain("1"), &[]);
    api.hooks.insert(Hook::BeforeStart, Duration::from_secs(300));
    let mut bench = Bench::new(&[("api", api)]);
    bench.start(false, false, &[]);
    bench.wait(200_000);
    assert_eq!((bench.outcome(), bench.view("api").step), (None, Step::Preparing));
    bench.hook_finished("api", Hook::BeforeStart, Ok(()));
    bench.wait(50_000);
    bench.launched("api");
    bench.wait(400);
    assert_eq!(bench.outcome(), Some(Outcome::Done));
    // Whoever runs the hook enforces its time limit. If that fails, the machine does.
    let mut bench = Bench::new(&[("api", hooked(plain("1"), &[Hook::BeforeStart]))]);
    bench.start(false, false, &[]);
    bench.wait(7100);
    assert_eq!(bench.deeds(), "api:BeforeStart api:end");
    bench.hooks_ended("api");
    assert_eq!(
        bench.roots()[0].reason,
        "before_start hook failed: it did not end in time"
    );
}

#[test]
fn dependencies_that_are_lost_while_before_start_runs_are_waited_for_with_nothing_left_of_it() {
    let always = restarting(plain("1"), RestartMode::Always, None);
    let api = on(hooked(plain("1"), &[Hook::BeforeStart]), "db", Condition::Started);
    let mut bench = Bench::new(&[("db", always), ("api", api)]);
    bench.start(false, false, &[]);
    bench.launched("db");
    assert_eq!(bench.deeds(), "+db api:BeforeStart");
    bench.exited("db", 1);
    bench.hook_finished("api", Hook::BeforeStart, Ok(()));
    assert_eq!(bench.deeds(), "+db api:end");
    bench.launched("db");
    assert_eq!(bench.deeds(), "");
    bench.hooks_ended("api");
    assert_eq!(
        (bench.deeds(), bench.view("api").generation),
        ("api:BeforeStart".into(), 2)
    );
}

#[test]
fn an_end_by_itself_ends_the_hooks_and_runs_after_stop_before_the_next_launch() {
    let always = restarting(plain("1"), RestartMode::Always, None);
    let mut bench = up(hooked(always, &[Hook::AfterHealthy, Hook::AfterStop]));
    bench.exited("api", 3);
    assert_eq!(bench.deeds(), "api:end");
    bench.wait(1000);
    bench.hooks_ended("api");
    assert_eq!(bench.deeds(), "api:AfterStop");
    assert_eq!(bench.view("api").error.as_deref(), Some("exited 3 after 0.4s"));
    bench.wait(1000);
    assert_eq!(bench.deeds(), "");
    bench.hook_finished("api", Hook::AfterStop, Err("exited 1"));
    assert_eq!((bench.deeds(), bench.view("api").restarts), ("+api".into(), 1));
}

#[test]
fn without_a_policy_the_failure_is_told_when_after_stop_has_run() {
    let mut bench = Bench::new(&[("api", hooked(probed("1"), &[Hook::AfterStop]))]);
    bench.start(false, false, &[]);
    bench.launched("api");
    bench.exited("api", 3);
    assert_eq!(bench.deeds(), "+api api:AfterStop");
    assert_eq!(
        (bench.view("api").state, bench.outcome()),
        (ServiceState::Stopping, None)
    );
    bench.hook_finished("api", Hook::AfterStop, Ok(()));
    assert_eq!(bench.roots()[0].reason, "exited 3 after 0ms");
    assert_eq!(bench.view("api").state, ServiceState::Failed);
}

#[test]
fn a_one_shot_has_completed_when_its_hooks_have_run() {
    let oneshot = Definition {
        oneshot: true,
        ..plain("1")
    };
    let mut bench = Bench::new(&[
        ("job", hooked(oneshot, &[Hook::AfterHealthy, Hook::AfterStop])),
        ("api", on(plain("1"), "job", Condition::Completed)),
    ]);
    bench.start(false, false, &[]);
    bench.launched("job");
    assert_eq!(bench.deeds(), "+job");
    bench.exited("job", 0);
    assert_eq!(bench.deeds(), "job:AfterHealthy");
    // Starting a service again that has all but completed changes nothing.
    bench.start(false, false, &[]);
    bench.hook_finished("job", Hook::AfterHealthy, Ok(()));
    bench.hooks_ended("job");
    assert_eq!(bench.deeds(), "job:end job:AfterStop");
    bench.hook_finished("job", Hook::AfterStop, Ok(()));
    assert_eq!(bench.deeds(), "+api");
    assert_eq!(bench.view("job").state, ServiceState::Completed);
    assert_eq!(bench.view("job").generation, 1);
}

#[test]
fn a_stop_ends_an_after_healthy_that_still_runs_before_it_goes_on() {
    let mut bench = up(hooked(plain("1"), &[Hook::AfterHealthy, Hook::BeforeStop]));
    bench.stop(&[]);
    assert_eq!(bench.deeds(), "api:endAfterHealthy");
    bench.hook_finished("api", Hook::AfterHealthy, Err("it was ended"));
    assert_eq!(bench.deeds(), "api:BeforeStop");
    // It was ended from outside, so this is not a failure.
    assert_eq!(bench.view("api").error, None);
    // Its process ends meanwhile, and the hook ends with it.
    bench.exited("api", 0);
    assert_eq!(bench.deeds(), "api:end");
    bench.hooks_ended("api");
    assert_eq!(bench.view("api").state, ServiceState::Stopped);
}

#[test]
fn a_replaced_service_ends_by_what_it_was_launched_with() {
    let old = hooked(plain("1"), &[Hook::BeforeStop, Hook::AfterStop]);
    let mut bench = up(old);
    bench.redefine("api", plain("2"));
    bench.start(false, false, &[]);
    assert_eq!(bench.deeds(), "api:BeforeStop");
    bench.hook_finished("api", Hook::BeforeStop, Ok(()));
    bench.exited("api", 0);
    bench.hooks_ended("api");
    assert_eq!(bench.deeds(), "-api api:end api:AfterStop");
    bench.hook_finished("api", Hook::AfterStop, Ok(()));
    assert_eq!(bench.deeds(), "+api");
    bench.launched("api");
    // A generation without such hooks does not get any.
    bench.redefine("api", hooked(plain("3"), &[Hook::BeforeStop, Hook::AfterStop]));
    bench.start(false, false, &[]);
    bench.exited("api", 0);
    assert_eq!(bench.deeds(), "-api +api");
}

#[test]
fn failed_hooks_of_a_stop_are_shown_and_hold_nothing_up() {
    let mut bench = up(hooked(plain("1"), &[Hook::BeforeStop, Hook::AfterStop]));
    bench.stop(&[]);
    bench.hook_finished("api", Hook::BeforeStop, Err("exited 4"));
    bench.exited("api", 0);
    bench.hooks_ended("api");
    bench.hook_finished("api", Hook::AfterStop, Err("exited 5: no such file"));
    bench.outcome();
    assert_eq!(bench.outcome(), Some(Outcome::Done));
    assert_eq!(
        bench.view("api").error.as_deref(),
        Some("before_stop hook failed: exited 4; after_stop hook failed: exited 5: no such file")
    );
}

#[test]
fn an_after_stop_that_is_not_answered_is_ended() {
    let mut bench = up(hooked(plain("1"), &[Hook::AfterStop]));
    bench.stop(&[]);
    bench.exited("api", 0);
    bench.deeds();
    bench.wait(7100);
    assert_eq!(
        (bench.deeds(), bench.view("api").state),
        ("api:end".into(), ServiceState::Stopping)
    );
    bench.hooks_ended("api");
    assert_eq!(bench.view("api").state, ServiceState::Stopped);
}

#[test]
fn hooks_that_cannot_be_ended_hold_the_next_generation_up() {
    let mut bench = up(hooked(plain("1"), &[Hook::AfterHealthy, Hook::AfterStop]));
    bench.start(false, true, &[]);
    bench.hook_finished("api", Hook::AfterHealthy, Err("it was ended"));
    bench.exited("api", 0);
    assert_eq!(bench.deeds(), "api:endAfterHealthy -api api:end");
    bench.wait(16_000);
    assert_eq!(bench.view("api").state, ServiceState::Unknown);
    assert_eq!(
        bench.view("api").error.as_deref(),
        Some("its hooks did not end when they were killed")
    );
    // Asked again, it tries again. When the hooks are gone, everything goes on.
    bench.start(false, false, &[]);
    assert_eq!(bench.deeds(), "api:end");
    bench.hooks_ended("api");
    bench.hook_finished("api", Hook::AfterStop, Ok(()));
    assert_eq!(bench.deeds(), "api:AfterStop +api");
}

fn recover(found: Recovered, definition: Definition, wanted: bool, owed: bool) -> Bench {
    let mut bench = Bench::new(&[("api", definition.clone())]);
    bench.give(Event::Recover {
        service: name("api"),
        definition,
        wanted,
        defined: true,
        found,
        owed: owed.then_some(Duration::from_secs(2)),
    });
    assert!(bench.effects.is_empty());
    bench.wait(0);
    bench
}

#[test]
fn what_a_former_daemon_owes_runs_first() {
    let ended = |fresh, failed| Recovered {
        generation: 3,
        digest: SpecDigest::from_text("1"),
        restarts: 0,
        found: Found::Ended {
            ended: Ended::Exit(ExitStatus::Code(0)),
            failed,
            fresh,
            was_ready: true,
        },
    };
    let unhealthy = Some((FailureCause::Unhealthy, "unhealthy: no answer".to_owned()));
    let failed = Recovered {
        generation: 3,
        digest: SpecDigest::from_text("1"),
        restarts: 0,
        found: Found::Failed {
            ended: None,
            cause: FailureCause::StartupTimeout,
            reason: "not healthy within 60s".into(),
        },
    };
    let on_failure = || restarting(plain("1"), RestartMode::OnFailure, None);
    let always = || restarting(plain("1"), RestartMode::Always, None);
    let cases = [
        (
            Recovered {
                generation: 3,
                digest: SpecDigest::from_text("1"),
                restarts: 0,
                found: Found::Idle,
            },
            always(),
            true,
            ServiceState::Starting,
        ),
        (
            Recovered {
                generation: 3,
                digest: SpecDigest::from_text("1"),
                restarts: 0,
                found: Found::Idle,
            },
            always(),
            false,
            ServiceState::Stopped,
        ),
        (
            Recovered {
                generation: 3,
                digest: SpecDigest::from_text("1"),
                restarts: 0,
                found: Found::Rebooted,
            },
            always(),
            true,
            ServiceState::Starting,
        ),
        (
            Recovered {
                generation: 3,
                digest: SpecDigest::from_text("1"),
                restarts: 0,
                found: Found::Rebooted,
            },
            plain("1"),
            true,
            ServiceState::Stopped,
        ),
        (ended(true, None), on_failure(), true, ServiceState::Completed),
        // It was being stopped because it was unhealthy. That it then exited 0 is no success.
        (ended(true, unhealthy), on_failure(), true, ServiceState::Starting),
        (ended(true, None), plain("1"), false, ServiceState::Stopped),
        (ended(false, None), plain("1"), true, ServiceState::Completed),
        (failed, plain("1"), true, ServiceState::Failed),
    ];
    for (found, definition, wanted, then) in cases {
        let shown = format!("{found:?}");
        let mut bench = recover(found.clone(), definition.clone(), wanted, true);
        assert_eq!(bench.deeds(), "api:AfterStop", "{shown}");
        assert_eq!(bench.view("api").state, ServiceState::Stopping, "{shown}");
        bench.hook_finished("api", Hook::AfterStop, Ok(()));
        assert_eq!(bench.view("api").state, then, "{shown}");
        // The same without a pending hook happens at once.
        let bench = recover(found, definition, wanted, false);
        assert_eq!(bench.view("api").state, then, "{shown}");
    }
}

#[test]
fn an_adopted_service_ends_by_what_it_was_launched_with() {
    let found = Recovered {
        generation: 3,
        digest: SpecDigest::from_text("1"),
        restarts: 0,
        found: Found::Running {
            terms: Terms::of(&hooked(plain("1"), &[Hook::AfterStop])),
            for_: Duration::from_secs(100),
            was_ready: true,
            going: false,
        },
    };
    // It was to be replaced when the daemon died.
    let mut bench = recover(found, plain("2"), true, false);
    assert_eq!(bench.deeds(), "-api");
    bench.exited("api", 0);
    assert_eq!(bench.deeds(), "api:AfterStop");
    bench.hook_finished("api", Hook::AfterStop, Ok(()));
    assert_eq!(bench.deeds(), "+api");
}

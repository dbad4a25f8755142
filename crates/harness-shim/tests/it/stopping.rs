//! A stopped service is completely gone.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use harness_shim::cgroup;
use harness_shim::control::{Reply, Request, Scope};
use harness_shim::identity::ProcessId;
use harness_shim::run_dir::{LaunchSpec, Outcome, StopMode, StopPolicy};
use harness_shim::tree;

use crate::support::{Run, perl, quick, run_id, sh, until};

/// A double fork with a session of its own. It ignores signals, and its environment is empty.
const ESCAPEE: &str = r#"
    $| = 1;
    if (!fork) {
        setpgrp; require POSIX; POSIX::setsid();
        if (!fork) {
            $SIG{TERM} = $SIG{HUP} = $SIG{INT} = 'IGNORE';
            open STDIN, '<', '/dev/null';
            exec 'env', '-i', 'perl', '-e', '$SIG{TERM} = "IGNORE"; $| = 1; print "escaped $$\n"; sleep 1000';
        }
        exit 0;
    }
    wait;
    sleep 1000;
"#;

fn escapee(run: &Run) -> ProcessId {
    until("it escaped", || {
        run.stdout().iter().any(|line| line.starts_with("escaped "))
    });
    let line = run
        .stdout()
        .into_iter()
        .find(|line| line.starts_with("escaped "))
        .unwrap();
    ProcessId::of(line["escaped ".len()..].parse().unwrap()).unwrap()
}

#[test]
fn an_escapee_is_killed_by_walking() {
    let mut run = Run::start(&perl(ESCAPEE));
    let escapee = escapee(&run);
    assert!(escapee.is_alive());
    run.stop(quick(300));
    let record = run.ended();
    assert!(!escapee.is_alive());
    assert_eq!(record.outcome, Outcome::Signaled(15));
    assert!(record.stop_requested && record.killed);
}

fn some_cgroup() -> Option<PathBuf> {
    let base = cgroup::delegated_base();
    if base.is_none() {
        eprintln!("skipped: no cgroup may be used here");
    }
    Some(base?.join(format!("harness-shim-{}", run_id())))
}

#[test]
fn an_escapee_is_killed_by_its_cgroup() {
    let Some(cgroup) = some_cgroup() else { return };
    let spec = LaunchSpec {
        cgroup: Some(cgroup.clone()),
        ..perl(ESCAPEE)
    };
    let mut run = Run::start(&spec);
    let escapee = escapee(&run);
    let mut members = cgroup::processes(&cgroup).unwrap();
    members.sort_unstable();
    assert!(
        members.contains(&run.pid()) && members.contains(&escapee.pid),
        "{members:?}"
    );
    assert!(!members.contains(&run.shim.id()));
    run.stop(quick(300));
    assert!(run.ended().killed);
    assert!(!escapee.is_alive() && !cgroup.exists());
}

#[test]
fn a_cgroup_goes_with_a_process_that_ends_by_itself() {
    let Some(cgroup) = some_cgroup() else { return };
    let mut run = Run::start(&LaunchSpec {
        cgroup: Some(cgroup.clone()),
        ..sh("exit 4")
    });
    assert_eq!(run.outcome(), Outcome::Exited(4));
    assert!(!cgroup.exists());
    let missing = LaunchSpec {
        program: "/no/such".into(),
        cgroup: Some(cgroup.clone()),
        ..sh("")
    };
    Run::start(&missing).ended();
    assert!(!cgroup.exists());
}

#[test]
fn a_cgroup_that_cannot_be_had_is_no_obstacle() {
    let spec = LaunchSpec {
        cgroup: Some("/proc/no/such".into()),
        ..sh("exit 4")
    };
    let mut run = Run::start(&spec);
    assert_eq!(run.outcome(), Outcome::Exited(4));
    assert!(run.dir.shim_messages().contains("cannot use cgroup"));
}

#[test]
fn who_needs_time_after_the_signal_gets_it() {
    let mut run = Run::start(&sh(
        "trap 'sleep 0.7; echo done; exit 6' TERM; echo up; while :; do sleep 0.01; done",
    ));
    run.says("up");
    run.stop(quick(15_000));
    let record = run.ended();
    assert_eq!(record.outcome, Outcome::Exited(6));
    assert!(record.stop_requested && !record.killed);
    assert!(run.stdout().contains(&"done".to_owned()));
}

#[test]
fn after_the_grace_period_comes_the_kill() {
    let mut run = Run::start(&sh("trap '' TERM; echo up; while :; do sleep 0.01; done"));
    run.says("up");
    let begun = Instant::now();
    run.stop(quick(400));
    let record = run.ended();
    assert!(begun.elapsed() >= Duration::from_millis(400));
    assert_eq!(record.outcome, Outcome::Signaled(9));
    assert!(record.stop_requested && record.killed);
}

#[test]
fn a_shorter_grace_period_may_follow() {
    let mut run = Run::start(&sh("trap '' TERM; echo up; while :; do sleep 0.01; done"));
    run.says("up");
    run.stop(quick(1_000_000));
    run.stop(quick(100));
    assert_eq!(run.outcome(), Outcome::Signaled(9));
}

#[test]
fn kill_does_not_wait() {
    let mut run = Run::start(&sh("trap '' TERM; echo up; while :; do sleep 0.01; done"));
    run.says("up");
    assert_eq!(run.ask(&Request::Kill), Reply::Ok);
    let record = run.ended();
    assert_eq!(record.outcome, Outcome::Signaled(9));
    assert!(record.stop_requested && record.killed);
}

/// The child reports when the signal comes. The main process ignores it until the child has done so.
const FAMILY: &str = r#"
    trap 'echo main; exit 0' TERM
    (trap 'echo child; exit 0' TERM; echo ready; while :; do sleep 0.01; done) &
    while :; do sleep 0.01; done
"#;

#[test]
fn mixed_signals_the_rest_when_the_main_process_is_gone() {
    let script = FAMILY.replace("echo main;", "kill -0 $!; echo child alive $?; sleep 0.2;");
    let mut run = Run::start(&sh(&script));
    run.says("ready");
    run.stop(quick(5000));
    assert!(!run.ended().killed);
    assert_eq!(run.stdout(), ["ready", "child alive 0", "child"]);
}

#[test]
fn group_signals_all_at_once() {
    // The main process waits for its child, which ends only because of the signal.
    let script = FAMILY.replace(
        "trap 'echo main; exit 0' TERM\n",
        "trap 'wait; echo main; exit 0' TERM\n",
    );
    let mut run = Run::start(&sh(&script));
    run.says("ready");
    run.stop(StopPolicy {
        mode: StopMode::Group,
        ..quick(5000)
    });
    let record = run.ended();
    assert!(!record.killed);
    assert_eq!(record.outcome, Outcome::Exited(0));
    assert_eq!(run.stdout(), ["ready", "child", "main"]);
}

#[test]
fn what_a_finished_process_leaves_is_stopped() {
    let script = "(trap 'echo bye; exit' TERM; echo ready; while :; do sleep 0.01; done) & \
                  while ! [ -e go ]; do sleep 0.01; done; exit 9";
    let home = tempfile::tempdir().unwrap();
    let mut run = Run::start(&LaunchSpec {
        cwd: home.path().into(),
        ..sh(script)
    });
    run.says("ready");
    std::fs::write(home.path().join("go"), "").unwrap();
    let record = run.ended();
    assert_eq!(record.outcome, Outcome::Exited(9));
    assert!(!record.stop_requested && !record.killed);
    assert_eq!(run.stdout(), ["ready", "bye"]);
}

#[test]
fn one_that_is_stopped_still_hears_the_signal() {
    let mut run = Run::start(&sh("trap 'exit 5' TERM; echo up; while :; do sleep 0.01; done"));
    run.says("up");
    assert_eq!(
        run.ask(&Request::Signal {
            signal: libc::SIGSTOP,
            scope: Scope::Tree
        }),
        Reply::Ok
    );
    let stat = || std::fs::read_to_string(format!("/proc/{}/stat", run.pid())).unwrap();
    // In state D it waits for its child, which is stopped between vfork and exec.
    until("it is stopped", || {
        stat().contains(") T ") || stat().contains(") D ")
    });
    run.stop(quick(10_000));
    let record = run.ended();
    assert_eq!(record.outcome, Outcome::Exited(5));
    assert!(!record.killed);
}

#[test]
fn one_that_forks_and_exits_without_end_is_caught() {
    let hopper =
        "$SIG{TERM} = 'IGNORE'; $| = 1; print \"up\\n\"; while (1) { my $pid = fork; exit if $pid; }";
    let mut run = Run::start(&perl(hopper));
    run.says("up");
    run.stop(quick(100));
    assert!(run.ended().killed);
}

#[test]
fn a_deep_and_wide_tree_is_killed() {
    let script = "$SIG{TERM} = 'IGNORE'; $| = 1; for (1..6) { fork } print \"up\\n\"; sleep 1000";
    let mut run = Run::start(&perl(script));
    until("all are up", || run.stdout().len() == 64);
    assert_eq!(tree::descendants(run.shim.id()).unwrap().len(), 64);
    run.stop(quick(100));
    assert!(run.ended().killed);
}

#[test]
fn signals_go_to_one_or_to_all() {
    let script = "trap 'echo main' USR1; \
                  (trap 'echo child' USR1; echo ready; while :; do sleep 0.01; done) & \
                  while :; do sleep 0.01; done";
    let mut run = Run::start(&sh(script));
    run.says("ready");
    assert_eq!(
        run.ask(&Request::Signal {
            signal: libc::SIGUSR1,
            scope: Scope::Main
        }),
        Reply::Ok
    );
    run.says("main");
    assert!(!run.stdout().contains(&"child".to_owned()));
    assert_eq!(
        run.ask(&Request::Signal {
            signal: libc::SIGUSR1,
            scope: Scope::Tree
        }),
        Reply::Ok
    );
    run.says("child");
    run.stop(quick(1000));
    run.ended();
}

#[test]
fn the_children_of_every_thread_are_descendants() {
    let mut run = Run::start(&sh("echo ready; exec sleep 1000"));
    run.says("ready");
    let (tell, told) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        tell.send(child.id()).unwrap();
        std::thread::park();
        child.kill().unwrap();
        child.wait().unwrap();
    });
    let sleeper = told.recv().unwrap();
    // There may be other processes that other tests of this process have started.
    let found = tree::descendants(std::process::id()).unwrap();
    let has = |pid| found.iter().any(|process| process.pid == pid);
    assert!(has(sleeper) && has(run.shim.id()) && has(run.pid()), "{found:?}");
    thread.thread().unpark();
    thread.join().unwrap();
    run.stop(quick(1000));
    run.ended();
}

//! Daemons that replace each other: many at once, a newer build, one that lost its home, one with a client that left.
//! There is always one daemon, and services notice nothing.

#![cfg(test)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{PATIENCE, Running, Sandbox, eventually, proc, within};
use rustix::process::Signal;

/// A service that records its starts and counts in its log, one that is never ready, and one that stops slowly.
const FILE: &str = r#"
version: "1.0"
name: replaced
services:
  counter:
    type: process
    binary: sh
    args: [-c, 'echo x >> starts; i=0; while :; do i=$((i+1)); echo "count $i"; sleep 0.02; done']
    health_check: {log: "count 3"}
  waits:
    type: process
    binary: sleep
    args: [1000]
    health_check: {command: "test -e ready"}
  after:
    type: process
    binary: sleep
    args: [1000]
    dependencies: [waits]
  slow:
    type: process
    binary: sh
    args: [-c, 'trap "echo x >> stops; while ! test -e go; do sleep 0.02; done; exit 0" TERM; touch up; while :; do sleep 0.02; done']
    health_check: {command: "test -e up"}
    shutdown_timeout: 60
"#;

fn daemons(sandbox: &Sandbox) -> Vec<proc::Process> {
    let mut found = proc::mentioning(sandbox.root());
    found.retain(|process| process.command.contains("harness-executor-daemon"));
    found
}

fn kill_daemon(sandbox: &Sandbox) {
    let pid = sandbox.daemon_pid().expect("a daemon runs");
    proc::kill(pid);
    eventually("the daemon is gone", || (!proc::is_alive(pid)).then_some(()));
}

/// The rounds of the race; `cargo xtask soak` sets more.
fn rounds() -> u32 {
    let given = std::env::var("HARNESS_TEST_ROUNDS").ok();
    given.and_then(|rounds| rounds.parse().ok()).unwrap_or(20)
}

#[test]
fn of_many_that_race_for_a_home_one_daemon_lives() {
    let sandbox = Sandbox::with_file("racing", FILE);
    let daemon = env!("CARGO_BIN_EXE_harness").to_owned() + "-executor-daemon";
    for round in 0..rounds() {
        let mut clients: Vec<Running> = Vec::new();
        let mut by_hand: Vec<Running> = Vec::new();
        for racer in 0..3 {
            clients.push(sandbox.spawn(&["start", "-d", "counter"]));
            clients.push(sandbox.spawn(&["daemon", "start"]));
            if racer == 0 {
                by_hand.push(sandbox.command(&daemon, &["--port", "0"]));
            }
        }
        for client in clients {
            client.wait(PATIENCE).code(0);
        }
        // A daemon that was started by hand is the only one, or says that there is another one.
        let daemon = sandbox.daemon_pid().unwrap_or_else(|| panic!("round {round}"));
        for mut typed in by_hand {
            if typed.pid() != daemon {
                eventually("it gives up", || typed.has_ended().then_some(()));
                let typed = typed.wait(PATIENCE).code(1);
                typed.tells("a daemon is already running for");
            } else {
                std::mem::forget(typed);
            }
        }
        // One that a client started may still be giving up.
        eventually("one daemon lives", || {
            (daemons(&sandbox).len() == 1).then_some(())
        });
        assert_eq!(sandbox.daemon_pid(), Some(daemon), "round {round}");
        sandbox.await_state("counter", "running/healthy");
        assert_eq!(sandbox.read("starts"), "x\n", "round {round}");
        // In the next round, the former daemon was killed, or ended normally.
        if round % 2 == 0 {
            kill_daemon(&sandbox);
        } else {
            sandbox.ok(&["daemon", "stop"]);
        }
    }
    sandbox.ok(&["stop", "--all"]);
}

/// Copies of the programs, with a shim that has another digest.
fn newer_build(sandbox: &Sandbox) -> PathBuf {
    let folder = sandbox.root().join("newer");
    fs::create_dir(&folder).unwrap();
    let built = Path::new(env!("CARGO_BIN_EXE_harness")).parent().unwrap();
    for program in ["harness", "harness-executor-daemon", "harness-shim"] {
        fs::copy(built.join(program), folder.join(program)).unwrap();
    }
    let mut shim = fs::read(folder.join("harness-shim")).unwrap();
    shim.extend_from_slice(b"newer");
    fs::write(folder.join("harness-shim"), shim).unwrap();
    folder
}

fn copies(sandbox: &Sandbox) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(sandbox.home().join("bin")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// The program that the supervisor of a service runs.
fn shim_of(pid: u64) -> PathBuf {
    let shim = proc::parent(u32::try_from(pid).unwrap()).unwrap();
    fs::read_link(format!("/proc/{shim}/exe")).unwrap()
}

#[test]
fn a_newer_build_takes_over_under_running_services() {
    let sandbox = Sandbox::with_file("newer_build", FILE);
    sandbox.ok(&["start", "counter"]);
    let starting = sandbox.spawn(&["start", "after"]);
    eventually("waits runs", || {
        sandbox.pids().contains_key("waits").then_some(())
    });
    let before = sandbox.pids();
    let old = copies(&sandbox);
    assert_eq!(old.len(), 1, "{old:?}");

    let newer = newer_build(&sandbox);
    let harness = newer.join("harness");
    let restart = sandbox.command(harness.to_str().unwrap(), &["daemon", "restart"]);
    restart
        .wait(PATIENCE)
        .code(0)
        .says("restarted")
        .says("services kept running");
    let daemon = sandbox.daemon_pid().unwrap();
    let program = fs::read_link(format!("/proc/{daemon}/exe")).unwrap();
    assert_eq!(program, newer.join("harness-executor-daemon"));
    assert_eq!(sandbox.pids(), before, "nothing was started again");
    // The command of the running start lost its daemon and said so; the start continues.
    let lost = starting.wait(PATIENCE).code(1);
    assert!(
        lost.stderr.contains("harness status") || lost.stderr.contains("the next daemon continues this"),
        "{lost}"
    );
    assert_eq!(sandbox.state("after"), "pending/none");
    sandbox.write("ready", "");
    sandbox.await_state("after", "running/none");

    // Running services continue under the old shim; new launches use the new one.
    let pids = sandbox.pids();
    let new = shim_of(pids["after"]);
    assert!(
        old.contains(&shim_of(pids["counter"])) && !old.contains(&new),
        "{new:?}"
    );
    assert_eq!(copies(&sandbox).len(), 2);
    sandbox.ok(&["daemon", "restart"]);
    assert!(copies(&sandbox).is_superset(&old), "one that is in use stays");

    // The log has every line of before, between and after.
    let logs = sandbox.ok(&["logs", "counter", "-n", "1000000"]).stdout;
    let counts: Vec<u64> = logs
        .lines()
        .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
        .collect();
    assert!(counts.iter().copied().eq(1..=counts.len() as u64), "{counts:?}");
    assert_eq!(sandbox.read("starts"), "x\n");

    // Nothing runs under the old shim any more, so it is removed when the newer daemon starts.
    sandbox.ok(&["stop", "--all"]);
    let restart = sandbox.command(harness.to_str().unwrap(), &["daemon", "restart"]);
    restart.wait(PATIENCE).code(0);
    eventually("the old copy is gone", || {
        (copies(&sandbox) == BTreeSet::from([new.clone()])).then_some(())
    });
}

#[test]
fn another_version_of_the_daemon_is_told() {
    let sandbox = Sandbox::with_file("other_version", FILE);
    sandbox.ok(&["start", "counter"]);
    let path = sandbox.home().join("daemon.json");
    let mut info = sandbox.daemon_json().unwrap();
    info["version"] = "0.0.1".into();
    // The daemon corrects the file at its next check. Before that, the command line reports the difference.
    eventually("the versions differ", || {
        fs::write(&path, info.to_string()).unwrap();
        let status = sandbox.ok(&["status"]);
        status
            .stderr
            .contains("the daemon is 0.0.1")
            .then(|| status.tells("harness daemon restart"))
    });
}

#[test]
fn a_stop_of_everything_is_carried_out_when_its_client_leaves() {
    for leave in [Signal::KILL, Signal::TERM, Signal::STOP] {
        let sandbox = Sandbox::with_file("client_left", FILE);
        sandbox.ok(&["start", "slow", "counter"]);
        let daemon = sandbox.daemon_pid().unwrap();
        let pids = sandbox.pids();
        let mut stop = sandbox.spawn(&["daemon", "stop", "--services"]);
        eventually("slow is stopping", || {
            sandbox.project().join("stops").exists().then_some(())
        });
        stop.signal(leave);
        if leave != Signal::STOP {
            eventually("the client is gone", || stop.has_ended().then_some(()));
        }
        sandbox.write("go", "");
        eventually("the daemon ends", || (!proc::is_alive(daemon)).then_some(()));
        for pid in pids.values() {
            assert!(!proc::is_alive(u32::try_from(*pid).unwrap()), "{leave:?}");
        }
        assert!(sandbox.daemon_json().is_none());
        if leave == Signal::STOP {
            stop.signal(Signal::KILL);
        }
    }
}

#[test]
fn a_daemon_whose_home_was_removed_stops_its_services_and_ends() {
    for how in ["removed", "moved"] {
        let sandbox = Sandbox::with_file("home_gone", FILE);
        sandbox.write("go", "");
        sandbox.ok(&["start", "counter", "slow"]);
        let daemon = sandbox.daemon_pid().unwrap();
        let shims: Vec<u32> = sandbox.processes().iter().map(|process| process.pid).collect();
        assert!(shims.len() >= 4, "{shims:?}");
        match how {
            "removed" => fs::remove_dir_all(sandbox.home()).unwrap(),
            _ => fs::rename(sandbox.home(), sandbox.root().join("elsewhere")).unwrap(),
        }
        within(Duration::from_secs(60), "the daemon ends", || {
            (!proc::is_alive(daemon)).then_some(())
        });
        let left = sandbox.processes();
        assert!(left.is_empty(), "{how}: {left:?}");
        // It was asked to end, and not killed.
        assert_eq!(sandbox.read("stops"), "x\n", "{how}");
        // The next daemon begins with a new home.
        assert!(!sandbox.home().exists());
        sandbox.ok(&["start", "counter"]);
        sandbox.ok(&["stop", "--all"]);
    }
}

#[test]
fn a_daemon_whose_lock_was_removed_makes_way_and_services_run_on() {
    let sandbox = Sandbox::with_file("lock_gone", FILE);
    sandbox.ok(&["start", "counter"]);
    let (daemon, counter) = (sandbox.daemon_pid().unwrap(), sandbox.pid("counter"));
    fs::remove_file(sandbox.home().join("daemon.lock")).unwrap();
    eventually("the daemon ends", || (!proc::is_alive(daemon)).then_some(()));
    assert!(proc::is_alive(counter));
    assert_eq!(sandbox.pid("counter"), counter, "the next one has it");
    assert_eq!(sandbox.read("starts"), "x\n");
}

/// A supervisor without its identity file is recognized by the lock that it holds.
#[test]
fn a_supervisor_that_has_lost_its_identity_is_managed_on() {
    let sandbox = Sandbox::with_file("mute_shim", FILE);
    sandbox.ok(&["start", "counter"]);
    sandbox.write("ready", "");
    sandbox.ok(&["start", "after"]);
    let before = sandbox.pids();
    kill_daemon(&sandbox);
    let identity = sandbox.home().join("projects/replaced/waits/1/identity");
    fs::remove_file(&identity).unwrap();

    let start = sandbox.ok(&["daemon", "start"]);
    assert!(start.elapsed < Duration::from_secs(8), "{start}");
    sandbox.await_state("waits", "running/healthy");
    assert_eq!(sandbox.pids(), before);
    assert!(identity.exists(), "it is written again");
    sandbox.ok(&["stop", "--all"]);
}

/// Files of a newer version are refused, named and not changed, and nothing is started beside them.
#[test]
fn what_a_newer_version_left_is_refused_by_name() {
    let sandbox = Sandbox::with_file("newer_formats", FILE);
    sandbox.ok(&["start", "counter"]);
    let counter = sandbox.pid("counter");
    let project = sandbox.home().join("projects/replaced");
    for file in ["project.json", "counter/record.json"] {
        kill_daemon(&sandbox);
        let (path, state) = (project.join(file), sandbox.home().join("state"));
        let aside = sandbox.root().join("state");
        fs::rename(&state, &aside).unwrap();
        let whole = fs::read_to_string(&path).unwrap();
        let newer = r#"{"format": 2, "what": ["nobody", "knows"]}"#;
        fs::write(&path, newer).unwrap();
        let refused = sandbox.harness(&["start", "counter"]).code(1);
        refused
            .tells(&format!("{} was written by a newer harness", path.display()))
            .tells("format 2; this one knows up to 1");
        assert!(sandbox.daemon_pid().is_none());
        assert_eq!(fs::read_to_string(&path).unwrap(), newer);
        assert!(proc::is_alive(counter));
        fs::write(&path, whole).unwrap();
        fs::rename(&aside, &state).unwrap();
        assert_eq!(sandbox.pid("counter"), counter, "{file}");
    }
    assert_eq!(sandbox.read("starts"), "x\n");
    // The files of a running service: it is not managed until they can be read, and not doubled.
    kill_daemon(&sandbox);
    let identity = project.join("counter/1/identity");
    let whole = fs::read_to_string(&identity).unwrap();
    let newer = whole.replacen("harness-identity 1", "harness-identity 2", 1);
    fs::write(&identity, &newer).unwrap();
    sandbox.harness(&["start", "counter", "--timeout", "5"]);
    assert_eq!(sandbox.read("starts"), "x\n");
    assert!(proc::is_alive(counter));
    assert_eq!(fs::read_to_string(&identity).unwrap(), newer);
    let log = sandbox.ok(&["daemon", "logs", "-n", "1000"]);
    log.says("written by a newer harness (format 2; this one knows up to 1)");
    fs::write(&identity, whole).unwrap();
}

//! The daemon may start, end and be killed at any instant; services do not notice, and the next daemon knows them.

#![cfg(test)]

mod common;

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use common::{PATIENCE, Sandbox, eventually, proc};
use rustix::process::Signal;

/// A service that counts in its log, one that ends when told to, and one that only sleeps.
const FILE: &str = r#"
version: "1.0"
name: lasting
services:
  counter:
    type: process
    binary: sh
    args: [-c, 'i=0; while :; do i=$((i+1)); echo "count $i"; sleep 0.02; done']
    health_check: {log: "count 3"}
  ender:
    type: process
    binary: sh
    args: [-c, 'while ! test -e end; do sleep 0.02; done; echo ending; exit 5']
  batch:
    type: process
    oneshot: true
    binary: sh
    args: [-c, 'while ! test -e batch-end; do sleep 0.02; done; echo x >> batch-runs']
"#;

/// Kills the daemon and waits until it is gone.
fn kill_daemon(sandbox: &Sandbox) -> u32 {
    let pid = sandbox.daemon_pid().expect("a daemon runs");
    proc::kill(pid);
    eventually("the daemon is gone", || (!proc::is_alive(pid)).then_some(()));
    pid
}

#[test]
fn services_outlive_a_killed_daemon_and_the_next_one_adopts_them() {
    let sandbox = Sandbox::with_file("daemon_killed", FILE);
    sandbox.ok(&["start", "counter", "ender"]);
    sandbox.ok(&["start", "-d", "batch"]);
    eventually("batch runs", || {
        sandbox.pids().contains_key("batch").then_some(())
    });
    let before = sandbox.pids();
    assert_eq!(before.len(), 3, "{before:?}");

    let first = kill_daemon(&sandbox);
    let count = || {
        let lines = sandbox.processes().len();
        assert!(
            lines >= 6,
            "services and their shims keep running: {:?}",
            sandbox.processes()
        );
    };
    count();
    // Two of them end while no daemon runs.
    sandbox.write("end", "");
    sandbox.write("batch-end", "");
    for name in ["ender", "batch"] {
        let pid = u32::try_from(before[name]).unwrap();
        eventually("it ended by itself", || (!proc::is_alive(pid)).then_some(()));
    }

    let after = sandbox.status();
    assert_ne!(sandbox.daemon_pid(), Some(first));
    assert_eq!(after["counter"]["pid"], before["counter"], "{after:?}");
    assert_eq!(sandbox.state("counter"), "running/healthy");
    assert_eq!(after["ender"]["exit_code"], 5, "{after:?}");
    assert_eq!(after["ender"]["status"], "failed", "{after:?}");
    assert_eq!(after["batch"]["exit_code"], 0, "{after:?}");
    assert_eq!(after["batch"]["status"], "completed", "{after:?}");
    sandbox.ok(&["events"]).says("adopted");

    // A completed one-shot stays completed, and the adopted service is unchanged.
    std::fs::remove_file(sandbox.project().join("end")).unwrap();
    sandbox.ok(&["start"]);
    assert_eq!(sandbox.read("batch-runs"), "x\n");
    assert_eq!(sandbox.pids()["counter"], before["counter"]);

    // Adopted services can be stopped.
    sandbox.ok(&["stop", "--all"]);
    assert_eq!(sandbox.processes().len(), 0, "{:?}", sandbox.processes());
}

#[test]
fn restart_policies_hold_for_what_died_while_no_daemon_looked() {
    let sandbox = Sandbox::with_file(
        "died_unseen",
        r#"
version: "1.0"
services:
  api:
    type: process
    binary: sleep
    args: [1000]
    restart: on-failure
  both:
    type: process
    binary: sleep
    args: [1000]
    restart: on-failure
"#,
    );
    sandbox.ok(&["start"]);
    let (api, both) = (sandbox.pid("api"), sandbox.pid("both"));
    let shim = proc::parent(both).unwrap();
    kill_daemon(&sandbox);
    proc::kill(api);
    proc::kill(shim);
    eventually("they are dead", || {
        (!proc::is_alive(api) && !proc::is_alive(shim)).then_some(())
    });
    sandbox.ok(&["wait", "--timeout", "30"]);
    for (name, old) in [("api", api), ("both", both)] {
        let service = sandbox.service(name);
        assert_eq!(service["status"], "running", "{service}");
        assert_ne!(service["pid"], old, "{service}");
    }
    assert!(!proc::is_alive(both), "what a dead supervisor left is killed");
    sandbox.ok(&["events", "both"]).says("supervisor died");
}

#[test]
fn what_ended_before_it_was_healthy_is_no_success_to_the_next_daemon() {
    let sandbox = Sandbox::with_file(
        "early",
        r#"
name: early
services:
  db:
    type: process
    binary: sh
    args: [-c, 'while ! test -e end; do sleep 0.02; done']
    health_check: {log: never}
  app: {type: process, binary: sleep, args: [1000], dependencies: [db]}
"#,
    );
    sandbox.ok(&["start", "-d"]);
    eventually("db runs", || sandbox.pids().contains_key("db").then_some(()));
    let db = sandbox.pid("db");
    kill_daemon(&sandbox);
    sandbox.write("end", "");
    eventually("it has ended", || (!proc::is_alive(db)).then_some(()));
    sandbox.ok(&["daemon", "start"]);
    sandbox.await_state("db", "failed/none");
    let error = sandbox.service("db")["error"].as_str().unwrap().to_owned();
    assert_eq!(error, "exited 0 before it was seen to be healthy");
    assert_ne!(sandbox.service("app")["status"], "running");
}

#[test]
fn an_interrupted_start_is_continued() {
    let sandbox = Sandbox::with_file(
        "start_interrupted",
        r#"
version: "1.0"
services:
  db:
    type: process
    binary: sleep
    args: [1000]
    health_check: {command: "test -e db-ready"}
  api:
    type: process
    binary: sleep
    args: [1000]
    dependencies: [db]
"#,
    );
    let start = sandbox.spawn(&["start"]);
    eventually("db is starting", || {
        let known = sandbox.harness(&["--json", "status"]);
        (known.code == Some(0) && sandbox.pids().contains_key("db")).then_some(())
    });
    let db = sandbox.pid("db");
    kill_daemon(&sandbox);
    start
        .wait(PATIENCE)
        .code(1)
        .tells("error: the connection to the daemon was lost: the daemon closed the connection\n")
        .tells("services keep running; harness status starts a daemon that takes over");
    sandbox.ok(&["daemon", "start"]);
    assert_eq!(sandbox.pid("db"), db);
    sandbox.write("db-ready", "");
    sandbox.await_state("api", "running/none");
    assert_eq!(sandbox.pid("db"), db);
}

#[test]
fn an_interrupted_stop_is_continued() {
    let sandbox = Sandbox::with_file(
        "stop_interrupted",
        r#"
version: "1.0"
services:
  db:
    type: process
    binary: sleep
    args: [1000]
  api:
    type: process
    binary: sh
    args: [-c, 'trap "touch stopping; while ! test -e go; do sleep 0.02; done; exit 0" TERM; touch up; while :; do sleep 0.02; done']
    dependencies: [db]
    health_check: {command: "test -e up"}
    shutdown_timeout: 60
"#,
    );
    sandbox.ok(&["start"]);
    let db = sandbox.pid("db");
    let stop = sandbox.spawn(&["stop", "--all"]);
    eventually("api is stopping", || {
        sandbox.project().join("stopping").exists().then_some(())
    });
    kill_daemon(&sandbox);
    stop.wait(PATIENCE).code(1);
    assert!(proc::is_alive(db), "its turn has not come");
    sandbox.ok(&["daemon", "start"]);
    sandbox.write("go", "");
    sandbox.await_state("db", "stopped/none");
    assert!(!proc::is_alive(db));
    assert_eq!(sandbox.service("api")["status"], "stopped");
}

#[test]
fn sigterm_and_daemon_stop_leave_services_and_say_so() {
    let sandbox = Sandbox::with_file("daemon_stop", FILE);
    sandbox.ok(&["start", "counter", "ender"]);
    let pids = sandbox.pids();
    sandbox
        .ok(&["daemon", "stop"])
        .says("daemon stopped; 2 services left running");
    assert!(
        sandbox.daemon_json().is_none(),
        "daemon.json is removed with the daemon"
    );
    sandbox.ok(&["daemon", "stop"]).says("no daemon runs");
    sandbox.harness(&["daemon", "status"]).code(3);
    assert!(
        pids.values()
            .all(|pid| proc::is_alive(u32::try_from(*pid).unwrap()))
    );

    assert_eq!(sandbox.pids(), pids, "the next daemon has them");
    let daemon = sandbox.daemon_pid().unwrap();
    proc::signal(daemon, Signal::TERM);
    eventually("the daemon ends", || (!proc::is_alive(daemon)).then_some(()));
    assert!(sandbox.daemon_json().is_none());
    assert_eq!(sandbox.pids(), pids);

    let daemon = sandbox.daemon_pid().unwrap();
    sandbox.ok(&["daemon", "restart"]).says("restarted");
    assert_ne!(sandbox.daemon_pid(), Some(daemon));
    assert_eq!(sandbox.pids(), pids);

    sandbox.ok(&["daemon", "stop", "--services"]);
    assert_eq!(sandbox.processes().len(), 0, "{:?}", sandbox.processes());
    assert!(sandbox.daemon_pid().is_none());
}

#[test]
fn racing_clients_start_one_daemon() {
    let sandbox = Sandbox::with_file("race", FILE);
    let racers: Vec<_> = (0..6).map(|_| sandbox.spawn(&["daemon", "start"])).collect();
    let starter = sandbox.spawn(&["start", "counter"]);
    let mut pids: Vec<u64> = Vec::new();
    for racer in racers {
        let output = racer.wait(PATIENCE).code(0);
        let pid = output
            .stdout
            .split("pid ")
            .nth(1)
            .and_then(|rest| rest.split(',').next());
        pids.push(pid.unwrap_or_else(|| panic!("{output}")).parse().unwrap());
    }
    starter.wait(PATIENCE).code(0);
    pids.dedup();
    assert_eq!(pids.len(), 1, "{pids:?}");
    let daemons: Vec<_> = proc::mentioning(sandbox.root())
        .into_iter()
        .filter(|process| process.command.contains("harness-executor-daemon"))
        .collect();
    assert_eq!(daemons.len(), 1, "{daemons:?}");
}

#[test]
fn a_stale_daemon_json_fools_nobody() {
    let sandbox = Sandbox::with_file("stale", FILE);
    sandbox.ok(&["start", "counter"]);
    let counter = sandbox.pid("counter");
    kill_daemon(&sandbox);
    // It names a living process, and a port where another program listens.
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut info = sandbox.daemon_json().expect("a killed daemon leaves it");
    info["pid"] = std::process::id().into();
    info["port"] = stranger.local_addr().unwrap().port().into();
    std::fs::write(sandbox.home().join("daemon.json"), info.to_string()).unwrap();
    sandbox.harness(&["daemon", "status"]).code(3);
    assert_eq!(sandbox.pid("counter"), counter);

    // Garbage is not trusted either.
    kill_daemon(&sandbox);
    std::fs::write(sandbox.home().join("daemon.json"), "{").unwrap();
    assert_eq!(sandbox.pid("counter"), counter);
}

#[test]
fn a_taken_port_is_named_with_its_holder() {
    let mut sandbox = Sandbox::with_file("daemon_port", FILE);
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = stranger.local_addr().unwrap().port();
    sandbox.set_env("HARNESS_PORT", port.to_string());
    let start = sandbox.harness(&["start", "counter"]).code(1);
    let start = start.tells(&format!("port {port} is held by"));
    let start = start.tells(&format!("pid {}", std::process::id()));
    start.tells("HARNESS_PORT");
    assert!(sandbox.daemon_json().is_none());
    sandbox.set_env("HARNESS_PORT", "0");
    sandbox.ok(&["start", "counter"]);
    // The automatic start is reported on stderr.
    assert!(proc::is_listening(sandbox.daemon_port().unwrap()));
}

#[test]
fn a_script_that_captures_the_output_gets_it_back() {
    let sandbox = Sandbox::with_file("captured", FILE);
    let harness = env!("CARGO_BIN_EXE_harness");
    // Other descriptors than the first three are inherited as well: a pipe that the script waits for.
    let script = format!(
        "x=$({harness} start counter 7>&1 8<&0 9>&1); echo \"code $? [$x]\"; {harness} daemon status | cat; echo done"
    );
    let output = sandbox
        .command("sh", &["-c", &script])
        .wait(Duration::from_secs(60))
        .code(0);
    let output = output
        .says("code 0 [")
        .says("1/1 up")
        .says("running   pid")
        .says("done");
    let daemon = sandbox.daemon_pid().unwrap_or_else(|| panic!("{output}"));
    for fd in std::fs::read_dir(format!("/proc/{daemon}/fd")).unwrap() {
        let target = std::fs::read_link(fd.unwrap().path()).unwrap_or_default();
        let target = target.display().to_string();
        assert!(
            !target.contains("deleted"),
            "the daemon holds a descriptor of its starter: {target}"
        );
    }
    assert!(sandbox.status().contains_key("counter"));
}

#[test]
fn a_project_is_known_by_the_file_it_came_from() {
    let sandbox = Sandbox::with_file("same_name", FILE);
    sandbox.ok(&["start", "counter"]);
    // The same name from another folder is refused, unless it gets another name.
    sandbox.write("other/services.yaml", FILE);
    let other = sandbox
        .harness(&["-c", "other/services.yaml", "start", "counter"])
        .code(1);
    let other = other.tells("lasting").tells("other/services.yaml").tells("-p");
    assert!(
        other.stderr.matches("services.yaml").count() >= 2,
        "both are named\n{other}"
    );
    sandbox.ok(&["-c", "other/services.yaml", "-p", "second", "start", "counter"]);
    sandbox.ok(&["-p", "second", "status"]).says("counter");
    let status = sandbox.ok(&["daemon", "status"]);
    status
        .says("project   lasting: 1 of")
        .says("project   second: 1 of");
    // Verbs that only read need no file.
    std::fs::remove_file(sandbox.project().join("services.yaml")).unwrap();
    sandbox.ok(&["-p", "lasting", "status"]).says("counter");
    sandbox.ok(&["-p", "lasting", "stop", "--all"]);
    sandbox.ok(&["-p", "second", "stop", "--all"]);
}

#[test]
fn services_of_a_lost_store_are_managed_again() {
    let sandbox = Sandbox::with_file("daemon_lost_store", FILE);
    for how in ["truncated", "garbage", "removed"] {
        sandbox.ok(&["start", "counter", "ender"]);
        let before = sandbox.pids();
        assert_eq!(before.len(), 2, "{before:?}");
        kill_daemon(&sandbox);
        let state = sandbox.home().join("state");
        match how {
            "truncated" => std::fs::File::options()
                .write(true)
                .open(&state)
                .unwrap()
                .set_len(700)
                .unwrap(),
            "garbage" => std::fs::write(&state, "not a database").unwrap(),
            _ => std::fs::remove_file(&state).unwrap(),
        }
        // Nothing is started twice, nothing is forgotten, and stopping leaves nothing behind.
        sandbox.ok(&["start", "counter", "ender"]);
        assert_eq!(sandbox.pids(), before, "{how}");
        sandbox.ok(&["stop", "--all"]);
        for pid in before.values() {
            assert!(!proc::is_alive(u32::try_from(*pid).unwrap()), "{how}");
        }
    }
}

#[test]
fn uptime_does_not_follow_the_clock() {
    let sandbox = Sandbox::with_file(
        "uptime",
        r#"
services:
  ahead: {type: process, binary: sleep, args: [1000]}
  behind: {type: process, binary: sleep, args: [1000]}
  again:
    type: process
    binary: sh
    args: [-c, 'test -e stuck || exec sleep 1000; exit 1']
    hooks: {before_start: [sh, -c, 'while test -e stuck; do sleep 0.02; done']}
"#,
    );
    sandbox.ok(&["start"]);
    let uptime = |name: &str| sandbox.service(name)["uptime_s"].as_u64();
    kill_daemon(&sandbox);
    // As if the clock had been a day ahead, or a year behind, when they were started.
    for (name, shift) in [("ahead", 86_400_i64), ("behind", -31_536_000)] {
        let identity = sandbox
            .home()
            .join("projects/project")
            .join(name)
            .join("1/identity");
        let text = fs::read_to_string(&identity).unwrap();
        let line = text
            .lines()
            .find(|line| line.starts_with("started_at_ns "))
            .unwrap();
        let time: i64 = line.split(' ').nth(1).unwrap().parse().unwrap();
        let shifted = format!("started_at_ns {}", time + shift * 1_000_000_000);
        fs::write(&identity, text.replace(line, &shifted)).unwrap();
    }
    eventually("its processes are older than a second", || {
        uptime("ahead").filter(|up| (1..600).contains(up))
    });
    for name in ["behind", "again"] {
        assert!(
            uptime(name).is_some_and(|up| up < 600),
            "{name}: {:?}",
            uptime(name)
        );
    }
    // A service that is started again has not been up in between.
    sandbox.write("stuck", "");
    let restart = sandbox.spawn(&["restart", "again"]);
    sandbox.await_state("again", "starting/none");
    assert_eq!(uptime("again"), None);
    fs::remove_file(sandbox.project().join("stuck")).unwrap();
    restart.wait(PATIENCE).code(0);
    assert_eq!(sandbox.state("again"), "running/none");
}

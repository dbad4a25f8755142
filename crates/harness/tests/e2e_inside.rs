//! Commands inside a service that send requests to its own daemon: from exec, from hooks, from services themselves.

#![cfg(test)]

mod common;

use std::fs;

use common::{PATIENCE, Sandbox, eventually, proc};

const HARNESS: &str = env!("CARGO_BIN_EXE_harness");

/// `app` runs the commands that are written into a file.
const FILE: &str = r#"
name: inside
services:
  app:
    type: process
    binary: sh
    args: [-c, 'while :; do test -e order && { sh ./order > answer 2>&1; rm order; touch done; }; sleep 0.05; done']
    env: {HARNESS_HOME: "${HARNESS_HOME}"}
  plain: {type: process, binary: sleep, args: [1000]}
"#;

/// No daemon was looked for in another home.
fn no_other_home(sandbox: &Sandbox) {
    let other = sandbox.root().join("user/.local/share/harness");
    assert!(!other.exists(), "{} was made", other.display());
}

/// Waits for another daemon than this one.
fn next_daemon(sandbox: &Sandbox, former: u32) -> u32 {
    eventually("another daemon is ready", || {
        sandbox.daemon_pid().filter(|pid| *pid != former)
    })
}

#[test]
fn a_daemon_restart_from_exec_ends_with_a_daemon_in_the_same_home() {
    let sandbox = Sandbox::with_file("inside_exec", FILE);
    sandbox.ok(&["start"]);
    let pids = sandbox.pids();
    for again in 0..2 {
        let (daemon, port) = (sandbox.daemon_pid().unwrap(), sandbox.daemon_port());
        // It ends with its daemon, or just before.
        let _ = sandbox.harness(&["exec", "plain", "--", HARNESS, "daemon", "restart"]);
        next_daemon(&sandbox, daemon);
        assert_eq!(sandbox.daemon_port(), port, "{again}: where clients know it");
        assert_eq!(sandbox.pids(), pids, "services kept running");
    }
    sandbox
        .ok(&["exec", "plain", "--", HARNESS, "status"])
        .says("plain");
    sandbox.ok(&["exec", "plain", "--", HARNESS, "stop", "app"]);
    assert_eq!(sandbox.state("app"), "stopped/none");
    let all = sandbox.harness(&["exec", "plain", "--", HARNESS, "stop", "--all"]);
    sandbox.await_state("plain", "stopped/none");
    no_other_home(&sandbox);
    drop(all);
}

#[test]
fn a_daemon_stop_from_exec_ends_it_and_services_as_asked() {
    let sandbox = Sandbox::with_file("inside_stop", FILE);
    sandbox.ok(&["start"]);
    let pids = sandbox.pids();
    let daemon = sandbox.daemon_pid().unwrap();
    let _ = sandbox.harness(&["exec", "plain", "--", HARNESS, "daemon", "stop"]);
    eventually("the daemon is gone", || (!proc::is_alive(daemon)).then_some(()));
    sandbox.harness(&["daemon", "status"]).code(3);
    assert_eq!(sandbox.pids(), pids, "services kept running");

    let daemon = sandbox.daemon_pid().unwrap();
    let _ = sandbox.harness(&["exec", "plain", "--", HARNESS, "daemon", "stop", "--services"]);
    eventually("the daemon is gone", || (!proc::is_alive(daemon)).then_some(()));
    assert_eq!(sandbox.processes().len(), 0, "{:?}", sandbox.processes());
    no_other_home(&sandbox);
}

#[test]
fn hooks_and_probes_find_their_daemon() {
    let sandbox = Sandbox::new("inside_hooks");
    sandbox.write(
        "services.yaml",
        &format!(
            r#"
name: inside
services:
  app:
    type: process
    binary: sleep
    args: [1000]
    hooks:
      after_healthy: [sh, -c, '{HARNESS} service list > seen 2>&1; {HARNESS} start -q other >> seen 2>&1']
  other: {{type: process, binary: sleep, args: [1000]}}
"#
        ),
    );
    sandbox.ok(&["start", "app"]);
    sandbox.await_state("other", "running/none");
    let seen = fs::read_to_string(sandbox.project().join("seen")).unwrap();
    assert!(seen.contains("app"), "{seen}");
    no_other_home(&sandbox);
}

#[test]
fn what_a_command_says_of_its_home_counts() {
    let sandbox = Sandbox::with_file("inside_own_home", FILE);
    sandbox.ok(&["start", "plain"]);
    let print = ["exec", "plain", "--", "sh", "-c", "echo $HARNESS_HOME"];
    sandbox.ok(&print).says(sandbox.home().to_str().unwrap());
    sandbox
        .ok(&[
            "exec",
            "-e",
            "HARNESS_HOME=/else",
            "plain",
            "--",
            "sh",
            "-c",
            "echo $HARNESS_HOME",
        ])
        .says("/else\n");
    // Services have only the environment that their file says.
    let environ = fs::read(format!("/proc/{}/environ", sandbox.pid("plain"))).unwrap();
    assert!(!String::from_utf8_lossy(&environ).contains("HARNESS_HOME="));
}

/// Makes `app` run this, and returns the output.
fn ordered(sandbox: &Sandbox, order: &str) -> String {
    let done = sandbox.project().join("done");
    let _ = fs::remove_file(&done);
    sandbox.write("order.new", order);
    fs::rename(
        sandbox.project().join("order.new"),
        sandbox.project().join("order"),
    )
    .unwrap();
    eventually("the service has done it", || done.exists().then_some(()));
    sandbox.read("answer")
}

#[test]
fn a_service_may_replace_the_daemon_and_none_starts_inside_it() {
    let sandbox = Sandbox::with_file("inside_service", FILE);
    sandbox.ok(&["start"]);
    let pids = sandbox.pids();
    let daemon = sandbox.daemon_pid().unwrap();
    let answer = ordered(&sandbox, &format!("{HARNESS} daemon restart"));
    assert!(answer.contains("restarted"), "{answer}");
    assert!(answer.contains("2 services kept running"), "{answer}");
    let next = next_daemon(&sandbox, daemon);
    assert_eq!(sandbox.pids(), pids);
    let mut ancestor = Some(next);
    let app = u32::try_from(pids["app"]).unwrap();
    while let Some(pid) = ancestor.filter(|pid| *pid > 1) {
        assert_ne!(pid, app, "the daemon belongs to a service");
        ancestor = proc::parent(pid);
    }

    // Such a daemon would be killed with the service, in the middle of stopping it.
    proc::kill(next);
    eventually("the daemon is gone", || (!proc::is_alive(next)).then_some(()));
    for order in ["status", "daemon start", "daemon stop --services", "start"] {
        let answer = ordered(&sandbox, &format!("{HARNESS} {order}; echo rc $?"));
        assert!(
            answer.contains("started inside the service inside/app"),
            "{order}: {answer}"
        );
        assert!(answer.contains("rc 1"), "{order}: {answer}");
        assert_eq!(sandbox.daemon_pid(), None, "{order}");
    }
    assert_eq!(
        sandbox.pids(),
        pids,
        "outside a service, a daemon starts as usual"
    );

    // A stop of everything is completed, even if a service that it stops asked for it.
    sandbox.write("order", &format!("{HARNESS} stop --all"));
    sandbox.await_state("app", "stopped/none");
    sandbox.await_state("plain", "stopped/none");
    no_other_home(&sandbox);
    drop(sandbox.spawn(&["status"]).wait(PATIENCE));
}

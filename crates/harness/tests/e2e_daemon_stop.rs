//! `daemon stop --services`: afterwards nothing runs, whether or not a daemon did before.

#![cfg(test)]

mod common;

use std::net::TcpListener;

use common::{PATIENCE, Sandbox, eventually, proc};
use rustix::process::Signal;
use serde_json::{Value, json};

const FILE: &str = r#"
name: ending
services:
  db: {type: process, binary: sleep, args: [1000]}
  api: {type: process, binary: sleep, args: [1000], dependencies: [db]}
  phoenix:
    type: process
    binary: sleep
    args: [1000]
    restart: always
    hooks: {before_start: [sh, -c, 'echo x >> begun']}
"#;

const SLOW: &str = r#"
name: slow
services:
  slow:
    type: process
    binary: sh
    args: [-c, 'trap "touch stopping; while ! test -e go; do sleep 0.02; done; exit 0" TERM; touch up; while :; do sleep 0.02; done']
    health_check: {command: "test -e up"}
    shutdown_timeout: 60
"#;

fn end_daemon(sandbox: &Sandbox, signal: Signal) {
    let daemon = sandbox.daemon_pid().expect("a daemon runs");
    proc::signal(daemon, signal);
    eventually("the daemon is gone", || (!proc::is_alive(daemon)).then_some(()));
}

fn nothing_runs(sandbox: &Sandbox) {
    assert_eq!(sandbox.processes().len(), 0, "{:?}", sandbox.processes());
    assert_eq!(sandbox.daemon_pid(), None);
}

fn stopped(answer: &Value) -> Vec<String> {
    let projects = answer["stopped"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let services = projects.iter().flat_map(|project| {
        let name = project["project"].as_str().unwrap();
        let services = project["services"].as_array().unwrap().iter();
        services.map(move |service| format!("{name}/{}", service.as_str().unwrap()))
    });
    let mut services: Vec<String> = services.collect();
    services.sort();
    services
}

#[test]
fn services_are_stopped_without_a_daemon_too() {
    let mut sandbox = Sandbox::with_file("stop_without_daemon", FILE);
    sandbox.write(
        "other/services.yaml",
        "name: other\nservices:\n  one: {type: process, binary: sleep, args: [1000]}\n",
    );
    for (round, signal) in [Signal::TERM, Signal::KILL].into_iter().enumerate() {
        sandbox.ok(&["start"]);
        sandbox.ok(&["-c", "other/services.yaml", "start"]);
        let phoenix = sandbox.pid("phoenix");
        end_daemon(&sandbox, signal);
        // The next daemon would start it again.
        proc::kill(phoenix);
        eventually("it is dead", || (!proc::is_alive(phoenix)).then_some(()));
        // A daemon that only stops does not need the usual port.
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        sandbox.set_env("HARNESS_PORT", taken.local_addr().unwrap().port().to_string());
        let output = sandbox.ok(&["--json", "daemon", "stop", "--services"]);
        sandbox.set_env("HARNESS_PORT", "0");
        nothing_runs(&sandbox);
        let answer = output.json();
        assert_eq!(
            (&answer["running"], &answer["services_up"]),
            (&json!(false), &json!(0))
        );
        let gone = stopped(&answer);
        for service in ["ending/api", "ending/db", "other/one"] {
            assert!(gone.contains(&service.to_owned()), "{gone:?}");
        }
        assert_eq!(output.stderr.lines().count(), 2, "{output}");
        let output = output.tells("no daemon runs, starting one to stop");
        output.tells("services stopped, and no daemon runs");
        assert_eq!(
            sandbox.read("begun").lines().count(),
            round + 1,
            "nothing was started first"
        );
    }
    // If nothing is left, it reports nothing.
    let answer = sandbox.json(&["daemon", "stop", "--services"]);
    assert_eq!(stopped(&answer), Vec::<String>::new());
    sandbox
        .ok(&["daemon", "stop", "--services"])
        .says("no service was up");
    assert_eq!(sandbox.status()["db"]["status"], "stopped");
}

#[test]
fn with_a_daemon_it_is_counted_what_was_stopped() {
    let sandbox = Sandbox::with_file("stop_counts", FILE);
    sandbox.ok(&["start", "api"]);
    let output = sandbox.ok(&["daemon", "stop", "--services"]);
    output.says("daemon and 2 services stopped");
    nothing_runs(&sandbox);
    sandbox.ok(&["start", "db"]);
    sandbox.ok(&["stop", "db"]);
    sandbox
        .ok(&["daemon", "stop", "--services"])
        .says("daemon stopped; no service was up");
    sandbox.ok(&["start", "db"]);
    let answer = sandbox.json(&["daemon", "stop", "--services"]);
    assert_eq!(stopped(&answer), ["ending/db"]);
}

#[test]
fn where_no_home_is_none_is_made() {
    let sandbox = Sandbox::with_file("stop_no_home", FILE);
    let answer = sandbox.json(&["daemon", "stop", "--services"]);
    assert_eq!(answer, json!({"running": false, "services_up": 0, "stopped": []}));
    assert!(!sandbox.home().exists());
    // A folder with other files is not a home either.
    std::fs::create_dir(sandbox.home()).unwrap();
    std::fs::write(sandbox.home().join("letter"), "").unwrap();
    sandbox
        .ok(&["daemon", "stop", "--services"])
        .says("no daemon runs");
    assert_eq!(std::fs::read_dir(sandbox.home()).unwrap().count(), 1);
}

#[test]
fn a_daemon_that_is_held_meanwhile_is_named() {
    let sandbox = Sandbox::with_file("stop_held", SLOW);
    sandbox.ok(&["start"]);
    let daemon = sandbox.daemon_pid().unwrap();
    // Suspended before the request.
    proc::signal(daemon, Signal::STOP);
    let held = sandbox.harness(&["daemon", "stop", "--services"]).code(1);
    held.tells(&format!("the daemon (pid {daemon}) is stopped"));
    proc::signal(daemon, Signal::CONT);
    // And suspended while it stops services.
    let stop = sandbox.spawn(&["daemon", "stop", "--services"]);
    eventually("it is being stopped", || {
        sandbox.project().join("stopping").exists().then_some(())
    });
    proc::signal(daemon, Signal::STOP);
    let held = stop.wait(PATIENCE).code(1);
    let held = held.tells(&format!("the daemon (pid {daemon}) is stopped"));
    held.tells(&format!("kill -CONT {daemon}"));
    proc::signal(daemon, Signal::CONT);
    // An accepted request is completed.
    sandbox.write("go", "");
    eventually("the daemon is gone", || (!proc::is_alive(daemon)).then_some(()));
    nothing_runs(&sandbox);
}

#[test]
fn a_daemon_that_dies_meanwhile_is_replaced_by_one_that_carries_on() {
    let sandbox = Sandbox::with_file("stop_killed", SLOW);
    sandbox.ok(&["start"]);
    let stop = sandbox.spawn(&["daemon", "stop", "--services"]);
    eventually("it is being stopped", || {
        sandbox.project().join("stopping").exists().then_some(())
    });
    end_daemon(&sandbox, Signal::KILL);
    eventually("another one has taken over", || sandbox.daemon_pid());
    sandbox.write("go", "");
    let output = stop.wait(PATIENCE).code(0);
    output.tells("ended before it reported that every service is stopped");
    nothing_runs(&sandbox);
}

#[test]
fn several_who_ask_at_once_all_get_what_they_asked_for() {
    let sandbox = Sandbox::with_file("stop_together", FILE);
    for round in 0..3 {
        sandbox.ok(&["start"]);
        if round == 1 {
            end_daemon(&sandbox, Signal::KILL);
        }
        let askers: Vec<_> = (0..3)
            .map(|_| sandbox.spawn(&["daemon", "stop", "--services"]))
            .collect();
        for asker in askers {
            asker.wait(PATIENCE).code(0);
        }
        nothing_runs(&sandbox);
    }
}

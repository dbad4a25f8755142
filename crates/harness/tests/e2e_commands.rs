//! Commands beside services (probes, hooks, execs) end with the client or daemon that wanted them, whatever dies.

#![cfg(test)]

mod common;

use std::fs;
use std::path::Path;

use common::{Sandbox, eventually, proc};

/// Each command appends its pid to a file and then lingers.
const LINGERING: &str = r#"
version: "1.0"
name: lingering
services:
  probed:
    type: process
    binary: sleep
    args: [1000]
    health_check:
      command: [sh, -c, 'echo $$$$ >> probes; exec sleep 777']
      timeout: 300
  hooked:
    type: process
    binary: sleep
    args: [1000]
    hooks:
      before_start: [sh, -c, 'echo begin $$$$ >> hooks; test -e go || sleep 777; echo end >> hooks']
  plain:
    type: process
    binary: sleep
    args: [1000]
"#;

fn pids(file: &Path) -> Vec<u32> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect()
}

#[test]
fn commands_of_a_killed_daemon_are_ended_by_the_next_one() {
    let sandbox = Sandbox::with_file("lingering_commands", LINGERING);
    let at = |file: &str| sandbox.project().join(file);
    sandbox.ok(&["start", "-d"]);
    sandbox.ok(&["wait", "plain"]);
    let exec = sandbox.spawn(&[
        "exec",
        "plain",
        "--",
        "sh",
        "-c",
        "echo $$ >> execs; exec sleep 777",
    ]);
    eventually("every command runs", || {
        let begun = |file: &&str| pids(&at(file)).len() == 1;
        ["probes", "hooks", "execs"].iter().all(begun).then_some(())
    });
    let before: Vec<u32> = ["probes", "hooks", "execs"]
        .iter()
        .flat_map(|file| pids(&at(file)))
        .collect();
    proc::kill(sandbox.daemon_pid().unwrap());
    drop(exec);
    sandbox.write("go", "");
    // The next daemon ends them before it continues with the request that they belonged to.
    sandbox.ok(&["wait", "hooked"]);
    for pid in before {
        assert!(!proc::is_alive(pid), "{pid} outlived its daemon");
    }
    let hooks = fs::read_to_string(at("hooks")).unwrap();
    let words: Vec<&str> = hooks.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(words, ["begin", "begin", "end"]);
}

#[test]
fn a_probe_in_flight_ends_with_its_service_and_an_exec_with_its_daemon() {
    let sandbox = Sandbox::with_file("commands_end", LINGERING);
    let at = |file: &str| sandbox.project().join(file);
    sandbox.ok(&["start", "-d", "probed", "plain"]);
    sandbox.ok(&["wait", "plain"]);
    eventually("the probe runs", || {
        (pids(&at("probes")).len() == 1).then_some(())
    });
    sandbox.ok(&["stop", "probed"]);
    let probe = pids(&at("probes"))[0];
    eventually("the probe is gone", || (!proc::is_alive(probe)).then_some(()));

    let exec = sandbox.spawn(&[
        "exec",
        "plain",
        "--",
        "sh",
        "-c",
        "echo $$ >> execs; exec sleep 777",
    ]);
    eventually("the exec runs", || (pids(&at("execs")).len() == 1).then_some(()));
    sandbox.ok(&["daemon", "stop"]);
    assert!(!proc::is_alive(pids(&at("execs"))[0]), "it outlived its daemon");
    drop(exec);
    sandbox.ok(&["stop", "--all"]);
}

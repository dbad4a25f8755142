//! Crashes with containers: the daemon at any moment, and containers that others kill.

#![cfg(test)]
#![cfg(feature = "docker-tests")]

mod common;

use common::cable::Cable;
use common::docker::{DockerSandbox, request};
use common::eventually;

/// The numbers after `line ` in the output of `logs`, in their order.
fn numbers(logs: &str) -> Vec<u32> {
    logs.lines()
        .filter_map(|line| line.rsplit_once("line ")?.1.trim().parse().ok())
        .collect()
}

#[test]
fn a_killed_daemon_costs_no_container_and_no_line() {
    let sandbox = DockerSandbox::new(
        "adopted",
        "services:\n  chat: {type: docker, image: harness-test/program, command: [chat, 4000, 1], oneshot: true}\n",
    );
    sandbox.ok(&["start", "-d"]);
    eventually("it talks", || {
        (numbers(&sandbox.ok(&["logs", "chat"]).stdout).len() > 50).then_some(())
    });
    let id = sandbox.id("chat").unwrap();
    for round in 0..4 {
        sandbox.kill_daemon();
        sandbox.ok(&["daemon", "start"]);
        match sandbox.id("chat") {
            Some(now) => assert_eq!(now, id, "round {round}"),
            None => break,
        }
    }
    sandbox.await_state("chat", "completed/none");
    let told = numbers(&sandbox.ok(&["logs", "chat"]).stdout);
    let mut sorted = told.clone();
    sorted.sort_unstable();
    let wanted: Vec<u32> = (1..=4000).collect();
    assert!(
        sorted == wanted,
        "{} lines, {:?}…",
        told.len(),
        first_difference(&sorted, &wanted)
    );
    assert!(sandbox.containers().is_empty() && sandbox.networks().is_empty());
}

fn first_difference(found: &[u32], wanted: &[u32]) -> Option<(usize, Option<u32>, u32)> {
    let differs = |(at, wanted): (usize, &u32)| {
        let found = found.get(at).copied();
        (found != Some(*wanted)).then_some((at, found, *wanted))
    };
    wanted.iter().enumerate().find_map(differs)
}

#[test]
fn the_end_of_a_container_without_a_daemon_is_told_by_the_next() {
    let sandbox = DockerSandbox::new(
        "ended",
        "services:\n  crash: {type: docker, image: harness-test/program, command: [crash, 6, 1500]}\n  stays: {type: docker, image: harness-test/program}\n  gone: {type: docker, image: harness-test/program}\n",
    );
    sandbox.ok(&["start"]);
    let (crash, stays, gone) = (
        sandbox.id("crash").unwrap(),
        sandbox.id("stays").unwrap(),
        sandbox.id("gone").unwrap(),
    );
    sandbox.kill_daemon();
    request("DELETE", &format!("/containers/{gone}?force=1"), None);
    eventually("it has crashed", || {
        let state = request("GET", &format!("/containers/{crash}/json"), None).1;
        (state["State"]["Status"] == "exited").then_some(())
    });
    sandbox.ok(&["daemon", "start"]);
    let crashed = sandbox.service("crash");
    assert_eq!(
        (&crashed["status"], &crashed["exit_code"]),
        (&"failed".into(), &6.into()),
        "{crashed}"
    );
    let gone = sandbox.service("gone");
    assert!(
        gone["error"]
            .as_str()
            .unwrap()
            .contains("removed while no daemon ran"),
        "{gone}"
    );
    assert_eq!(sandbox.id("stays"), Some(stays));
    assert_eq!(sandbox.state("stays"), "running/none");
    sandbox.ok(&["logs", "crash"]).says("crash | ");
    assert_eq!(sandbox.containers().len(), 1);
    sandbox.ok(&["stop", "--all"]);
    assert!(sandbox.networks().is_empty());
}

#[test]
fn what_happens_behind_our_back_is_noticed() {
    let sandbox = DockerSandbox::new(
        "behind",
        "services:\n  removed: {type: docker, image: harness-test/program}\n  stopped: {type: docker, image: harness-test/program, command: [sleep]}\n  again: {type: docker, image: harness-test/program, restart: always}\n",
    );
    sandbox.ok(&["start"]);
    let id = |service: &str| sandbox.id(service).unwrap();
    let again = id("again");
    request("DELETE", &format!("/containers/{}?force=1", id("removed")), None);
    request("POST", &format!("/containers/{}/stop", id("stopped")), None);
    request("POST", &format!("/containers/{again}/kill"), None);
    sandbox.await_state("removed", "failed/none");
    let removed = sandbox.service("removed");
    let why = removed["error"].as_str().unwrap();
    // The engine may report the kill before it has removed the container.
    assert!(
        why.contains("removed by somebody else") || why.contains("SIGKILL"),
        "{removed}"
    );
    sandbox.await_state("stopped", "completed/none");
    eventually("it is started again", || {
        let now = sandbox.id("again")?;
        (now != again && sandbox.state("again") == "running/none").then_some(())
    });
    assert_eq!(sandbox.containers().len(), 1);
}

#[test]
fn what_a_killed_daemon_left_half_made_is_not_doubled() {
    let sandbox = DockerSandbox::new(
        "half",
        "services:\n  a: {type: docker, image: harness-test/program}\n  b: {type: docker, image: harness-test/program}\n  c: {type: docker, image: harness-test/program}\n",
    );
    for _ in 0..5 {
        sandbox.ok(&["start", "-d"]);
        sandbox.kill_daemon();
        sandbox.ok(&["daemon", "start"]);
        for service in ["a", "b", "c"] {
            let of = |container: &&serde_json::Value| container["Labels"]["harness.service"] == service;
            assert!(sandbox.containers().iter().filter(of).count() <= 1);
        }
        sandbox.ok(&["start"]);
        assert_eq!(sandbox.containers().len(), 3);
        sandbox.ok(&["stop", "--all"]);
        assert!(sandbox.containers().is_empty() && sandbox.networks().is_empty());
    }
}

#[test]
fn an_engine_that_goes_away_is_found_again() {
    let mut sandbox = DockerSandbox::new(
        "cable",
        "services:\n  chat: {type: docker, image: harness-test/program, command: [chat, 1500, 10], oneshot: true}\n  stays: {type: docker, image: harness-test/program}\n  dies: {type: docker, image: harness-test/program}\n  stops: {type: docker, image: harness-test/program}\n",
    );
    let path = sandbox.root().join("cable.sock");
    sandbox.use_engine_at(&path);
    let cable = Cable::plug(path.clone());
    sandbox.ok(&["start", "-d"]);
    sandbox.ok(&["wait", "stays", "dies", "stops"]);
    eventually("it chats", || {
        sandbox
            .ok(&["logs", "chat"])
            .stdout
            .contains("line 2")
            .then_some(())
    });
    let (stays, dies) = (sandbox.id("stays").unwrap(), sandbox.id("dies").unwrap());
    cable.cut();
    request("POST", &format!("/containers/{dies}/kill"), None);
    let stop = sandbox.spawn(&["stop", "stops"]);
    sandbox
        .harness(&["exec", "stays", "--", "true"])
        .tells("no Docker engine");
    let cable = Cable::plug(path);
    sandbox.await_state("dies", "failed/none");
    let died = sandbox.service("dies");
    assert!(
        died["error"]
            .as_str()
            .unwrap()
            .contains("the Docker engine went away"),
        "{died}"
    );
    stop.wait(common::PATIENCE).code(0);
    sandbox.await_state("chat", "completed/none");
    let told = numbers(&sandbox.ok(&["logs", "chat"]).stdout);
    assert_eq!(told.len(), 1500);
    assert_eq!(
        (sandbox.id("stays"), sandbox.state("stays")),
        (Some(stays), "running/none".to_owned())
    );
    sandbox.ok(&["stop", "--all"]);
    sandbox.ok(&["daemon", "stop"]);
    cable.cut();
}

#[test]
fn a_launch_whose_answer_is_lost_leaves_nothing_behind() {
    let mut sandbox = DockerSandbox::new(
        "answer",
        "services:\n  a: {type: docker, image: harness-test/program}\n  b: {type: docker, image: harness-test/program}\n",
    );
    let path = sandbox.root().join("cable.sock");
    sandbox.use_engine_at(&path);
    let mut cable = Cable::plug(path.clone());
    for round in 0..8 {
        sandbox.ok(&["start", "-d"]);
        // A different moment of the launch each time; the outcome below is always the same.
        std::thread::sleep(std::time::Duration::from_millis(round * 70));
        cable.cut();
        cable = Cable::plug(path.clone());
        for service in ["a", "b"] {
            let mut last = String::new();
            let is_as_told = || {
                let (state, id) = (sandbox.state(service), sandbox.id(service));
                let running = state == "running/none" && id.is_some();
                let gone = state == "failed/none" && id.is_none();
                last = format!("{state}, {id:?}, {}", sandbox.service(service)["error"]);
                running || gone
            };
            let seen = common::seen_within(common::PATIENCE, is_as_told);
            assert!(seen, "round {round}: {service} is {last}");
        }
        sandbox.ok(&["stop", "--all"]);
        eventually("nothing is left", || {
            (sandbox.containers().is_empty() && sandbox.networks().is_empty()).then_some(())
        });
    }
    sandbox.ok(&["daemon", "stop"]);
    cable.cut();
}

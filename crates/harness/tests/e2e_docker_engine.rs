//! A Docker engine crashes, ends and comes back in the middle of a run, with its containers or without them. Each
//! test has its own engine.

#![cfg(test)]
#![cfg(feature = "docker-tests")]

mod common;

use common::docker::{DockerSandbox, transfer};
use common::engine::PrivateEngine;
use common::{eventually, proc};

/// The numbers after `line ` in the output of `logs`, in their order.
fn numbers(logs: &str) -> Vec<u32> {
    logs.lines()
        .filter_map(|line| line.rsplit_once("line ")?.1.trim().parse().ok())
        .collect()
}

/// The error that `status` shows for a service.
fn error(sandbox: &DockerSandbox, service: &str) -> String {
    sandbox.service(service)["error"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// Nothing runs twice, and everything is as `status` says.
fn is_as_told(sandbox: &DockerSandbox) {
    for (name, service) in sandbox.status() {
        let of = |container: &&serde_json::Value| container["Labels"]["harness.service"] == *name;
        let containers = sandbox.containers();
        let found: Vec<_> = containers.iter().filter(of).collect();
        let runs = service["status"] == "running" || service["status"] == "starting";
        assert_eq!(found.len(), usize::from(runs), "{service} {found:?}");
        assert!(
            found.iter().all(|container| container["State"] == "running"),
            "{found:?}"
        );
    }
}

/// The lines that the engine itself has lost from the output of the container that chats. An engine that is asked to
/// end may drop a line that it has read from the container and not written yet.
fn lost_by_engine(sandbox: &DockerSandbox) -> Vec<u32> {
    let logs = format!(
        "/containers/{}/logs?stdout=1&stderr=1",
        sandbox.id("chat").unwrap()
    );
    let (_, said) = transfer(&sandbox.engine(), "GET", &logs, &[]);
    let kept = numbers(&String::from_utf8_lossy(&said));
    let last = *kept.iter().max().unwrap();
    let lost: Vec<u32> = (1..=last).filter(|line| !kept.contains(line)).collect();
    assert!(lost.len() <= 2, "of {last} lines the engine lost {lost:?}");
    lost
}

/// The lines of this many rounds were kept, each once: the first ones of each round, or all of them. `lost` are those
/// that the engine lost.
fn is_whole(sandbox: &DockerSandbox, rounds: usize, all: Option<u32>, lost: &[u32]) {
    let told = numbers(&sandbox.ok(&["logs", "chat", "-n", "100000"]).stdout);
    let count = |line: u32| told.iter().filter(|told| **told == line).count();
    let last = *told.iter().max().unwrap();
    let odd: Vec<(u32, usize)> = (1..=all.unwrap_or(last))
        .map(|line| (line, count(line)))
        .filter(|(line, found)| match all {
            Some(_) => *found + lost.iter().filter(|lost| *lost == line).count() != rounds,
            None => !(1..=rounds).contains(found),
        })
        .collect();
    assert!(
        odd.is_empty(),
        "{} lines in {rounds} rounds, wrong: {odd:?}",
        told.len()
    );
}

/// Waits until this round's container talks.
fn chats(sandbox: &DockerSandbox) {
    // A one-shot that was launched is `starting` until it has completed.
    eventually("it is launched", || {
        sandbox.service("chat")["pid"].as_u64().map(drop)
    });
    eventually("it chats", || {
        let id = sandbox.id("chat")?;
        let logs = format!("/containers/{id}/logs?stdout=1");
        let (status, said) = transfer(&sandbox.engine(), "GET", &logs, &[]);
        (status == 200 && said.len() > 100).then_some(())
    });
}

const SERVICES: &str = r#"services:
  stays: {type: docker, image: harness-test/program}
  again: {type: docker, image: harness-test/program, restart: on-failure}
  chat: {type: docker, image: harness-test/program, command: [chat, "1500", "10"], oneshot: true}
  ends: {type: docker, image: harness-test/program, command: [crash, "7", "4000"]}
"#;

#[test]
fn containers_that_end_with_their_engine_are_explained_and_restarted_by_policy() {
    let mut engine = PrivateEngine::start(&[]);
    let sandbox = DockerSandbox::on(&engine, "restarted", SERVICES);
    for (rounds, killed) in [(1, true), (2, false)] {
        sandbox.ok(&["start", "-d"]);
        sandbox.ok(&["wait", "stays", "again"]);
        chats(&sandbox);
        let again = sandbox.id("again").unwrap();
        if killed {
            engine.kill();
        } else {
            engine.terminate();
        }
        sandbox
            .harness(&["exec", "again", "--", "true"])
            .tells("Docker engine");
        engine.up();
        for gone in ["stays", "chat"] {
            sandbox.await_state(gone, "failed/none");
            let why = error(&sandbox, gone);
            assert!(
                why.contains("the Docker engine went away"),
                "{gone}, killed: {killed}: {why}"
            );
            sandbox.ok(&["why", gone]).says("the Docker engine went away");
        }
        eventually("it is started again", || {
            let now = sandbox.id("again")?;
            (now != again && sandbox.state("again") == "running/none").then_some(())
        });
        sandbox.await_state("ends", "failed/none");
        is_as_told(&sandbox);
        is_whole(&sandbox, rounds, None, &[]);
        // Everything can be started again.
        sandbox.ok(&["start", "stays"]);
        sandbox.ok(&["stop", "--all"]);
        assert!(sandbox.containers().is_empty() && sandbox.networks().is_empty());
    }
}

#[test]
fn containers_that_outlive_their_engine_go_on() {
    let mut engine = PrivateEngine::start(&["--live-restore"]);
    let sandbox = DockerSandbox::on(&engine, "outlived", SERVICES);
    let mut lost = Vec::new();
    for (rounds, killed) in [(1, true), (2, false)] {
        sandbox.ok(&["start", "-d"]);
        sandbox.ok(&["wait", "stays", "again"]);
        sandbox.await_state("ends", "running/none");
        chats(&sandbox);
        let pid = |service: &str| sandbox.inspect(service)["State"]["Pid"].as_u64().unwrap();
        let (stays, again, ends) = (
            sandbox.id("stays"),
            sandbox.id("again"),
            u32::try_from(pid("ends")).unwrap(),
        );
        if killed {
            engine.kill();
        } else {
            engine.terminate();
        }
        eventually("it has ended meanwhile", || (!proc::is_alive(ends)).then_some(()));
        engine.up();
        lost.extend(lost_by_engine(&sandbox));
        sandbox.await_state("ends", "failed/none");
        let ended = sandbox.service("ends");
        assert_eq!(ended["exit_code"], 7, "killed: {killed}: {ended}");
        assert_eq!((sandbox.id("stays"), sandbox.id("again")), (stays, again));
        sandbox.await_state("stays", "running/none");
        assert_eq!(sandbox.service("again")["restarts"], 0);
        sandbox.await_state("chat", "completed/none");
        is_whole(&sandbox, rounds, Some(1500), &lost);
        is_as_told(&sandbox);
        sandbox.ok(&["exec", "stays", "--", "true"]);
        sandbox.ok(&["stop", "--all"]);
        assert!(sandbox.containers().is_empty() && sandbox.networks().is_empty());
    }
}

#[test]
fn a_daemon_that_comes_back_before_the_engine_waits_for_it() {
    for flags in [&[][..], &["--live-restore"]] {
        let lives = !flags.is_empty();
        let mut engine = PrivateEngine::start(flags);
        let sandbox = DockerSandbox::on(&engine, "both", SERVICES);
        sandbox.ok(&["start", "-d"]);
        sandbox.ok(&["wait", "stays", "again"]);
        let before = (sandbox.id("stays"), sandbox.id("again"));
        engine.kill();
        sandbox.kill_daemon();
        sandbox.ok(&["daemon", "start"]);
        assert_eq!(sandbox.status().len(), 4);
        engine.up();
        eventually("it runs", || {
            (sandbox.state("again") == "running/none").then_some(())
        });
        if lives {
            sandbox.await_state("stays", "running/none");
            assert_eq!((sandbox.id("stays"), sandbox.id("again")), before);
        } else {
            sandbox.await_state("stays", "failed/none");
            let why = error(&sandbox, "stays");
            assert!(why.contains("the Docker engine went away"), "{why}");
        }
        eventually("chat and ends have ended", || {
            let ended = |service: &str| matches!(sandbox.service(service)["pid"], serde_json::Value::Null);
            (ended("chat") && ended("ends")).then_some(())
        });
        eventually("it is as told", || {
            let told = sandbox
                .status()
                .values()
                .filter(|service| service["status"] == "running")
                .count();
            (sandbox.containers().len() == told).then_some(())
        });
        is_as_told(&sandbox);
        sandbox.ok(&["stop", "--all"]);
        assert!(sandbox.containers().is_empty() && sandbox.networks().is_empty());
    }
}

#[test]
fn an_engine_whose_socket_stays_is_noticed_to_have_ended() {
    let mut engine = PrivateEngine::start_activated(&[]);
    let services = "services:\n  stays: {type: docker, image: harness-test/program}\n  again: {type: docker, image: harness-test/program, restart: on-failure}\n";
    let sandbox = DockerSandbox::on(&engine, "activated", services);
    for _ in 0..2 {
        sandbox.ok(&["start"]);
        // A connection must be open for this long before its end counts as the end of the engine.
        std::thread::sleep(std::time::Duration::from_millis(1_500));
        let again = sandbox.id("again").unwrap();
        engine.terminate();
        engine.up();
        sandbox.await_state("stays", "failed/none");
        let why = error(&sandbox, "stays");
        assert!(why.contains("the Docker engine went away"), "{why}");
        eventually("it is started again", || {
            let now = sandbox.id("again")?;
            (now != again && sandbox.state("again") == "running/none").then_some(())
        });
        is_as_told(&sandbox);
        sandbox.ok(&["stop", "--all"]);
    }
}

#[test]
fn an_order_to_what_the_engine_holds_ends_and_is_carried_out_when_the_engine_is_back() {
    let mut engine = PrivateEngine::start(&["--live-restore"]);
    let services = r#"services:
  here: {type: process, binary: sleep, args: ["1000"]}
  there: {type: docker, image: harness-test/program}
"#;
    let sandbox = DockerSandbox::on(&engine, "unreached", services);
    sandbox.ok(&["start"]);
    let container = sandbox.inspect("there")["State"]["Pid"].as_u64().unwrap();
    engine.kill();
    sandbox.await_state("there", "unknown/none");
    // Each waits half a minute, so all at once.
    let (stop, wait) = std::thread::scope(|scope| {
        let stop = scope.spawn(|| sandbox.harness(&["stop", "--all"]));
        let wait = scope.spawn(|| sandbox.harness(&["wait", "there", "--for", "stopped"]));
        (stop.join().unwrap(), wait.join().unwrap())
    });
    stop.code(19)
        .tells("there: not reached for 30s")
        .tells("Docker engine");
    wait.code(19).tells("there was not reached for 30s");
    // The other one was not kept from its end, and nothing is claimed of this one.
    assert_eq!(sandbox.state("here"), "stopped/none");
    assert_eq!(sandbox.state("there"), "stopping/none");
    assert!(proc::is_alive(u32::try_from(container).unwrap()));
    engine.up();
    sandbox.await_state("there", "stopped/none");
    assert!(sandbox.containers().is_empty());
}

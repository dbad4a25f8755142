//! Containers that somebody pauses in the engine do not count as healthy, say why, and can be stopped.

#![cfg(test)]
#![cfg(feature = "docker-tests")]

mod common;

use common::docker::DockerSandbox;
use common::eventually;

impl DockerSandbox {
    fn ask_of(&self, service: &str, what: &str) {
        let id = self.id(service).unwrap();
        let (status, answer) = self.request("POST", &format!("/containers/{id}/{what}"), None);
        assert_eq!(status, 204, "{answer}");
    }

    /// Waits until a probe of a service has just ended. If an engine pauses a container while a command is starting
    /// in it, it stops answering for the container (its runc is frozen too, and waits for itself).
    fn await_quiet(&self, service: &str) {
        let probed = || {
            let id = self.id(service)?;
            let path = format!("/containers/{id}/archive?path=/tmp/probed");
            let (status, _) = self.request("HEAD", &path, None);
            let none_runs = self.inspect(service)["ExecIDs"].is_null();
            (status == 200 && none_runs).then_some(())
        };
        eventually("it was probed", probed);
        let id = self.id(service).unwrap();
        let body = serde_json::json!({"Cmd": ["rm", "/tmp/probed"]});
        let (status, exec) = self.request("POST", &format!("/containers/{id}/exec"), Some(&body));
        assert_eq!(status, 201, "{exec}");
        let start = format!("/exec/{}/start", exec["Id"].as_str().unwrap());
        self.request("POST", &start, Some(&serde_json::json!({"Detach": false})));
        eventually("it was probed again", probed);
    }

    /// Waits until a service is reported as paused.
    fn await_paused(&self, service: &str) {
        self.await_state(service, "running/unknown");
        let error = self.service(service)["error"].clone();
        let why = error.as_str().unwrap();
        let remedy = self.inspect(service)["Name"].as_str().unwrap().replace('/', "");
        assert!(
            why.starts_with("paused in the engine") && why.contains(&format!("`docker unpause {remedy}`")),
            "{why}"
        );
    }
}

const SERVICES: &str = r#"services:
  web:
    type: docker
    image: harness-test/http
    restart: always
    health_check: {http: "http://localhost:8080/health", interval: 300ms, timeout: 1, retries: 2}
  inside:
    type: docker
    image: harness-test/program
    restart: on-failure
    health_check: {command: [touch, /tmp/probed], interval: 8, retries: 2}
  plain: {type: docker, image: harness-test/program}
  user: {type: process, binary: sleep, args: ["1000"], dependencies: [web]}
"#;

#[test]
fn a_pause_is_told_and_goes_on_when_it_is_over() {
    let sandbox = DockerSandbox::new("pause", SERVICES);
    sandbox.ok(&["start"]);
    let ids = ["web", "inside", "plain"].map(|service| sandbox.id(service).unwrap());
    sandbox.await_quiet("inside");
    for service in ["inside", "web", "plain"] {
        sandbox.ask_of(service, "pause");
    }
    for service in ["web", "inside", "plain"] {
        sandbox.await_paused(service);
        sandbox.ok(&["why", service]).says("paused in the engine");
    }
    let user = sandbox.service("user");
    assert_eq!(user["error"], "depends on web, which is paused", "{user}");
    sandbox.ok(&["status"]).says("paused in the engine");
    // Several rounds of probes fail in this time: they give the reason, and nothing is restarted because of them.
    for service in ["web", "inside"] {
        eventually("its probe gives the same reason", || {
            let shown = sandbox.ok(&["service", "show", service]).stdout;
            let probe = shown.lines().find(|line| line.contains("last probe"))?;
            probe.contains("paused in the engine").then_some(())
        });
    }
    sandbox
        .harness(&["exec", "plain", "--", "true"])
        .tells("is paused");
    let start = sandbox.harness(&["start", "--timeout", "2"]);
    assert!(start.stderr.contains("paused in the engine"), "{start}");
    for service in ["web", "inside", "plain"] {
        sandbox.ask_of(service, "unpause");
    }
    sandbox.await_state("web", "running/healthy");
    sandbox.await_state("inside", "running/healthy");
    sandbox.await_state("plain", "running/none");
    eventually("its dependent is healthy again", || {
        sandbox.service("user")["error"].is_null().then_some(())
    });
    assert_eq!(
        ids,
        ["web", "inside", "plain"].map(|service| sandbox.id(service).unwrap())
    );
    sandbox.ok(&["start"]).tells("unchanged");
    let events = sandbox.ok(&["events", "plain"]);
    events.says("paused in the engine").says("it was resumed");
}

#[test]
fn a_paused_container_is_stopped_in_order() {
    let sandbox = DockerSandbox::new(
        "pause_stop",
        "services:\n  slow: {type: docker, image: harness-test/program, command: [stop-slowly, 1], shutdown_timeout: 60}\n  stubborn: {type: docker, image: harness-test/program, command: [stubborn], shutdown_timeout: 1}\n",
    );
    sandbox.ok(&["start"]);
    for service in ["slow", "stubborn"] {
        sandbox.ask_of(service, "pause");
        sandbox.await_paused(service);
    }
    sandbox.ok(&["stop", "--all"]);
    let slow = sandbox.service("slow");
    assert_eq!(
        (&slow["status"], &slow["signal"]),
        (&"stopped".into(), &serde_json::Value::Null),
        "{slow}"
    );
    assert_eq!(sandbox.service("stubborn")["signal"], 9);
    assert!(sandbox.containers().is_empty() && sandbox.networks().is_empty());
}

#[test]
fn the_next_daemon_sees_pauses_too() {
    let sandbox = DockerSandbox::new("pause_adopt", SERVICES);
    sandbox.ok(&["start"]);
    sandbox.ask_of("web", "pause");
    sandbox.await_paused("web");
    sandbox.kill_daemon();
    sandbox.ask_of("plain", "pause");
    sandbox.ask_of("web", "unpause");
    sandbox.ok(&["daemon", "start"]);
    sandbox.await_paused("plain");
    sandbox.await_state("web", "running/healthy");
    sandbox.ask_of("plain", "unpause");
    sandbox.await_state("plain", "running/none");
    sandbox.ask_of("plain", "pause");
    sandbox.await_paused("plain");
    // At once, before the daemon could check.
    sandbox.kill_daemon();
    sandbox.ok(&["stop", "--all"]);
    assert!(sandbox.containers().is_empty() && sandbox.networks().is_empty());
    assert!(
        !["web", "plain"]
            .iter()
            .any(|service| sandbox.id(service).is_some())
    );
}

#[test]
fn one_that_is_paused_while_it_starts_fails_for_that() {
    let sandbox = DockerSandbox::new(
        "pause_start",
        r#"services:
  late: {type: docker, image: harness-test/http, startup_timeout: 8, health_check: {http: "http://localhost:8080/no-such"}}
"#,
    );
    let start = sandbox.spawn(&["start"]);
    eventually("it runs", || {
        (sandbox.id("late").is_some() && sandbox.inspect("late")["State"]["Running"] == true).then_some(())
    });
    sandbox.ask_of("late", "pause");
    let start = start.wait(common::PATIENCE).code(18);
    start.tells("paused in the engine");
    // It is left as it is, and a stop still ends it.
    assert_eq!(sandbox.inspect("late")["State"]["Paused"], true);
    sandbox.ok(&["stop", "--all"]);
    eventually("it is gone", || sandbox.containers().is_empty().then_some(()));
}

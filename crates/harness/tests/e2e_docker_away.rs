//! While the engine is away, the state of its containers is unknown, and every output says so.

#![cfg(test)]
#![cfg(feature = "docker-tests")]

mod common;

use common::cable::Cable;
use common::docker::DockerSandbox;
use common::eventually;

const SERVICES: &str = r#"services:
  probed:
    type: docker
    image: harness-test/program
    health_check: {command: ["true"], interval: 200ms, retries: 1}
    restart: always
  plain: {type: docker, image: harness-test/program}
  process: {type: process, binary: sleep, args: ["1000"], dependencies: [probed]}
"#;

#[test]
fn nothing_is_known_while_the_engine_is_away() {
    let mut sandbox = DockerSandbox::new("away", SERVICES);
    let path = sandbox.root().join("cable.sock");
    sandbox.use_engine_at(&path);
    let cable = Cable::plug(path.clone());
    sandbox.ok(&["start"]);
    let (id, pids) = (sandbox.id("probed"), sandbox.pids());
    cable.cut();
    sandbox.await_state("probed", "unknown/unknown");
    sandbox.await_state("plain", "unknown/none");
    for service in ["probed", "plain"] {
        let error = sandbox.service(service)["error"].to_string();
        assert!(error.contains("no Docker engine"), "{error}");
        sandbox.ok(&["why", service]).says("no Docker engine");
    }
    // A dependent says so, and keeps running.
    eventually("its dependent says so", || {
        let process = sandbox.service("process");
        let says = process["error"].to_string().contains("depends on probed, which");
        (says && process["status"] == "running").then_some(())
    });
    // A daemon that starts now does not know more.
    sandbox.kill_daemon();
    sandbox.ok(&["daemon", "start"]);
    sandbox.await_state("probed", "unknown/unknown");
    sandbox.await_state("plain", "unknown/none");
    // A start does not help either.
    sandbox.harness(&["start", "--timeout", "1", "plain"]).code(17);
    let cable = Cable::plug(path);
    sandbox.await_state("probed", "running/healthy");
    sandbox.await_state("plain", "running/none");
    eventually("its dependent is healthy", || {
        sandbox.service("process")["error"].is_null().then_some(())
    });
    // Probes that could not run do not count as failures: nothing was restarted.
    assert_eq!(sandbox.id("probed"), id);
    assert_eq!(sandbox.service("probed")["restarts"], 0);
    assert_eq!(sandbox.service("process")["pid"], pids["process"]);
    assert!(sandbox.service("plain")["error"].is_null());
    sandbox.ok(&["stop", "--all"]);
    sandbox.ok(&["daemon", "stop"]);
    cable.cut();
}

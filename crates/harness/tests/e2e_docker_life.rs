//! Containers as services, on a real engine: their start, their output, their end, and that they leave nothing.

#![cfg(test)]
#![cfg(feature = "docker-tests")]

mod common;

use std::time::{Duration, Instant};

use common::docker::{DockerSandbox, project, request};
use common::eventually;
use serde_json::{Value, json};

#[test]
fn a_container_is_a_service_like_any_other() {
    let sandbox = DockerSandbox::new(
        "life",
        "services:\n  web:\n    type: docker\n    image: harness-test/http\n    ports: [\"0:8080\"]\n    env: {API_TOKEN: hunter2, PLAIN: seen}\n    health_check: {http: \"http://localhost:8080/health\"}\n",
    );
    sandbox.ok(&["start"]).tells("web      healthy");
    let web = sandbox.service("web");
    let port = web["ports"][0]["port"].as_u64().unwrap();
    assert!(
        std::net::TcpStream::connect(("127.0.0.1", u16::try_from(port).unwrap())).is_ok(),
        "{web}"
    );
    let inspected = sandbox.inspect("web");
    assert_eq!(inspected["Name"], format!("/{}-web", project("life")));
    assert_eq!(inspected["State"]["Pid"], web["pid"]);
    assert_eq!(inspected["HostConfig"]["RestartPolicy"]["Name"], "no");
    let labels = inspected["Config"]["Labels"].to_string();
    assert!(
        labels.contains("\"harness.generation\":\"1\"") && !labels.contains("hunter2"),
        "{labels}"
    );
    // Again: nothing changes.
    sandbox.ok(&["start"]);
    assert_eq!(sandbox.inspect("web")["Id"], inspected["Id"]);
    sandbox.ok(&["logs"]).says("web | listening on 8080");
    sandbox
        .harness(&["exec", "web", "--", "sh", "-c", "echo $PLAIN; exit 7"])
        .code(7)
        .says("seen");
    let network = sandbox.networks();
    assert_eq!(network.len(), 1, "{network:?}");
    sandbox.ok(&["stop", "--all"]);
    assert!(sandbox.containers().is_empty() && sandbox.networks().is_empty());
    assert_eq!(sandbox.state("web"), "stopped/none");
    sandbox.ok(&["logs"]).says("web | listening on 8080");
}

#[test]
fn ends_are_told_as_they_are() {
    let sandbox = DockerSandbox::new(
        "ends",
        "services:\n  crash: {type: docker, image: harness-test/program, command: [crash, 3, 600]}\n  signal: {type: docker, image: harness-test/program, command: [kill, USR1]}\n  done: {type: docker, image: harness-test/program, command: [chat, 3], oneshot: true}\n  greedy: {type: docker, image: harness-test/program, entrypoint: [sh, -c], command: ['until test -e /go; do sleep 0.02; done; exec program memory 200'], resources: {memory: 32M}}\n  lost: {type: docker, image: harness-test/base, command: [no-such-program]}\n",
    );
    let start = sandbox.harness(&["start"]).code(18);
    // An engine starts to watch a container's memory only after it has started it.
    sandbox.await_state("greedy", "running/none");
    sandbox.ok(&["exec", "greedy", "--", "touch", "/go"]);
    sandbox.await_state("done", "completed/none");
    sandbox.await_state("crash", "failed/none");
    assert_eq!(sandbox.service("crash")["exit_code"], 3);
    sandbox.await_state("signal", "failed/none");
    assert_eq!(sandbox.service("signal")["signal"], 10, "{start}");
    sandbox.await_state("greedy", "failed/none");
    let greedy = sandbox.service("greedy");
    assert!(
        greedy["error"].as_str().unwrap().contains("out of memory"),
        "{greedy}"
    );
    let lost = sandbox.service("lost");
    assert!(
        lost["error"].as_str().unwrap().contains("no-such-program"),
        "{lost}"
    );
    let logs = sandbox.ok(&["logs", "done", "crash"]);
    for line in ["done  | line 1", "done  | line 2", "done  | line 3"] {
        assert!(logs.stdout.contains(line), "{logs}");
    }
    eventually("nothing is left of them", || {
        (sandbox.containers().is_empty() && sandbox.networks().is_empty()).then_some(())
    });
}

#[test]
fn a_stop_is_by_signal_then_by_force() {
    let sandbox = DockerSandbox::new(
        "stops",
        "services:\n  slow: {type: docker, image: harness-test/program, command: [stop-slowly, 1], shutdown_timeout: 30}\n  stubborn: {type: docker, image: harness-test/program, command: [stubborn], shutdown_timeout: 1}\n  other: {type: docker, image: harness-test/base, command: [sh, -c, 'trap \"echo got usr1; exit 5\" USR1; while :; do sleep 0.05; done'], stop_signal: USR1}\n",
    );
    sandbox.ok(&["start"]);
    let began = Instant::now();
    sandbox.ok(&["stop", "--all"]);
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    sandbox.ok(&["logs", "other"]).says("got usr1");
    assert_eq!(sandbox.service("stubborn")["signal"], 9);
    assert!(sandbox.containers().is_empty() && sandbox.networks().is_empty());
}

#[test]
fn our_policy_restarts_and_the_engines_does_not() {
    let sandbox = DockerSandbox::new(
        "restarts",
        "services:\n  again: {type: docker, image: harness-test/program, command: [crash, 4, 100], restart: {policy: on-failure, max_restarts: 2}}\n",
    );
    sandbox.harness(&["start", "-d"]);
    sandbox.await_state("again", "failed/none");
    assert_eq!(sandbox.service("again")["restarts"], 2);
    sandbox.ok(&["stop", "--all"]);
}

#[test]
fn a_foreign_container_of_the_name_is_left_alone() {
    let sandbox = DockerSandbox::new(
        "foreign",
        "services:\n  web: {type: docker, image: harness-test/base, command: [sleep, 1000]}\n",
    );
    let name = format!("{}-web", project("foreign"));
    let body = json!({"Image": "harness-test/base", "Cmd": ["sleep", "1000"], "Labels": {"harness-test": "foreign"}});
    let (status, made) = request("POST", &format!("/containers/create?name={name}"), Some(&body));
    assert_eq!(status, 201, "{made}");
    let id = made["Id"].as_str().unwrap();
    let start = sandbox.harness(&["start"]).code(18);
    let there = request("GET", &format!("/containers/{id}/json"), None).0;
    request("DELETE", &format!("/containers/{id}?force=1"), None);
    assert_eq!(there, 200);
    assert!(
        start.stderr.contains(&format!(
            "container `{name}` exists and does not belong to this project"
        )),
        "{start}"
    );
    sandbox.ok(&["start"]);
}

#[test]
fn what_containers_do_not_have_is_refused_by_name() {
    for (key, said) in [
        ("stop_mode: group", "`stop_mode` `group` is not supported"),
        ("labels: {harness.home: x}", "`labels` that begin with `harness.`"),
    ] {
        let services =
            format!("services:\n  web:\n    type: docker\n    image: harness-test/base\n    {key}\n");
        let sandbox = DockerSandbox::new("refused", &services);
        sandbox.write("x", "");
        let start = sandbox.harness(&["start"]).code(2);
        assert!(start.stderr.contains(said), "{key}: {start}");
    }
}

#[test]
fn a_changed_service_is_replaced_and_keeps_its_address() {
    let sandbox = DockerSandbox::new(
        "replaced",
        "services:\n  web: {type: docker, image: harness-test/http, ports: [\"0:8080\"], env: {LEVEL: one}}\n  other: {type: docker, image: harness-test/program}\n",
    );
    sandbox.ok(&["start"]);
    let before = (sandbox.inspect("web"), sandbox.inspect("other"));
    sandbox.replace("services.yaml", "LEVEL: one", "LEVEL: two");
    sandbox.ok(&["start"]).tells("web      replaced");
    let after = (sandbox.inspect("web"), sandbox.inspect("other"));
    let address = |inspected: &Value| {
        let networks = inspected["NetworkSettings"]["Networks"].as_object().unwrap();
        networks.values().next().unwrap()["IPAddress"].clone()
    };
    assert_ne!(before.0["Id"], after.0["Id"]);
    assert_eq!(address(&before.0), address(&after.0));
    assert_eq!(
        before.0["HostConfig"]["PortBindings"],
        after.0["HostConfig"]["PortBindings"]
    );
    assert_eq!(before.1["Id"], after.1["Id"]);
}

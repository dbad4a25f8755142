//! Mistakes about a container, and what others do to it: everything is explained, and nothing is left.

#![cfg(test)]
#![cfg(feature = "docker-tests")]

mod common;

use std::net::TcpListener;

use common::docker::{DockerSandbox, project, request};
use common::{eventually, within};
use serde_json::{Value, json};

fn error(sandbox: &DockerSandbox, service: &str) -> String {
    sandbox.service(service)["error"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn what_an_engine_refuses_is_told_in_its_words() {
    let sandbox = DockerSandbox::new(
        "refusals",
        r#"services:
  user: {type: docker, image: harness-test/program, user: nobody-such}
  path: {type: docker, image: harness-test/program, volumes: ["/dev/null/below:/data"]}
  inside: {type: docker, image: harness-test/program, working_dir: relative}
"#,
    );
    let start = sandbox.harness(&["start"]).code(18);
    for (service, words) in [
        ("user", "unable to find user nobody-such"),
        ("path", "volume /dev/null/below"),
        ("inside", "relative"),
    ] {
        sandbox.await_state(service, "failed/none");
        assert!(error(&sandbox, service).contains(words), "{service}: {start}");
    }
    eventually("nothing is left of them", || {
        (sandbox.containers().is_empty() && sandbox.networks().is_empty()).then_some(())
    });
}

#[test]
fn a_port_that_is_taken_is_found_before_the_start_and_explained_after() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let services = format!(
        "services:\n  web: {{type: docker, image: harness-test/program, ports: [\"{port}:7000\"], restart: {{policy: on-failure, max_restarts: 1}}}}\n  other: {{type: docker, image: harness-test/program}}\n"
    );
    let sandbox = DockerSandbox::new("taken", &services);
    let start = sandbox.harness(&["start"]).code(1);
    assert!(
        start.stderr.contains(&format!("port {port} is held by")),
        "{start}"
    );
    assert!(sandbox.containers().is_empty() && sandbox.networks().is_empty());
    drop(listener);
    sandbox.ok(&["start"]);
    // Another program takes the port as soon as the container that has it is gone.
    let taker = std::thread::spawn(move || {
        within(common::PATIENCE, "the port is free", || {
            TcpListener::bind(("127.0.0.1", port)).ok()
        })
    });
    let id = sandbox.id("web").unwrap();
    request("POST", &format!("/containers/{id}/kill"), None);
    let _taken = taker.join().unwrap();
    sandbox.await_state("web", "failed/none");
    let why = error(&sandbox, "web");
    assert!(
        why.contains(&port.to_string()) && why.contains("address already in use"),
        "{why}"
    );
    assert_eq!(sandbox.state("other"), "running/none");
    sandbox.ok(&["stop", "--all"]);
}

#[test]
fn a_container_that_is_paused_or_renamed_by_others_is_still_ours() {
    let sandbox = DockerSandbox::new(
        "handled",
        "services:\n  paused: {type: docker, image: harness-test/program}\n  renamed: {type: docker, image: harness-test/program}\n",
    );
    sandbox.ok(&["start"]);
    let (paused, renamed) = (sandbox.id("paused").unwrap(), sandbox.id("renamed").unwrap());
    assert_eq!(
        request("POST", &format!("/containers/{paused}/pause"), None).0,
        204
    );
    let name = format!("{}-another", project("handled"));
    let rename = request("POST", &format!("/containers/{renamed}/rename?name={name}"), None);
    assert_eq!(rename.0, 204, "{rename:?}");
    // The next daemon knows them, too.
    sandbox.kill_daemon();
    sandbox.ok(&["daemon", "start"]);
    sandbox.await_state("paused", "running/unknown");
    sandbox.await_state("renamed", "running/none");
    sandbox.ok(&["exec", "renamed", "--", "true"]);
    sandbox.ok(&["restart", "renamed"]);
    assert_eq!(
        sandbox.inspect("renamed")["Name"],
        format!("/{}-renamed", project("handled"))
    );
    sandbox.ok(&["stop", "--all"]);
    assert!(sandbox.containers().is_empty() && sandbox.networks().is_empty());
}

#[test]
fn an_image_that_is_gone_when_it_is_needed_again_is_named() {
    // No registry listens there.
    let image = format!("127.0.0.1:9/{}", project("gone"));
    let tag = request(
        "POST",
        &format!("/images/harness-test%2Fprogram/tag?repo={image}&tag=1"),
        None,
    );
    assert_eq!(tag.0, 201, "{tag:?}");
    let services = format!(
        "services:\n  app: {{type: docker, image: \"{image}:1\", restart: {{policy: on-failure, max_restarts: 1}}}}\n"
    );
    let sandbox = DockerSandbox::new("gone", &services);
    sandbox.ok(&["start"]);
    let name = image.replace('/', "%2F");
    assert_eq!(
        request("DELETE", &format!("/images/{name}:1?force=1"), None).0,
        200
    );
    assert_eq!(sandbox.state("app"), "running/none");
    let id = sandbox.id("app").unwrap();
    request("POST", &format!("/containers/{id}/kill"), None);
    sandbox.await_state("app", "failed/none");
    let why = error(&sandbox, "app");
    let said = format!("image `{image}:1` is not on this machine and could not be pulled");
    assert!(why.contains(&said), "{why}");
}

/// A network that is not ours, removed at the end.
struct Foreign(String);

impl Foreign {
    fn new(name: &str, subnet: &str) -> Self {
        let body = json!({
            "Name": name,
            "Labels": {"harness-test": "foreign"},
            "IPAM": {"Config": [{"Subnet": subnet}]},
        });
        let (status, answer) = request("POST", "/networks/create", Some(&body));
        assert_eq!(status, 201, "{answer}");
        Self(name.to_owned())
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        request("DELETE", &format!("/networks/{}", self.0), None);
    }
}

/// A subnet that no other run of these tests uses.
fn subnet(third: u32) -> String {
    format!("10.{}.{third}.0/24", 64 + std::process::id() % 64)
}

fn on_network(subnet: &str) -> String {
    format!(
        "networks:\n  back: {{type: local, subnet: \"{subnet}\"}}\nservices:\n  app: {{type: docker, image: harness-test/program, network: back}}\n"
    )
}

#[test]
fn networks_of_others_are_left_alone_and_named() {
    let name = format!("{}_back", project("foreignnet"));
    let sandbox = DockerSandbox::new("foreignnet", &on_network(&subnet(1)));
    let foreign = Foreign::new(&name, &subnet(2));
    let start = sandbox.harness(&["start"]).code(18);
    let said = format!("network `{name}` exists and does not belong to this project");
    assert!(start.stderr.contains(&said), "{start}");
    assert_eq!(request("GET", &format!("/networks/{name}"), None).0, 200);
    drop(foreign);
    let foreign = Foreign::new(&format!("{name}-other"), &subnet(1));
    let start = sandbox.harness(&["start"]).code(18);
    let said = format!(
        "the subnet {} of network `{name}` is used by something else",
        subnet(1)
    );
    assert!(start.stderr.contains(&said), "{start}");
    drop(foreign);
    sandbox.ok(&["start"]);
    sandbox.ok(&["stop", "--all"]);
}

#[test]
fn a_subnet_that_nobody_wrote_keeps_away_from_those_of_others() {
    let sandbox = DockerSandbox::new(
        "chosennet",
        "services:\n  app: {type: docker, image: harness-test/program}\n",
    );
    let chosen = || {
        sandbox.ok(&["start"]);
        let subnet = sandbox.networks()[0]["IPAM"]["Config"][0]["Subnet"].clone();
        sandbox.ok(&["stop", "--all"]);
        sandbox.ok(&["daemon", "stop"]);
        // The chosen subnet is kept while the home remembers it.
        std::fs::remove_dir_all(sandbox.home()).unwrap();
        subnet.as_str().unwrap().to_owned()
    };
    let first = chosen();
    let _foreign = Foreign::new(&project("chosennet-other"), &first);
    assert_ne!(chosen(), first);
}

#[test]
fn another_subnet_in_the_file_replaces_the_network_and_what_is_on_it() {
    let sandbox = DockerSandbox::new("subnet", &on_network(&subnet(3)));
    sandbox.ok(&["start"]);
    let before = sandbox.id("app");
    sandbox.replace("services.yaml", &subnet(3), &subnet(4));
    sandbox.ok(&["start"]).tells("app      replaced");
    assert_ne!(sandbox.id("app"), before);
    let networks = sandbox.networks();
    let subnets: Vec<&Value> = networks
        .iter()
        .map(|n| &n["IPAM"]["Config"][0]["Subnet"])
        .collect();
    assert_eq!(subnets, [&json!(subnet(4))]);
    sandbox.ok(&["stop", "--all"]);
    assert!(sandbox.containers().is_empty() && sandbox.networks().is_empty());
}

#[test]
fn named_volumes_stay_until_they_are_told_to_go() {
    let sandbox = DockerSandbox::new(
        "volumes",
        r#"services:
  writer: {type: docker, image: harness-test/base, command: [sh, -c, "echo kept >> /data/file"], volumes: ["data:/data"], oneshot: true}
  reader: {type: docker, image: harness-test/base, command: [sh, -c, "cat /data/file; sleep 1000"], volumes: ["data:/data:ro"], dependencies: [writer]}
"#,
    );
    let volume = format!("{}_data", project("volumes"));
    let there = || request("GET", &format!("/volumes/{volume}"), None).0 == 200;
    for round in 1..=2 {
        sandbox.ok(&["start"]);
        sandbox.ok(&["stop", "--all"]);
        assert!(there(), "round {round}");
    }
    let logs = sandbox.ok(&["logs", "reader"]).stdout;
    assert!(logs.matches("kept").count() >= 3, "{logs}");
    // Like a volume of another project, which we must not remove.
    let foreign = format!("{volume}-other");
    let body = json!({"Name": foreign, "Labels": {"harness-test": "foreign"}});
    assert_eq!(request("POST", "/volumes/create", Some(&body)).0, 201);
    sandbox.ok(&["start"]);
    sandbox.harness(&["stop", "reader", "--volumes"]).code(2);
    let stopped = sandbox.json(&["stop", "--all", "--volumes"]);
    let kept = request("DELETE", &format!("/volumes/{foreign}"), None).0;
    assert_eq!(stopped["volumes"], json!([volume]), "{stopped}");
    assert!(!there() && kept == 204);
    let again = sandbox.json(&["stop", "--all", "--volumes"]);
    assert_eq!(again["volumes"], json!([]));
}

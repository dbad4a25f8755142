//! `type: compose` on a real engine: services of unchanged compose files, beside processes.

#![cfg(test)]
#![cfg(feature = "docker-tests")]

mod common;

use common::docker::{DockerSandbox, project, request, socket};
use common::eventually;
use serde_json::{Value, json};

/// A sandbox with this services.yaml beside this compose file.
fn sandbox(name: &str, services: &str, compose: &str) -> DockerSandbox {
    let sandbox = DockerSandbox::new(name, services);
    sandbox.write("compose.yml", compose);
    sandbox
}

fn is_empty(sandbox: &DockerSandbox) -> bool {
    sandbox.containers().is_empty() && sandbox.networks().is_empty()
}

const STACK: &str = "services:\n  stack: {type: compose, file: compose.yml}\n";

#[test]
fn the_commissioned_file_has_its_two_networks_and_addresses() {
    let compose = include_str!("../../harness-config/tests/fixtures/seeds/docker-compose.test.yml");
    // Other runs on this engine must not use the same addresses.
    let own = std::process::id() % 256;
    let (lan, wan) = (format!("10.86.{own}."), format!("10.87.{own}."));
    let compose = compose
        .replace("/var/run/docker.sock:", &format!("{}:", socket().display()))
        .replace("192.168.100.", &lan)
        .replace("10.0.0.", &wan);
    let (lan, wan) = (format!("{lan}10"), format!("{wan}10"));
    let services = format!(
        "{STACK}  near:\n    type: process\n    binary: sh\n    args: [-c, \"echo lan ${{lan_node.ip}} wan ${{wg_node.ip}}; exec sleep 1000\"]\n"
    );
    let sandbox = sandbox("nets", &services, &compose);
    sandbox.ok(&["validate"]);
    sandbox.ok(&["start"]);
    for (service, network, address) in [
        ("lan_node", "lan_network", &lan),
        ("wg_node", "wan_network", &wan),
    ] {
        let inspected = sandbox.inspect(service);
        let name = format!("{}_{network}", project("nets"));
        let networks = inspected["NetworkSettings"]["Networks"].as_object().unwrap();
        assert_eq!(networks.keys().collect::<Vec<_>>(), [&name]);
        assert_eq!(networks[&name]["IPAddress"], address.as_str());
        assert_eq!(sandbox.service(service)["network"], network);
        assert_eq!(sandbox.service(service)["type"], "docker");
    }
    assert_eq!(sandbox.networks().len(), 2);
    sandbox
        .ok(&["logs", "near"])
        .says(&format!("lan {lan} wan {wan}"));
    let mounted = sandbox.ok(&["exec", "lan_node", "--", "test", "-S", "/var/run/docker.sock"]);
    assert_eq!(mounted.stderr, "");
    sandbox
        .ok(&["exec", "wg_node", "--", "sh", "-c", "echo $WIREGUARD_CONFIG"])
        .says("/etc/wireguard/wg0.conf");
    sandbox.ok(&["stop", "--all"]);
    assert!(is_empty(&sandbox));
}

const SHOP: &str = r#"
x-database: &database
  POSTGRES_PASSWORD: ${DB_PASSWORD:-only-for-this-test}
services:
  db:
    image: harness-test/postgres
    environment: {<<: *database, POSTGRES_DB: shop}
    volumes: [data:/var/lib/postgresql/data]
    stop_signal: SIGINT
    healthcheck: {test: [CMD, pg_isready, --quiet, --host=127.0.0.1], interval: 1s, retries: 30}
  migrate:
    image: harness-test/postgres
    environment: {<<: *database}
    command: sh -c 'PGPASSWORD=$$POSTGRES_PASSWORD psql --host=$$HARNESS_DB_IP --username=postgres --dbname=shop --command="create table if not exists goods (n int)"'
    depends_on: {db: {condition: service_healthy}}
  web:
    image: harness-test/http
    ports: ["8080"]
    healthcheck: {test: "true"}
    depends_on: {migrate: {condition: service_completed_successfully}}
volumes:
  data:
"#;

#[test]
fn a_process_starts_after_a_whole_compose_file() {
    let sandbox = sandbox(
        "shop",
        "services:\n  shop: {type: compose, file: compose.yml}\n  app:\n    type: process\n    binary: sh\n    args: [-c, \"echo web at ${web.ip}:${web.port}; exec sleep 1000\"]\n    dependencies: [shop]\n",
        SHOP,
    );
    sandbox.ok(&["start"]);
    assert_eq!(sandbox.state("db"), "running/healthy");
    assert_eq!(sandbox.state("migrate"), "completed/none");
    assert_eq!(sandbox.state("web"), "running/healthy");
    let port = sandbox.service("web")["ports"][0]["port"].as_u64().unwrap();
    sandbox
        .ok(&["logs", "app"])
        .says(&format!("web at 127.0.0.1:{port}"));
    assert!(std::net::TcpStream::connect(("127.0.0.1", u16::try_from(port).unwrap())).is_ok());
    sandbox.ok(&["logs", "migrate"]).says("CREATE TABLE");
    let graph = sandbox.ok(&["graph"]);
    assert!(
        graph.stdout.contains("migrate") && graph.stdout.contains("app"),
        "{graph}"
    );

    // Only services that changed in the file are replaced.
    let (db, web) = (sandbox.id("db"), sandbox.id("web"));
    sandbox.ok(&["start"]);
    assert_eq!((sandbox.id("db"), sandbox.id("web")), (db.clone(), web.clone()));
    sandbox.replace(
        "compose.yml",
        "ports: [\"8080\"]",
        "ports: [\"8080\"]\n    environment: {NEW: \"1\"}",
    );
    sandbox.ok(&["start"]).tells("env NEW added");
    assert_eq!(sandbox.id("db"), db);
    assert_ne!(sandbox.id("web"), web);

    sandbox.ok(&["stop", "--all"]);
    assert!(is_empty(&sandbox));
    let volume = format!("{}_data", project("shop"));
    let (status, _) = request("GET", &format!("/volumes/{volume}"), None);
    assert_eq!(status, 200, "the volume stays");
}

#[test]
fn several_networks_external_ones_and_names_in_the_engine() {
    let name = project("several");
    let (network, volume) = (format!("{name}-theirs"), format!("{name}-disk"));
    let labels = json!({"harness-test": "compose"});
    let made = request(
        "POST",
        "/networks/create",
        Some(&json!({"Name": network, "Labels": labels})),
    );
    assert_eq!(made.0, 201, "{}", made.1);
    let made = request(
        "POST",
        "/volumes/create",
        Some(&json!({"Name": volume, "Labels": labels})),
    );
    assert_eq!(made.0, 201, "{}", made.1);
    let compose = format!(
        "services:\n  a:\n    image: harness-test/base\n    command: [sleep, '1000']\n    container_name: {name}-box\n    hostname: inner\n    read_only: true\n    networks: {{front: , back: {{aliases: [other]}}, out: }}\n    volumes: [disk:/disk]\n  b:\n    image: harness-test/base\n    command: [sleep, '1000']\n    networks: [back]\nnetworks:\n  front:\n  back: {{name: {name}-back}}\n  out: {{external: true, name: {network}}}\nvolumes:\n  disk: {{external: true, name: {volume}}}\n"
    );
    let services = format!(
        "{STACK}  c: {{type: docker, image: harness-test/base, network: back, command: [sleep, \"1000\"], env: {{A: \"${{a.ip}}\"}}}}\n"
    );
    let sandbox = sandbox("several", &services, &compose);
    sandbox.ok(&["start"]);
    let a = sandbox.inspect("a");
    assert_eq!(a["Name"], format!("/{name}-box"));
    assert_eq!(a["Config"]["Hostname"], "inner");
    assert_eq!(a["HostConfig"]["ReadonlyRootfs"], true);
    assert_eq!(a["Mounts"][0]["Name"], volume.as_str());
    let networks = a["NetworkSettings"]["Networks"].as_object().unwrap();
    let mut names: Vec<&str> = networks.keys().map(String::as_str).collect();
    names.sort_unstable();
    let (front, back) = (format!("{name}_front"), format!("{name}-back"));
    let mut expected = [back.as_str(), network.as_str(), front.as_str()];
    expected.sort_unstable();
    assert_eq!(names, expected);
    assert!(
        networks[&back]["Aliases"].to_string().contains("\"other\""),
        "{networks:?}"
    );
    // `c` and `a` are both on `back`.
    let env = sandbox.inspect("c")["Config"]["Env"].to_string();
    let address = networks[&back]["IPAddress"].as_str().unwrap();
    assert!(env.contains(&format!("\"A={address}\"")), "{env}");
    // The next daemon keeps all of it.
    let id = sandbox.id("a");
    sandbox.kill_daemon();
    sandbox.ok(&["start"]);
    assert_eq!(sandbox.id("a"), id);
    sandbox.ok(&["stop", "--all"]);
    assert!(is_empty(&sandbox));
    for (kind, name) in [("networks", &network), ("volumes", &volume)] {
        let (status, _) = request("DELETE", &format!("/{kind}/{name}"), None);
        assert_eq!(status, 204, "the {kind} of others stay");
    }
}

const PAIR: &str = "services:
  a: {image: harness-test/base, command: [sh, -c, 'echo from a; exec sleep 1000'], init: true}
  b: {image: harness-test/base, command: [sh, -c, 'echo from b; exec sleep 1000'], init: true}
";

fn names_in(status: &Value) -> Vec<&str> {
    let services = status["services"].as_array().unwrap();
    services
        .iter()
        .map(|service| service["name"].as_str().unwrap())
        .collect()
}

#[test]
fn the_name_of_a_group_means_its_services_in_every_verb() {
    let services = format!(
        "{STACK}  near: {{type: process, binary: sh, args: [-c, \"echo from near; exec sleep 1000\"], dependencies: [stack]}}\n"
    );
    let sandbox = sandbox("group", &services, PAIR);
    let named = project("group");
    sandbox.ok(&["start"]);
    let status = sandbox.json(&["status", "stack"]);
    assert_eq!(names_in(&status), ["a", "b"]);
    assert_eq!(status["groups"], json!({"stack": ["a", "b"]}));
    let (a, b, near) = (sandbox.id("a"), sandbox.id("b"), sandbox.pid("near"));

    // Its services are restarted while their lines are followed.
    let following = sandbox.spawn(&["logs", "-f", "stack"]);
    sandbox.ok(&["restart", "stack"]);
    assert!(sandbox.id("a") != a && sandbox.id("b") != b);
    assert_eq!(sandbox.pid("near"), near);
    eventually("the second lines are followed", || {
        let lines = following.stdout();
        let said = |text: &str| lines.lines().filter(|line| line.ends_with(text)).count();
        assert_eq!(said("from near"), 0, "{lines}");
        (said("| from a") == 2 && said("| from b") == 2).then_some(())
    });
    drop(following);
    sandbox.ok(&["events", "stack"]);

    // Commands that need one service do not guess.
    for words in [
        &["exec", "stack", "--", "true"][..],
        &["attach", "--no-stdin", "stack"],
        &["why", "stack"],
        &["service", "show", "stack"],
    ] {
        let refused = sandbox.harness(words).code(2);
        let refused = refused.tells("`stack` is a group, but this needs one service");
        refused.tells("name one of its services: a, b");
    }
    for verb in ["stop", "status", "logs", "wait", "start", "restart", "events"] {
        sandbox
            .harness(&[verb, "stakc"])
            .code(4)
            .tells("did you mean `stack`?");
    }

    // The next daemon knows it, without a file.
    sandbox.kill_daemon();
    std::fs::remove_file(sandbox.project().join("services.yaml")).unwrap();
    let there = |words: &[&str]| sandbox.ok(&[&["-p", &named], words].concat());
    there(&["wait", "stack"]);
    let completed = there(&["__complete-services"]);
    assert_eq!(completed.stdout, "a\nb\nnear\nstack\n");
    let stopped = there(&["stop", "stack", "--json"]).json();
    assert_eq!(stopped["stopped"].as_array().unwrap().len(), 2, "{stopped}");
    there(&["wait", "stack", "--for", "stopped"]);
    // What depends on them keeps running, as always.
    assert_eq!(sandbox.pid("near"), near);
    assert!(sandbox.containers().is_empty());
    let lines = there(&["logs", "stack"]).stdout;
    assert!(lines.contains("from a") && !lines.contains("near"), "{lines}");
    there(&["stop", "--all"]);
    assert!(is_empty(&sandbox));
}

#[test]
fn one_service_under_another_name_with_keys_of_its_own() {
    let sandbox = sandbox(
        "one",
        "services:\n  front:\n    type: compose\n    file: compose.yml\n    service: web\n    env: {B: over}\n",
        "services:\n  web: {image: harness-test/base, command: [sleep, '1000'], environment: [A=1, B=2], depends_on: [helper]}\n  helper: {image: harness-test/base, command: [sleep, '1000']}\n  other: {image: nowhere, ipc: host}\n",
    );
    sandbox.ok(&["start"]);
    sandbox
        .ok(&["exec", "front", "--", "sh", "-c", "echo $A $B"])
        .says("1 over");
    let names: Vec<String> = sandbox.status().into_keys().collect();
    assert_eq!(names, ["front", "helper"]);
    let networks = sandbox.inspect("front")["NetworkSettings"]["Networks"].clone();
    let aliases = &networks[format!("{}_local", project("one"))]["Aliases"];
    assert!(
        aliases.to_string().contains("\"web\"") && aliases.to_string().contains("\"front\""),
        "{aliases}"
    );
    sandbox.ok(&["stop", "--all"]);
    assert!(is_empty(&sandbox));
}

#[test]
fn what_is_missing_or_not_supported_is_said_and_nothing_is_made() {
    let sandbox = sandbox(
        "refused",
        STACK,
        "services:\n  a: {image: harness-test/base, ipc: host}\n  b: {image: harness-test/base, network_mode: host}\n",
    );
    let start = sandbox.harness(&["start"]).code(2);
    assert!(
        start.stderr.contains("compose.yml:2:33") && start.stderr.contains("compose.yml:3:33"),
        "{start}"
    );
    sandbox.write(
        "compose.yml",
        "services:\n  a: {image: harness-test/base, command: [sleep, '1'], networks: [gone]}\n  b: {image: harness-test/base, command: [sleep, '1'], volumes: ['gone:/x']}\nnetworks: {gone: {external: true, name: harness-no-such-network}}\nvolumes: {gone: {external: true, name: harness-no-such-volume}}\n",
    );
    sandbox.harness(&["start"]).code(18);
    let error = |name: &str| {
        sandbox.service(name)["error"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    assert!(
        error("a").contains("external network `harness-no-such-network` does not exist"),
        "{}",
        error("a")
    );
    assert!(
        error("b").contains("external volume `harness-no-such-volume`"),
        "{}",
        error("b")
    );
    let left: Vec<Value> = sandbox.containers();
    assert!(left.is_empty(), "{left:?}");
    sandbox.ok(&["stop", "--all"]);
    assert!(is_empty(&sandbox));
}

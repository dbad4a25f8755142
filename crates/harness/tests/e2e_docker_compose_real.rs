//! Compose files of the kind that real projects have: the engine gets what Docker Compose would send.

#![cfg(test)]
#![cfg(feature = "docker-tests")]

mod common;

use std::net::TcpListener;

use common::docker::{DockerSandbox, project};
use serde_json::{Value, json};

/// Two ports that were free a moment ago.
fn free_ports() -> (u16, u16) {
    let taken = [(); 2].map(|()| TcpListener::bind(("127.0.0.1", 0)).unwrap());
    let [first, second] = taken.map(|listener| listener.local_addr().unwrap().port());
    (first, second)
}

fn sorted(list: &Value) -> Vec<&str> {
    let mut list: Vec<&str> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item.as_str().unwrap())
        .collect();
    list.sort_unstable();
    list
}

/// A web application: anchors, long forms, two networks, env files, a profile.
const APPLICATION: &str = r#"
version: "3.9"
name: not-ours
x-logging: &logging {driver: json-file, options: {max-size: "10m"}}
x-common: &common
  restart: unless-stopped
  logging: *logging
  networks: [backend]
services:
  web:
    <<: *common
    image: harness-test/http:${TAG:-latest}
    ports:
      - "127.0.0.1:${WEB_PORT}:8080"
      - target: 9443
        published: "${TLS_PORT}"
        protocol: tcp
        mode: host
    expose: ["9000"]
    environment:
      - CACHE_URL=redis://cache:6379/0
      - DEBUG
      - EMPTY=
    env_file:
      - web.env
      - path: ./override.env
        required: false
    depends_on:
      db: {condition: service_healthy, restart: true}
      cache: {condition: service_started}
    volumes:
      - ./src:/app/src:ro
      - {type: volume, source: uploads, target: /app/uploads}
      - type: bind
        source: ./conf
        target: /etc/app
        read_only: true
        bind: {create_host_path: true}
      - {type: tmpfs, target: /tmp/cache, tmpfs: {size: 64m}}
    healthcheck:
      test: ["CMD-SHELL", "perl -e 'exit 0' || exit 1"]
      interval: 1m30s
      timeout: 10s
      retries: 3
      start_period: 40s
    networks: [frontend, backend]
    deploy: {resources: {limits: {cpus: "0.50", memory: 256M}}}
    user: "1000:1000"
    stop_grace_period: 30s
    init: true
    labels: [traefik.enable=true, "traefik.rule=Host(`example.com`)"]
    extra_hosts: ["host.docker.internal:host-gateway"]
    cap_drop: [ALL]
    read_only: true
    tmpfs: /run
  db:
    <<: *common
    image: harness-test/postgres
    environment: {POSTGRES_USER: app, POSTGRES_PASSWORD: "${DB_PASSWORD:?set it}", POSTGRES_DB: app}
    volumes: [pgdata:/var/lib/postgresql/data]
    stop_signal: SIGINT
    healthcheck: {test: ["CMD", "pg_isready", "-U", "app", "-h", "127.0.0.1"], interval: 1s, timeout: 3s, retries: 60}
  cache:
    <<: *common
    image: harness-test/base
    command: ["sleep", "100000"]
    init: true
    healthcheck: {disable: true}
  shell:
    image: harness-test/base
    command: sleep 1000
    init: true
    profiles: [debug]
    depends_on: [web]
volumes:
  pgdata:
  uploads: {driver: local}
networks:
  frontend: {driver: bridge}
  backend:
"#;

#[test]
fn a_web_application_with_its_database() {
    let sandbox = DockerSandbox::new("real", "services:\n  app: {type: compose, file: compose.yml}\n");
    let (web_port, tls_port) = free_ports();
    sandbox.write("compose.yml", APPLICATION);
    sandbox.write(
        ".env",
        &format!("WEB_PORT={web_port}\nTLS_PORT={tls_port}\nDB_PASSWORD='s3cr$t'\nHOST_DB=db\n"),
    );
    sandbox.write(
        "web.env",
        "# the application's\nDATABASE_URL=postgres://app:${DB_PASSWORD}@${HOST_DB}:5432/app?x=$${y}  # inline\nGREETING=\"hello ${NOBODY_HAS_THIS:-nobody}\"\nRAW='$NOT $(this)'\n",
    );
    sandbox.write("src/index", "hello\n");
    sandbox.write("conf/app.conf", "x\n");
    sandbox.ok(&["start"]);
    let web = sandbox.inspect("web");
    let env = sorted(&web["Config"]["Env"]);
    for expected in [
        "CACHE_URL=redis://cache:6379/0",
        "DATABASE_URL=postgres://app:s3cr$t@db:5432/app?x=${y}",
        "EMPTY=",
        "GREETING=hello nobody",
        "RAW=$NOT $(this)",
    ] {
        assert!(env.contains(&expected), "{expected} in {env:?}");
    }
    assert!(!env.iter().any(|one| one.starts_with("DEBUG")), "{env:?}");
    let host = &web["HostConfig"];
    let bound = |port: u16| json!([{"HostIp": "127.0.0.1", "HostPort": port.to_string()}]);
    assert_eq!(
        host["PortBindings"],
        json!({"8080/tcp": bound(web_port), "9443/tcp": bound(tls_port)})
    );
    assert!(web["Config"]["ExposedPorts"]["9000/tcp"].is_object());
    let folder = sandbox.project().canonicalize().unwrap();
    let (at, named) = (folder.display(), project("real"));
    assert_eq!(
        sorted(&host["Binds"]),
        sorted(&json!([
            format!("{at}/conf:/etc/app:ro"),
            format!("{at}/src:/app/src:ro"),
            format!("{named}_uploads:/app/uploads:rw")
        ]))
    );
    assert_eq!(host["Tmpfs"], json!({"/run": "", "/tmp/cache": "size=64m"}));
    assert_eq!(
        (&host["NanoCpus"], &host["Memory"]),
        (&json!(500_000_000), &json!(256 << 20))
    );
    assert_eq!(
        (&host["CapDrop"], &host["ReadonlyRootfs"]),
        (&json!(["ALL"]), &json!(true))
    );
    assert_eq!(
        (&host["Init"], &web["Config"]["User"]),
        (&json!(true), &json!("1000:1000"))
    );
    assert_eq!(web["Config"]["Labels"]["traefik.rule"], "Host(`example.com`)");
    let networks = web["NetworkSettings"]["Networks"].as_object().unwrap();
    let names: Vec<&String> = networks.keys().collect();
    assert_eq!(names, [&format!("{named}_backend"), &format!("{named}_frontend")]);
    assert_eq!(sandbox.state("web"), "running/healthy");
    assert_eq!(sandbox.state("cache"), "running/none");
    let looked = sandbox.ok(&[
        "exec",
        "web",
        "--",
        "sh",
        "-c",
        "cat /app/src/index; grep internal /etc/hosts; echo $DATABASE_URL",
    ]);
    assert!(
        looked.stdout.contains("hello\n") && looked.stdout.contains("host.docker.internal"),
        "{looked}"
    );
    // A secret in an env file does not appear in output.
    let shown = sandbox.ok(&["service", "show", "web"]);
    assert!(
        !shown.stdout.contains("s3cr$t") && shown.stdout.contains("postgres://app:•••@db"),
        "{shown}"
    );

    assert!(!sandbox.status().contains_key("shell"));
    sandbox.ok(&["start", "app", "--profile", "debug"]);
    assert_eq!(sandbox.state("shell"), "running/none");
    assert_eq!(sandbox.inspect("web")["Id"], web["Id"]);
    sandbox.ok(&["stop", "app"]);
    assert!(sandbox.containers().is_empty());
    sandbox.ok(&["stop", "--all", "--volumes"]);
    assert!(sandbox.networks().is_empty());
}

/// A broker, a service that sets something up in it, and one that follows that.
const BROKER: &str = r#"
services:
  broker:
    image: harness-test/base
    hostname: broker
    init: true
    entrypoint: ["sh", "-c"]
    command: ["touch /tmp/up; sleep 100000"]
    ports: ["127.0.0.1::9092", ":53/udp"]
    healthcheck:
      test: test -e /tmp/up || exit 1
      interval: 1s
      start_period: 10s
    networks: {default: , inner: {aliases: [search], ipv4_address: 10.42.OWN.5}}
    tmpfs: ["/scratch:size=16m,mode=1777"]
    environment: {LISTENERS: "PLAINTEXT://broker:29092,HOST://localhost:9092", N: 1, F: 1.50, ON: "yes"}
    deploy: {mode: replicated, replicas: 1}
  setup:
    image: harness-test/base
    entrypoint: ["/bin/sh", "-c"]
    command: |
      "
      # waits for nothing more
      echo topics made by $$HOSTNAME
      "
    hostname: maker
    depends_on: {broker: {condition: service_healthy}}
  after:
    image: harness-test/base
    command: >
      sh -c "getent hosts search broker;
             exec sleep 1000"
    init: true
    depends_on: {setup: {condition: service_completed_successfully}}
    networks: [inner]
networks:
  inner: {driver: bridge, ipam: {driver: default, config: [{subnet: 10.42.OWN.0/24, gateway: 10.42.OWN.1}]}}
"#;

#[test]
fn a_broker_and_what_is_set_up_in_it() {
    let sandbox = DockerSandbox::new(
        "broker",
        "services:\n  kafka: {type: compose, file: compose.yml}\n",
    );
    // Other runs on this engine must not use the same addresses.
    let own = (std::process::id() % 256).to_string();
    sandbox.write("compose.yml", &BROKER.replace("OWN", &own));
    sandbox.ok(&["start"]);
    let broker = sandbox.inspect("broker");
    let env = sorted(&broker["Config"]["Env"]);
    for expected in [
        "F=1.50",
        "LISTENERS=PLAINTEXT://broker:29092,HOST://localhost:9092",
        "N=1",
        "ON=yes",
    ] {
        assert!(env.contains(&expected), "{expected} in {env:?}");
    }
    let bindings = &broker["HostConfig"]["PortBindings"];
    let host_ip = |port: &str| bindings[port][0]["HostIp"].clone();
    assert_eq!(
        (host_ip("9092/tcp"), host_ip("53/udp")),
        (json!("127.0.0.1"), json!("127.0.0.1"))
    );
    assert_eq!(
        broker["HostConfig"]["Tmpfs"],
        json!({"/scratch": "size=16m,mode=1777"})
    );
    let inner = &broker["NetworkSettings"]["Networks"][format!("{}_inner", project("broker"))];
    let address = format!("10.42.{own}.5");
    assert_eq!(inner["IPAddress"], address.as_str());
    assert_eq!(sandbox.state("setup"), "completed/none");
    sandbox.ok(&["logs", "setup"]).says("topics made by maker");
    let seen = sandbox.ok(&["logs", "after"]).stdout;
    assert_eq!(seen.matches(&address).count(), 2, "{seen}");
    sandbox.ok(&["stop", "kafka"]);
    assert!(sandbox.containers().is_empty());
    sandbox.ok(&["stop", "--all"]);
    assert!(sandbox.networks().is_empty());
}

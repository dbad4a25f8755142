//! A process and containers that work together: `examples/web-and-db`, and the example that was given when this
//! project was commissioned.

#![cfg(test)]
#![cfg(feature = "docker-tests")]

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use common::docker::DockerSandbox;
use common::{eventually, proc};

const IMAGE: &str = "harness-test/postgres";

/// "Example Configuration", unchanged.
const COMMISSIONED: &str = r#"# services.yaml
version: "1.0"
name: "my-application"

services:
  database:
    type: docker
    network: local
    image: "postgres:15"
    env:
      POSTGRES_PASSWORD: "${DB_PASSWORD}"
      POSTGRES_DB: "myapp"
    ports:
      - 5432
    health_check:
      command: "pg_isready"
      interval: 10
      retries: 5

  my-api:
    type: process
    network: local
    binary: "./target/release/api-server"
    args: ["--port", "8080"]  
    env:
      DATABASE_URL: "postgresql://postgres:${DB_PASSWORD}@${database.ip}:5432/myapp"
      LOG_LEVEL: "${LOG_LEVEL:-info}"
    dependencies:
      - database
    health_check:
      http: "http://localhost:8080/health"
      interval: 30
      retries: 3
      timeout: 10
"#;

/// Its server: healthy while the database answers.
const API_SERVER: &str = r#"#!/usr/bin/perl
use strict;
use IO::Socket::INET;
$| = 1;
my $server = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $ARGV[1], Listen => 8) or die $@;
print "log level $ENV{LOG_LEVEL}\n";
while (my $peer = $server->accept) {
    my $request = <$peer>;
    my ($user, $password, $host, $port, $database) = $ENV{DATABASE_URL} =~ m{//(\w+):(\w+)@([\d.]+):(\d+)/(\w+)};
    @ENV{qw(PGUSER PGPASSWORD PGHOST PGPORT PGDATABASE)} = ($user, $password, $host, $port, $database);
    my $said = `psql -XtA -c 'SELECT current_database()'`;
    chomp $said;
    my $status = $said eq 'myapp' ? '200 OK' : '503 Service Unavailable';
    print $peer "HTTP/1.1 $status\r\nContent-Length: ", length $said, "\r\nConnection: close\r\n\r\n$said";
}
"#;

/// The answer of a server on this machine.
fn get(port: u64, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", u16::try_from(port).unwrap())).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nUser-Agent: a test\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[track_caller]
fn assert_gone(sandbox: &DockerSandbox) {
    let (containers, networks) = (sandbox.containers(), sandbox.networks());
    assert!(
        containers.is_empty() && networks.is_empty(),
        "{containers:?} {networks:?}"
    );
    let processes = sandbox.processes();
    assert!(processes.is_empty(), "left running: {processes:?}");
}

#[test]
fn the_example_comes_up_works_and_goes() {
    let mut sandbox = DockerSandbox::with_example("web_and_db", "web-and-db");
    sandbox.set_env("POSTGRES_IMAGE", IMAGE);
    sandbox.set_env("WEB_PORT", "0");
    sandbox.ok(&["start"]);
    assert_eq!(sandbox.state("database"), "running/healthy");
    assert_eq!(sandbox.state("migrate"), "completed/none");
    assert_eq!(sandbox.state("web"), "running/healthy");

    let port = sandbox.service("web")["ports"][0]["port"].as_u64().unwrap();
    let signed = get(port, "/");
    assert!(signed.contains("200 OK") && signed.contains("a test"), "{signed}");
    let psql = [
        "exec", "database", "--", "psql", "-U", "postgres", "-d", "guests", "-XtAc",
    ];
    let query = |statement: &str| {
        let words: Vec<&str> = psql.into_iter().chain([statement]).collect();
        sandbox.ok(&words).stdout.trim().to_owned()
    };
    assert_eq!(query("SELECT who FROM visit"), "a test");
    sandbox
        .ok(&["exec", "web", "--", "psql", "-XtAc", "SELECT who FROM visit"])
        .says("a test");
    let logs = sandbox.ok(&["logs"]);
    for line in ["web      | signed by a test", "database | "] {
        assert!(logs.stdout.contains(line), "no `{line}`: {logs}");
    }

    let before = (sandbox.pids(), sandbox.id("database"));
    sandbox.ok(&["start"]);
    assert_eq!(
        (sandbox.pids(), sandbox.id("database")),
        before,
        "something was replaced"
    );

    sandbox.ok(&["stop", "--all"]);
    assert_gone(&sandbox);
    assert_eq!(
        sandbox.service("database")["exit_code"],
        0,
        "it was not shut down properly"
    );
    assert!(!proc::is_listening(u16::try_from(port).unwrap()));
    sandbox.ok(&["logs", "database"]).says("database | ");

    // The data is still in its volume, and the migration runs again on it.
    sandbox.ok(&["start"]);
    assert_eq!(query("SELECT count(*) FROM visit"), "1");
    sandbox.ok(&["stop", "--all"]);
    assert_gone(&sandbox);
}

#[test]
fn what_was_commissioned_runs() {
    let mut sandbox = DockerSandbox::with_file("commissioned", COMMISSIONED);
    sandbox.set_env("DB_PASSWORD", "hunter2");
    sandbox.ok(&["validate"]);
    // Replaced, because the machine may use them: the image, which is built here, and its ports.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let own = std::process::id();
    let address = format!(
        "127.{}.{}.{}",
        64 + own / 62_500 % 64,
        own / 250 % 250,
        own % 250 + 1
    );
    let name = common::docker::project("commissioned");
    for (from, to) in [
        ("my-application", name.as_str()),
        ("postgres:15", IMAGE),
        ("- 5432", &format!("- \"{address}:5432:5432\"")),
        ("\"8080\"", &format!("\"{port}\"")),
        ("localhost:8080", &format!("localhost:{port}")),
    ] {
        sandbox.replace("services.yaml", from, to);
    }
    let server = sandbox.write("target/release/api-server", API_SERVER);
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(server, executable).unwrap();

    sandbox.ok(&["start"]);
    for service in ["database", "my-api"] {
        assert_eq!(sandbox.state(service), "running/healthy");
    }
    assert!(get(port.into(), "/health").ends_with("myapp"));
    sandbox
        .ok(&["exec", "database", "--", "pg_isready"])
        .says("accepting connections");
    sandbox.ok(&["logs", "my-api"]).says("my-api | log level info");
    eventually("the server says that it listens", || {
        let logs = sandbox.ok(&["logs", "database"]);
        logs.stdout.contains("ready to accept connections").then_some(())
    });
    sandbox.ok(&["stop", "--all"]);
    assert_gone(&sandbox);
}

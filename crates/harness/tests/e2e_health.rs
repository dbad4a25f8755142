//! Healthy means probed: every kind of check, every condition, against real programs.

#![cfg(test)]

mod common;

use std::time::Duration;

use common::{PATIENCE, Sandbox, eventually};

/// A web server in a few lines. It answers with the content of the file `answer`, and does not answer without that
/// file.
const SERVER: &str = r#"#!/usr/bin/perl
use IO::Socket::INET;
my $server = IO::Socket::INET->new(Listen => 16, LocalAddr => '127.0.0.1', LocalPort => $ARGV[0], ReuseAddr => 1) or die $!;
print STDERR "listening on $ARGV[0]\n";
while (my $client = $server->accept) {
    my $line = <$client>;
    while (defined(my $header = <$client>)) { last if $header =~ /^\r?\n$/ }
    open my $file, '<', 'answer' or do { close $client; next };
    my $status = <$file>;
    chomp $status;
    print $client "HTTP/1.1 $status\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    close $client;
}
"#;

#[test]
fn http_and_tcp_checks_see_a_real_server() {
    let sandbox = Sandbox::with_file(
        "http",
        r#"
version: "1.0"
services:
  web:
    type: process
    binary: perl
    args: [server.pl, "${web.port}"]
    ports: [0]
    health_check: {http: "http://localhost:${web.port}/health", interval: 100ms, retries: 2, timeout: 1}
  port:
    type: process
    binary: perl
    args: [server.pl, "${port.port}"]
    ports: [0]
    health_check: {tcp: "localhost:${port.port}", interval: 100ms}
  user:
    type: process
    binary: sleep
    args: [1000]
    dependencies: [web]
"#,
    );
    sandbox.write("server.pl", SERVER);
    sandbox.write("answer", "503 Not yet\n");
    let start = sandbox.spawn(&["start"]);
    eventually("the answer is told", || {
        let why = sandbox.harness(&["why", "web"]);
        (why.code == Some(0) && why.stdout.contains("503")).then_some(())
    });
    assert_eq!(sandbox.state("user"), "pending/none");
    sandbox.write("answer", "204 Fine\n");
    start.wait(PATIENCE).code(0).says("3/3 up");
    assert_eq!(sandbox.state("web"), "running/healthy");
    assert_eq!(sandbox.state("port"), "running/healthy");

    sandbox.write("answer", "500 Broken\n");
    sandbox.await_state("web", "running/unhealthy");
    let web = sandbox.service("web");
    assert!(web.to_string().contains("500"), "{web}");
    // A wait for it now fails, or times out.
    let wait = sandbox.harness(&["wait", "web", "--timeout", "1"]);
    assert!(matches!(wait.code, Some(17 | 18)), "{wait}");
    sandbox.write("answer", "301 Elsewhere\n");
    sandbox.await_state("web", "running/healthy");
}

#[test]
fn dependents_start_the_moment_their_condition_holds() {
    let sandbox = Sandbox::with_file(
        "conditions",
        r#"
version: "1.0"
services:
  base:
    type: process
    binary: sh
    args:
      - -c
      - |
        await() { while ! test -e "$1"; do sleep 0.02; done; }
        await say; echo "marker 42 is set"; await well; touch is-well; exec sleep 1000
    health_check: {command: "test -e is-well"}
  job:
    type: process
    oneshot: true
    binary: sh
    args: [-c, 'while ! test -e finish; do sleep 0.02; done']
  on-started: &sleeper
    type: process
    binary: sleep
    args: [1000]
    dependencies: [{service: base, condition: started}]
  on-log:
    <<: *sleeper
    dependencies: [{service: base, condition: log, pattern: "marker [0-9]+ is"}]
  on-healthy:
    <<: *sleeper
    dependencies: [base]
  on-completed:
    <<: *sleeper
    dependencies: [job]
  on-nothing:
    <<: *sleeper
    dependencies: [{service: job, condition: none}]
"#,
    );
    let start = sandbox.spawn(&["start"]);
    let up = |names: &[&str]| {
        let names: Vec<&str> = names.to_vec();
        eventually(&format!("{names:?} are up"), || {
            let status = sandbox.harness(&["--json", "status"]);
            let status = (status.code == Some(0)).then(|| status.json())?;
            let services = status["services"].as_array()?;
            let up: Vec<&str> = services
                .iter()
                .filter(|service| service["status"] == "running")
                .filter_map(|service| service["name"].as_str()?.strip_prefix("on-"))
                .collect();
            (up == names).then_some(())
        });
    };
    up(&["nothing", "started"]);
    sandbox.write("say", "");
    up(&["log", "nothing", "started"]);
    sandbox.write("well", "");
    up(&["healthy", "log", "nothing", "started"]);
    sandbox.write("finish", "");
    up(&["completed", "healthy", "log", "nothing", "started"]);
    start.wait(PATIENCE).code(0);
    assert_eq!(sandbox.state("job"), "completed/none");
    sandbox.ok(&["graph"]).says("on-log");
}

#[test]
fn independent_services_start_side_by_side() {
    let sandbox = Sandbox::with_file(
        "parallel",
        r#"
version: "1.0"
services:
  a: &slow
    type: process
    oneshot: true
    binary: sleep
    args: [1]
  b: *slow
  c: *slow
  d: *slow
  e: *slow
  f: *slow
"#,
    );
    let start = sandbox.ok(&["start"]);
    assert!(
        start.elapsed < Duration::from_secs(5),
        "six seconds one after the other\n{start}"
    );
}

#[test]
fn wait_tells_what_will_not_come() {
    let sandbox = Sandbox::with_file(
        "wait",
        r#"
version: "1.0"
services:
  job:
    type: process
    oneshot: true
    binary: sh
    args: [-c, 'while ! test -e finish; do sleep 0.02; done; exit "$(cat finish)"']
"#,
    );
    sandbox.ok(&["start", "-d"]);
    sandbox
        .harness(&["wait", "--for", "completed", "--timeout", "300ms"])
        .code(17);
    let wait = sandbox.spawn(&["wait", "--for", "completed"]);
    let stopped = sandbox.spawn(&["wait", "--for", "stopped"]);
    sandbox.write("finish", "8");
    wait.wait(PATIENCE).code(18).tells("job is failed: exited 8");
    stopped.wait(PATIENCE).code(0);
    sandbox.write("finish", "0");
    sandbox.ok(&["start", "-d"]);
    sandbox.ok(&["wait", "--for", "completed", "job"]);
    sandbox.ok(&["wait", "job"]);

    // Services that are blocked for good, or stopped, are not waited for endlessly.
    sandbox.write("finish", "8");
    sandbox.replace(
        "services.yaml",
        "services:\n",
        "services:\n  app: {type: process, binary: sleep, args: [1000], dependencies: [job]}\n",
    );
    sandbox.replace("services.yaml", "exit \"$(cat", "exit  \"$(cat");
    sandbox.ok(&["start", "-d"]);
    sandbox.harness(&["wait", "app"]).code(18).tells("app is pending");
    sandbox.ok(&["stop", "--all"]);
    sandbox.harness(&["wait", "app"]).code(18).tells("app is stopped");
    sandbox.ok(&["wait", "--for", "stopped"]);
}

#[test]
fn a_log_check_looks_at_this_start_only() {
    let sandbox = Sandbox::with_file(
        "log_check",
        r#"
version: "1.0"
services:
  app:
    type: process
    binary: sh
    args: [-c, 'while ! test -e go; do sleep 0.02; done; printf "listening "; sleep 0.1; echo "on 80" >&2; echo "on 80"; exec sleep 1000']
    health_check: {log: "^listening on 80$"}
"#,
    );
    sandbox.write("go", "");
    sandbox.ok(&["start"]);
    assert_eq!(sandbox.state("app"), "running/healthy");
    // The output of the former instance does not count for the next.
    std::fs::remove_file(sandbox.project().join("go")).unwrap();
    sandbox.harness(&["restart", "--timeout", "700ms"]).code(17);
    assert_eq!(sandbox.state("app"), "starting/starting");
    sandbox.write("go", "");
    sandbox.ok(&["wait"]);
    assert_eq!(sandbox.state("app"), "running/healthy");
}

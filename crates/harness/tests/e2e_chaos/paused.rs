//! The daemon is stopped by SIGSTOP for a while: services do not notice, and the pause does not count against them.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::common::{PATIENCE, Sandbox, eventually, proc};

/// How long the daemon is stopped: longer than every timeout of the services.
const PAUSE: Duration = Duration::from_secs(10);

/// Four services with checks that time out after a second and may fail once, one that counts, one that ends during
/// the pause and must be restarted, and one that is starting.
fn file(port: u16) -> String {
    let checked = "restart: always, startup_timeout: 60";
    let check = "interval: 0.2, timeout: 1, retries: 1";
    format!(
        r#"
version: "1.0"
name: paused
services:
  http:
    type: process
    binary: perl
    args: [serve.pl, "{port}"]
    health_check: {{http: "http://127.0.0.1:{port}/", {check}}}
    {checked_lines}
  tcp:
    type: process
    binary: sleep
    args: [1000]
    health_check: {{tcp: "127.0.0.1:{port}", {check}}}
    dependencies: [http]
    {checked_lines}
  command:
    type: process
    binary: sleep
    args: [1000]
    health_check: {{command: "sleep 0.15", {check}}}
    {checked_lines}
  counter:
    type: process
    binary: sh
    args: [-c, 'i=0; while :; do i=$((i+1)); echo "$i"; echo "$i" > counted; sleep 0.02; done']
    health_check: {{log: "^3$", {check}}}
    {checked_lines}
  crasher:
    type: process
    binary: sh
    args: [-c, 'echo x >> crasher-starts; while ! test -e crash; do sleep 0.02; done; rm crash; exit 3']
    restart: on-failure
  late:
    type: process
    binary: sleep
    args: [1000]
    startup_timeout: 18
    health_check: {{command: "test -e late-ready", timeout: 1, interval: 1}}
"#,
        checked_lines = checked.replace(", ", "\n    "),
    )
}

/// Answers each connection like a slow web server.
const SERVER: &str = r#"
use IO::Socket::INET;
my $server = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => $ARGV[0], Listen => 64, ReuseAddr => 1) or die $!;
while (my $client = $server->accept) {
    my $line = <$client>;
    select(undef, undef, undef, 0.05);
    print $client "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    close $client;
}
"#;

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Stops the daemon and waits until all its threads are stopped.
fn pause(sandbox: &Sandbox) -> u32 {
    let daemon = sandbox.daemon_pid().unwrap();
    proc::signal(daemon, Signal::STOP);
    eventually("the daemon stands still", || {
        let stat = std::fs::read_to_string(format!("/proc/{daemon}/stat")).unwrap();
        stat.contains(") T ").then_some(())
    });
    daemon
}

#[test]
fn services_and_their_checks_survive_a_pause_of_the_daemon() {
    let sandbox = Sandbox::with_file("chaos_paused", &file(free_port()));
    sandbox.write("serve.pl", SERVER);
    sandbox.ok(&["start", "http", "tcp", "command", "counter", "crasher"]);
    sandbox.ok(&["start", "-d", "late"]);
    sandbox.await_state("late", "starting/starting");
    let before = sandbox.pids();
    // More than once, to stop it at different instants of its probes.
    for round in 1..=2_usize {
        let daemon = pause(&sandbox);
        let paused = Instant::now();
        sandbox.write("crash", "");
        // It may be read just while it is written again.
        let counted = || eventually("it counts", || sandbox.read("counted").trim().parse::<u64>().ok());
        let count = counted();
        while paused.elapsed() < PAUSE {
            std::thread::sleep(Duration::from_millis(100));
        }
        assert!(
            counted() > count + 50,
            "services keep running: {} after {count}",
            counted()
        );
        if round == 2 {
            // It was given 18 seconds, and the two pauses do not count.
            sandbox.write("late-ready", "");
        }
        proc::signal(daemon, Signal::CONT);
        eventually("the service that crashed during the pause is restarted", || {
            (sandbox.read("crasher-starts").lines().count() == 1 + round).then_some(())
        });
        for (name, pid) in sandbox.pids() {
            assert!(
                name == "crasher" || before[&name] == pid,
                "{name} was restarted\n{}",
                sandbox.ok(&["events"])
            );
        }
    }
    for name in ["http", "tcp", "command", "counter", "late"] {
        sandbox.await_state(name, "running/healthy");
        assert_eq!(sandbox.service(name)["restarts"], 0, "{name}");
    }
    let events = sandbox.ok(&["events"]);
    assert!(!events.stdout.contains("unhealthy"), "{events}");

    // The log has every line that was written during the pause.
    sandbox.ok(&["stop", "counter"]);
    let logs = sandbox.ok(&["logs", "counter"]);
    let numbers: Vec<u64> = logs
        .stdout
        .lines()
        .map(|line| line.trim_start_matches("counter | ").parse().unwrap())
        .collect();
    let wanted: Vec<u64> = (1..=numbers.len() as u64).collect();
    assert_eq!(numbers, wanted);
    let counted: u64 = sandbox.read("counted").trim().parse().unwrap_or(0);
    assert!(numbers.len() as u64 >= counted, "{} of {counted}", numbers.len());
}

#[test]
fn a_stopped_daemon_is_named_with_what_to_do() {
    let sandbox = Sandbox::with_file(
        "chaos_stopped",
        r#"
version: "1.0"
services:
  api: {type: process, binary: sleep, args: [1000]}
"#,
    );
    sandbox.ok(&["start"]);
    let api = sandbox.pid("api");
    // A command that already runs waits, and gets its answer.
    let daemon = sandbox.daemon_pid().unwrap();
    let script = "echo at it; until [ -e over ]; do sleep 0.05; done; exit 7";
    let waiting = sandbox.spawn(&["exec", "api", "--", "sh", "-c", script]);
    let events = sandbox.spawn(&["events", "-f"]);
    eventually("both are heard", || {
        (waiting.stdout().contains("at it") && !events.stdout().is_empty()).then_some(())
    });
    pause(&sandbox);
    let asked = [
        &["status"][..],
        &["start"],
        &["daemon", "status"],
        &["daemon", "stop"],
        &["daemon", "restart"],
        &["daemon", "start"],
    ];
    let asked: Vec<_> = asked.into_iter().map(|words| sandbox.spawn(words)).collect();
    for client in asked {
        let output = client.wait(Duration::from_secs(30)).code(1);
        output
            .tells(&format!("the daemon (pid {daemon}) is stopped"))
            .tells(&format!("kill -CONT {daemon}"));
    }
    assert!(proc::is_alive(daemon) && proc::is_alive(api));
    // A command that starts shortly before the daemon continues gets its answer.
    let status = sandbox.spawn(&["status"]);
    std::thread::sleep(Duration::from_millis(500));
    proc::signal(daemon, Signal::CONT);
    status.wait(PATIENCE).code(0).says("running");
    assert_eq!(sandbox.pid("api"), api);
    sandbox.write("over", "");
    waiting.wait(PATIENCE).code(7);
    sandbox.ok(&["stop", "--all"]);
    eventually("it hears what happens", || {
        events.stdout().contains("stopped").then_some(())
    });
    events.signal(Signal::TERM);
    events.wait(PATIENCE);
    assert_eq!(sandbox.daemon_pid(), Some(daemon));
}

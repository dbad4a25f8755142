//! After a stop everything is gone: whole trees, with their full grace period, in the reverse order of their start.

#![cfg(test)]

mod common;

use std::time::Duration;

use common::{PATIENCE, Sandbox, eventually, proc};
use rustix::process::Signal;

/// A tree that tries to escape: a child, a grandchild that outlives its parent in its own session, and one that also
/// ignores SIGTERM. Each writes its pid.
const ESCAPEES: &str = r"#!/usr/bin/perl
use POSIX qw(setsid);
$| = 1;
sub note { open my $f, '>', $_[0] or die; print $f $$; close $f; rename $_[0], $_[1] or die; }
for my $stubborn (0, 1) {
    my $child = fork // die;
    if ($child == 0) {
        setsid();
        exit 0 if fork // die;
        $SIG{TERM} = $SIG{HUP} = 'IGNORE' if $stubborn;
        close STDIN; close STDOUT; close STDERR;
        chdir '/';
        %ENV = ();
        note($ARGV[0] . qq{/.e$stubborn}, $ARGV[0] . qq{/escapee$stubborn});
        sleep 1 while 1;
    }
    waitpid $child, 0;
}
if ((fork // die) == 0) { sleep 1 while 1; }
note('.main', 'main');
sleep 1 while 1;
";

fn tree(name: &str, extra: &str) -> Sandbox {
    let sandbox = Sandbox::new(name);
    sandbox.write("escape.pl", ESCAPEES);
    let here = sandbox.project().display().to_string();
    sandbox.write(
        "services.yaml",
        &format!(
            r#"
version: "1.0"
services:
  tree:
    type: process
    binary: perl
    args: [escape.pl, "{here}"]
    shutdown_timeout: 1
    health_check: {{command: "test -e main"}}
{extra}"#
        ),
    );
    sandbox
}

fn escapees(sandbox: &Sandbox) -> Vec<u32> {
    let read = |file| eventually(file, || sandbox.read(file).parse().ok());
    let pids = vec![read("escapee0"), read("escapee1")];
    for pid in &pids {
        assert!(proc::is_alive(*pid), "{pid}");
    }
    pids
}

#[test]
fn escapees_are_gone_after_stop() {
    let sandbox = tree("escapees", "");
    sandbox.ok(&["start"]);
    let pids = escapees(&sandbox);
    let stop = sandbox.ok(&["stop", "--all"]);
    for pid in pids {
        assert!(!proc::is_alive(pid), "{pid} got away\n{stop}");
    }
    assert_eq!(sandbox.processes().len(), 0, "{:?}", sandbox.processes());
    assert_eq!(proc::sockets_below(&sandbox.home()), Vec::<String>::new());
    assert_eq!(sandbox.service("tree")["status"], "stopped");
}

#[test]
fn the_tree_of_a_killed_supervisor_is_found_and_killed() {
    let sandbox = tree("shim_killed", "    restart: on-failure\n");
    sandbox.ok(&["start"]);
    let pids = escapees(&sandbox);
    let main = sandbox.pid("tree");
    for file in ["escapee0", "escapee1", "main"] {
        std::fs::remove_file(sandbox.project().join(file)).unwrap();
    }
    let shim = proc::parent(main).unwrap();
    assert!(proc::command(shim).contains("shim"), "{}", proc::command(shim));
    proc::kill(shim);
    eventually("the policy decided: it runs again", || {
        let service = sandbox.service("tree");
        let pid = service["pid"].as_u64()?;
        (pid != u64::from(main) && service["health"] == "healthy").then_some(())
    });
    for pid in pids.iter().chain(&[main]) {
        assert!(!proc::is_alive(*pid), "{pid} of the dead supervisor lives");
    }
    sandbox.ok(&["events"]).says("supervisor died");
    assert_eq!(sandbox.service("tree")["restarts"], 1);
}

#[test]
fn a_service_gets_the_time_it_needs_and_the_rest_gets_sigkill() {
    let sandbox = Sandbox::with_file(
        "grace",
        r#"
version: "1.0"
services:
  careful:
    type: process
    binary: sh
    args: [-c, 'trap "sleep 2; echo flushed > flushed; exit 0" TERM; touch careful-up; while :; do sleep 0.05; done']
    health_check: {command: "test -e careful-up"}
  deaf:
    type: process
    binary: sh
    args: [-c, 'trap "" TERM; touch deaf-up; while :; do sleep 0.05; done']
    shutdown_timeout: 500ms
    health_check: {command: "test -e deaf-up"}
  polite:
    type: process
    binary: sh
    args: [-c, 'trap "echo int > polite-got; exit 0" INT; touch polite-up; while :; do sleep 0.05; done']
    stop_signal: SIGINT
    health_check: {command: "test -e polite-up"}
"#,
    );
    sandbox.ok(&["start"]);
    let deaf = sandbox.pid("deaf");
    let stop = sandbox.ok(&["stop", "--all"]);
    assert_eq!(sandbox.read("flushed"), "flushed\n", "{stop}");
    assert_eq!(sandbox.read("polite-got"), "int\n", "{stop}");
    assert!(stop.elapsed >= Duration::from_secs(2), "{stop}");
    assert!(
        stop.elapsed < Duration::from_secs(9),
        "nothing needed the full grace period\n{stop}"
    );
    assert!(!proc::is_alive(deaf), "{stop}");
    for name in ["careful", "deaf", "polite"] {
        assert_eq!(sandbox.service(name)["status"], "stopped", "{name}");
    }
    assert_eq!(sandbox.processes().len(), 0, "{:?}", sandbox.processes());
}

/// A chain of three services; each notes when it came up and when it was told to stop.
const ROW: &str = r#"
version: "1.0"
services:
  db: &noting
    type: process
    binary: sh
    args: &script
      - -c
      - |
        trap 'sleep 0.2; echo "down $NAME" >> order; exit 0' TERM
        echo "up $NAME" >> order
        touch "$NAME-up"
        while :; do sleep 0.02; done
    env: {NAME: db}
    health_check: {command: "test -e db-up"}
  api:
    <<: *noting
    env: {NAME: api}
    dependencies: [db]
    health_check: {command: "test -e api-up"}
  web:
    <<: *noting
    env: {NAME: web}
    dependencies: [api]
    health_check: {command: "test -e web-up"}
"#;

#[test]
fn services_stop_in_the_reverse_order_of_their_start() {
    let sandbox = Sandbox::with_file("order", ROW);
    sandbox.ok(&["start"]);
    sandbox.ok(&["stop", "--all"]);
    assert_eq!(
        sandbox.read("order"),
        "up db\nup api\nup web\ndown web\ndown api\ndown db\n"
    );
    // Stopping a stopped service is a success.
    sandbox.ok(&["stop", "--all"]).says("not running before");
    sandbox.ok(&["stop", "db"]);
}

#[test]
fn stopping_one_stops_that_one_and_its_dependent_says_so() {
    let sandbox = Sandbox::with_file("stop_one", ROW);
    sandbox.ok(&["start"]);
    let before = sandbox.pids();
    sandbox.ok(&["stop", "api"]).says("1 service stopped");
    let after = sandbox.status();
    assert_eq!(after["api"]["status"], "stopped");
    assert_eq!(after["db"]["pid"], before["db"]);
    assert_eq!(after["web"]["pid"], before["web"]);
    let error = after["web"]["error"].as_str().unwrap_or_default();
    assert!(error.contains("api"), "{:?}", after["web"]);
    // Starting the dependent also starts what it needs, and nothing else changes.
    sandbox.ok(&["start", "web"]);
    assert_eq!(sandbox.state("api"), "running/healthy");
    assert_eq!(sandbox.pid("db") as u64, before["db"]);
    assert_eq!(sandbox.service("web")["error"], serde_json::Value::Null);
}

#[test]
fn a_stop_during_a_start_wins() {
    let sandbox = Sandbox::with_file(
        "stop_during_start",
        r#"
version: "1.0"
services:
  slow:
    type: process
    binary: sleep
    args: [1000]
    health_check: {command: "test -e never"}
  after:
    type: process
    binary: sh
    args: [-c, 'touch after-ran; sleep 1000']
    dependencies: [slow]
"#,
    );
    let start = sandbox.spawn(&["start"]);
    eventually("slow is starting", || {
        let known = sandbox.harness(&["--json", "status"]);
        (known.code == Some(0) && known.stdout.contains("\"starting\"")).then_some(())
    });
    sandbox.ok(&["stop", "--all"]);
    let start = start.wait(PATIENCE);
    assert_ne!(start.code, Some(0), "{start}");
    assert_eq!(sandbox.processes().len(), 0, "{:?}", sandbox.processes());
    assert!(!sandbox.project().join("after-ran").exists());
}

#[test]
fn a_restart_by_policy_does_not_undo_a_stop() {
    let sandbox = Sandbox::with_file(
        "always",
        r#"
version: "1.0"
services:
  phoenix:
    type: process
    binary: sh
    args: [-c, 'echo run >> runs; exec sleep 1000']
    restart: always
  hopeless:
    type: process
    binary: "false"
    restart: always
"#,
    );
    sandbox.ok(&["start", "phoenix"]);
    sandbox.ok(&["start", "-d"]);
    eventually("hopeless was tried a few times", || {
        (sandbox.service("hopeless")["restarts"].as_u64()? >= 3).then_some(())
    });
    proc::signal(sandbox.pid("phoenix"), Signal::TERM);
    eventually("phoenix ran twice", || {
        (sandbox.read("runs").lines().count() == 2).then_some(())
    });
    sandbox.ok(&["stop", "--all"]);
    assert_eq!(sandbox.service("hopeless")["status"], "stopped");
    assert_eq!(sandbox.service("phoenix")["status"], "stopped");
    assert_eq!(sandbox.processes().len(), 0, "{:?}", sandbox.processes());
    assert_eq!(sandbox.read("runs"), "run\nrun\n");
}

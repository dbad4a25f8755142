//! A type that only this crate knows goes all the way: it is validated, started, probed, logged, described, adopted after
//! the daemon was killed, and stopped.

#![cfg(test)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const FILE: &str = r#"
version: "1.0"
name: clocks
services:
  wall:
    type: clock
    every: 20ms
    say: "${API_TOKEN} on ${web.ip}"
    health_check: {ticks: 3, interval: 50ms}
    hooks: {after_stop: "sh -c 'echo stopped >> hooks.ran'"}
  web: {type: process, binary: sleep, args: ["1000"]}
  late:
    type: process
    binary: sleep
    args: ["1000"]
    dependencies: [wall]
"#;

/// Longer than anything here takes, but still a limit.
const PATIENCE: Duration = Duration::from_secs(60);

/// The programs in a folder of their own, a home and a project.
struct Sandbox(TempDir);

impl Sandbox {
    fn new(file: &str) -> Self {
        let root = tempfile::Builder::new().prefix("hc").tempdir().unwrap();
        fs::create_dir(root.path().join("bin")).unwrap();
        fs::create_dir(root.path().join("project")).unwrap();
        for (name, program) in [
            ("harness", env!("CARGO_BIN_EXE_clock-harness")),
            ("harness-executor-daemon", env!("CARGO_BIN_EXE_clock-daemon")),
            ("harness-shim", env!("CARGO_BIN_EXE_clock-shim")),
        ] {
            fs::copy(program, root.path().join("bin").join(name)).unwrap();
        }
        let sandbox = Self(root);
        sandbox.write(file);
        sandbox
    }

    fn home(&self) -> PathBuf {
        self.0.path().join("home")
    }

    fn write(&self, file: &str) {
        fs::write(self.0.path().join("project/services.yaml"), file).unwrap();
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "what is tested is the program as a user starts it"
    )]
    fn harness(&self, args: &[&str]) -> Output {
        Command::new(self.0.path().join("bin/harness"))
            .args(args)
            .current_dir(self.0.path().join("project"))
            .env("HARNESS_HOME", self.home())
            .env("HARNESS_PORT", "0")
            .env("NO_COLOR", "1")
            .env("API_TOKEN", "quagga-in-the-clock")
            .env("SHORT_TOKEN", "ab")
            .output()
            .unwrap()
    }

    /// Must end with 0; returns what it says on stdout.
    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        let output = self.harness(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Must end with this code; returns what it says on stderr.
    #[track_caller]
    fn fails(&self, args: &[&str], code: i32) -> String {
        let output = self.harness(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn service(&self, name: &str) -> Value {
        let status: Value = serde_json::from_str(&self.ok(&["--json", "status"])).unwrap();
        let services = status["services"].as_array().unwrap();
        let found = services.iter().find(|service| service["name"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {status}")).clone()
    }

    fn daemon(&self) -> Option<u64> {
        let info = fs::read(self.home().join("daemon.json")).ok()?;
        serde_json::from_slice::<Value>(&info).ok()?["pid"].as_u64()
    }

    /// The numbers of the ticks in the log.
    fn ticks(&self) -> Vec<u64> {
        let log = self.ok(&["logs", "wall"]);
        let number = |line: &str| line.rsplit(' ').next()?.parse().ok();
        log.lines().filter_map(number).collect()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.harness(&["daemon", "stop", "--services"]);
    }
}

#[track_caller]
fn eventually(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        sleep(Duration::from_millis(10));
    }
}

fn is_alive(pid: u64) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

fn kill(pid: u64) {
    let raw = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(raw, rustix::process::Signal::KILL).unwrap();
    eventually("the daemon is gone", || !is_alive(pid));
}

#[test]
fn a_clock_is_started_probed_logged_described_adopted_and_stopped() {
    let sandbox = Sandbox::new(FILE);
    assert!(sandbox.ok(&["validate"]).contains("3 services"));
    sandbox.ok(&["start"]);
    let wall = sandbox.service("wall");
    assert_eq!(wall["type"], "clock", "{wall}");
    assert_eq!(wall["status"], "running", "{wall}");
    assert_eq!(wall["health"], "healthy", "{wall}");
    let ticks = sandbox.ticks();
    assert!(ticks.len() >= 3, "{ticks:?}");
    let log = sandbox.ok(&["logs", "wall"]);
    assert!(log.contains("••• on 127.0.0.1 1\n"), "{log}");
    let shown = sandbox.ok(&["service", "show", "wall"]);
    assert!(shown.contains("every        20ms"), "{shown}");
    assert!(shown.contains("health check ticks 3"), "{shown}");
    assert!(!shown.contains("quagga"), "{shown}");
    let refused = sandbox.fails(&["exec", "wall", "--", "true"], 2);
    assert!(refused.contains("no command can run in a clock"), "{refused}");

    let pid = sandbox.daemon().unwrap();
    kill(pid);
    // Meanwhile it goes on: what was missed is written later.
    sandbox.ok(&["daemon", "start"]);
    assert_ne!(sandbox.daemon().unwrap(), pid);
    let wall = sandbox.service("wall");
    assert_eq!(wall["status"], "running", "{wall}");
    assert_eq!(wall["restarts"], 0, "{wall}");
    eventually("it ticks on", || sandbox.ticks().len() > ticks.len() + 10);
    eventually("it is healthy again", || {
        sandbox.service("wall")["health"] == "healthy"
    });
    let ticks = sandbox.ticks();
    let expected: Vec<u64> = (1..=ticks.len() as u64).collect();
    assert_eq!(ticks, expected, "each tick once");
    sandbox.ok(&["start"]);
    assert_eq!(sandbox.ticks()[0], 1, "the same clock goes on");

    sandbox.ok(&["stop", "--all"]);
    assert_eq!(sandbox.service("wall")["status"], "stopped");
    let ran = fs::read_to_string(sandbox.0.path().join("project/hooks.ran"));
    assert_eq!(ran.unwrap(), "stopped\n", "hooks run beside a clock");
    let stopped = sandbox.ticks();
    sandbox.ok(&["daemon", "restart"]);
    assert_eq!(sandbox.ticks(), stopped, "it ticks no more");
}

#[test]
fn mistakes_in_a_clock_are_told_with_their_place() {
    let bad = FILE
        .replace("every: 20ms", "every: 2ms")
        .replace("say:", "sya:")
        .replace("ticks: 3", "ticks: 0");
    let sandbox = Sandbox::new(&bad);
    let said = sandbox.fails(&["validate"], 2);
    for expected in [
        "unknown key `sya`",
        "did you mean `say`?",
        "services.yaml:8:5",
        "`0` is not a whole number from 1 to 1000000",
        "services.yaml:9:27",
    ] {
        assert!(said.contains(expected), "no {expected}\n{said}");
    }
    sandbox.write(
        &FILE
            .replace("every: 20ms", "every: 2ms")
            .replace("    say:", "    tty: true\n    say:"),
    );
    let said = sandbox.fails(&["validate"], 2);
    for expected in [
        "a clock cannot tick as often as that",
        "services.yaml:7:12",
        "write at least `10ms`",
        "a clock service has no `tty`",
    ] {
        assert!(said.contains(expected), "no {expected}\n{said}");
    }
    sandbox.write(&FILE.replace("    every: 20ms\n", ""));
    let said = sandbox.fails(&["validate"], 2);
    assert!(said.contains("the clock service `wall` needs `every`"), "{said}");
    sandbox.write(&FILE.replace("type: clock", "type: clok"));
    let said = sandbox.fails(&["validate"], 2);
    assert!(
        said.contains("unknown type `clok`") && said.contains("did you mean `clock`?"),
        "{said}"
    );
    sandbox.write(&FILE.replace("args: [\"1000\"]}", "args: [\"1000\"], health_check: {ticks: 1}}"));
    let said = sandbox.fails(&["start"], 2);
    assert!(
        said.contains("`ticks` must be a whole number, and the service a clock"),
        "{said}"
    );
}

/// As it does for a variable.
#[test]
fn a_secret_that_cannot_be_hidden_in_output_is_named() {
    let sandbox = Sandbox::new(&FILE.replace("API_TOKEN", "SHORT_TOKEN"));
    let said = sandbox.harness(&["validate"]);
    assert!(said.status.success(), "{said:?}");
    let notes = String::from_utf8(said.stderr).unwrap();
    assert!(notes.contains("the value of say (wall)"), "{notes}");
}

#[test]
fn the_schema_has_the_type() {
    let sandbox = Sandbox::new(FILE);
    let schema: Value = serde_json::from_str(&sandbox.ok(&["schema"])).unwrap();
    let service = &schema["$defs"]["service"]["properties"];
    assert!(
        service["type"].to_string().contains("\"clock\""),
        "{}",
        service["type"]
    );
    assert!(service["every"].to_string().contains("time between two ticks"));
    let check = &schema["$defs"]["health_check"]["properties"];
    assert!(
        check["ticks"].to_string().contains("How often a clock"),
        "{check}"
    );
}

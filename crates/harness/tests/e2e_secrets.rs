//! A secret reaches the services that need it and is visible nowhere else.

#![cfg(test)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use common::{Output, Sandbox, eventually, proc};

/// Values that do not appear anywhere by chance.
const LISTED: &str = "zebra-listed-93417";
const NAMED: &str = "zebra-named-55081";
const REPLACED: &str = "zebra-changed-20466";
const INHERITED: &str = "zebra-inherited-70032";

/// The secrets in all places where they may be: environment, files, the URL of a check, the output of the service
/// itself, and failure messages.
const FILE: &str = r#"
version: "1.0"
name: vault
secrets: [PIN]
services:
  keeper:
    type: process
    binary: sh
    args: [-c, 'echo "my pin is $PIN"; echo "and $API_TOKEN" >&2; exec sleep 1000']
    env:
      PIN: ${PIN}
      API_TOKEN: ${API_TOKEN}
      URL: "postgres://app:${API_TOKEN}@localhost/db"
    files: [{template: keeper.in, target: made/keeper.conf}]
    health_check: {command: [sh, -c, 'test "$PIN" != "" && echo "probed with $PIN"']}
    hooks:
      before_start: [sh, -c, 'echo "hook has $PIN"']
  failing:
    type: process
    binary: sh
    args: [-c, 'echo "cannot log in with $PIN or $LOGIN_PASSWORD" >&2; exit 3']
    env: {PIN: "${PIN}"}
    inherit_env: [LOGIN_PASSWORD]
    restart: {policy: on-failure, max_restarts: 1}
    hooks:
      after_stop: [sh, -c, 'echo "$PIN"; exit 1']
  unhealthy:
    type: process
    binary: sleep
    args: [1000]
    env: {PIN: "${PIN}"}
    startup_timeout: 1
    health_check: {command: [sh, -c, 'echo "no $PIN here" >&2; exit 1']}
"#;

fn all(output: &Output) -> String {
    format!("{}\n{}", output.stdout, output.stderr)
}

#[test]
fn a_secret_is_seen_by_its_services_alone() {
    let mut sandbox = Sandbox::with_file("secrets", FILE);
    sandbox.set_env("PIN", LISTED);
    sandbox.set_env("API_TOKEN", NAMED);
    sandbox.set_env("LOGIN_PASSWORD", INHERITED);
    sandbox.write("keeper.in", "pin=${PIN}\n");
    let mut told = Vec::new();
    let mut run = |sandbox: &Sandbox, args: &[&str]| {
        let output = sandbox.harness(args);
        told.push(format!("`{}`: {}", args.join(" "), all(&output)));
        output
    };
    run(&sandbox, &["validate"]).code(0);
    run(&sandbox, &["start", "--dry-run"]).code(0);
    run(&sandbox, &["start", "--report", "report"]).code(18);
    // It reached its service.
    assert_eq!(sandbox.read("made/keeper.conf"), format!("pin={LISTED}\n"));
    let pid = sandbox.pid("keeper");
    let environ = fs::read(format!("/proc/{pid}/environ")).unwrap();
    assert!(String::from_utf8_lossy(&environ).contains(LISTED));

    for process in proc::mentioning(sandbox.root()) {
        assert!(
            !has_secret(&process.command),
            "argv of pid {}: {}",
            process.pid,
            process.command
        );
    }
    for args in [
        &["start", "keeper"][..],
        &["-v", "status"],
        &["--json", "status"],
        &["events"],
        &["--json", "events"],
        &["events", "--all-projects"],
        &["why", "keeper"],
        &["why", "failing"],
        &["--json", "why", "failing"],
        &["why", "unhealthy"],
        &["service", "show", "keeper"],
        &["--json", "service", "show", "failing"],
        &["service", "list"],
        &["env"],
        &["--json", "env"],
        &["graph"],
        &["--json", "graph"],
        &["logs"],
        &["--json", "logs"],
        &["logs", "-n", "5", "keeper"],
        &["daemon", "status"],
        &["daemon", "logs"],
        &["--json", "start", "failing"],
        &["run", "failing", "--", "true"],
        &["restart", "keeper"],
    ] {
        run(&sandbox, args);
    }
    // A changed secret replaces its services, and is just as hidden as the first.
    sandbox.set_env("PIN", REPLACED);
    let replaced = run(&sandbox, &["start", "keeper"]);
    assert!(all(&replaced).contains("env PIN changed"), "{replaced}");
    run(&sandbox, &["logs"]);
    run(&sandbox, &["events"]);
    run(&sandbox, &["why", "keeper"]);
    let logs = run(&sandbox, &["logs", "keeper"]);
    assert!(
        logs.stdout.contains("my pin is •••"),
        "the lines are there\n{logs}"
    );

    // The next daemon also hides it.
    run(&sandbox, &["daemon", "restart"]).code(0);
    run(&sandbox, &["logs"]);
    run(&sandbox, &["why", "keeper"]);
    run(&sandbox, &["service", "show", "keeper"]);
    run(&sandbox, &["events"]);
    for text in &told {
        assert!(!has_secret(text), "{text}");
    }

    for file in walk(&sandbox.project().join("report")) {
        let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
        assert!(!has_secret(&text), "{}: {text}", file.display());
    }
    let log = fs::read_to_string(sandbox.home().join("logs/daemon.log")).unwrap();
    assert!(!has_secret(&log), "{}", lines_with_secret(&log));

    // Only the owner can read files that contain it, and every folder on the way.
    assert_eq!(mode(&sandbox.home()), 0o700);
    let mut carriers = 0;
    for file in walk(&sandbox.home()) {
        let bytes = fs::read(&file).unwrap_or_default();
        if has_secret(&String::from_utf8_lossy(&bytes)) {
            carriers += 1;
            assert_eq!(mode(&file) & 0o077, 0, "{}", file.display());
        }
    }
    assert!(carriers > 0, "the specs have it");
    assert_eq!(mode(&sandbox.project().join("made/keeper.conf")), 0o600);
}

#[test]
fn an_exec_with_a_secret_shows_it_to_nobody() {
    let sandbox = Sandbox::with_file(
        "exec_secret",
        "version: \"1.0\"\nservices:\n  app: {type: process, binary: sleep, args: [1000]}\n",
    );
    sandbox.ok(&["start"]);
    // With `-e` it is in the CLI's own argv, because the caller put it there; no other argv contains it.
    let pair = format!("MY_PASSWORD={NAMED}");
    let exec = sandbox.spawn(&[
        "exec",
        "-e",
        &pair,
        "app",
        "--",
        "sh",
        "-c",
        "test -n \"$MY_PASSWORD\" && echo has it; exec sleep 1003",
    ]);
    eventually("it runs", || exec.stdout().contains("has it").then_some(()));
    for process in proc::mentioning(sandbox.root()) {
        assert!(
            process.pid == exec.pid() || !has_secret(&process.command),
            "{}",
            process.command
        );
    }
    exec.signal(rustix::process::Signal::TERM);
    exec.wait(common::PATIENCE);
    let log = fs::read_to_string(sandbox.home().join("logs/daemon.log")).unwrap();
    assert!(!has_secret(&log), "{}", lines_with_secret(&log));
}

fn has_secret(text: &str) -> bool {
    [LISTED, NAMED, REPLACED, INHERITED]
        .iter()
        .any(|secret| text.contains(secret))
}

fn lines_with_secret(text: &str) -> String {
    text.lines()
        .filter(|line| has_secret(line))
        .collect::<Vec<_>>()
        .join("\n")
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

/// Every file below a folder.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(walk(&path));
        } else if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            found.push(path);
        }
    }
    found
}

#[test]
fn a_replaced_secret_stays_hidden_in_the_logs_it_left() {
    let file = |token: &str| {
        format!(
            "name: rotated\nservices:\n  api:\n    type: process\n    binary: sh\n    \
             args: [-c, 'echo token is $TOKEN; exec sleep 1000']\n    env: {{TOKEN: {token}}}\n    \
             health_check: {{log: token is}}\n"
        )
    };
    let sandbox = Sandbox::with_file("rotated_secret", &file("first-of-its-kind"));
    sandbox.ok(&["start"]);
    sandbox.write("services.yaml", &file("second-of-its-kind"));
    sandbox.ok(&["start"]).tells("env TOKEN changed");
    let logs = sandbox.ok(&["logs"]);
    assert_eq!(logs.stdout.matches("token is •••").count(), 2, "{logs}");
    // Also with a daemon that never had the first one.
    sandbox.ok(&["daemon", "restart"]);
    let logs = sandbox.ok(&["logs"]);
    assert_eq!(logs.stdout.matches("token is •••").count(), 2, "{logs}");
}

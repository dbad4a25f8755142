//! Services that were chosen once, by a profile or a further file, stay services of their project.

#![cfg(test)]

mod common;

use common::{Sandbox, eventually, proc};

const FILE: &str = r#"
version: "1.0"
name: chosen
services:
  app:
    type: process
    binary: sleep
    args: [1000]
  shell:
    type: process
    binary: sleep
    args: [1000]
    profiles: [debug]
    dependencies: [app]
  tracer:
    type: process
    binary: sleep
    args: [1000]
    profiles: [debug, trace]
  extra:
    type: process
    binary: sleep
    args: [1000]
"#;

const OVERLAY: &str =
    "services:\n  side:\n    type: process\n    binary: sleep\n    args: [1000]\n  app:\n    env: {A: '1'}\n";

fn kill_daemon(sandbox: &Sandbox) {
    let pid = sandbox.daemon_pid().expect("a daemon runs");
    proc::kill(pid);
    eventually("the daemon is gone", || (!proc::is_alive(pid)).then_some(()));
}

/// Whether each service is in the file by `status`, in the order of their names.
fn in_file(sandbox: &Sandbox) -> Vec<(String, bool)> {
    let status = sandbox.status().into_iter();
    status
        .map(|(name, service)| (name, service["in_file"].as_bool().unwrap()))
        .collect()
}

#[test]
fn services_of_a_profile_started_before_are_in_the_file() {
    let sandbox = Sandbox::with_file("profile_kept", FILE);
    sandbox.ok(&["start", "--profile", "debug"]);
    let before = sandbox.pids();
    assert_eq!(before.len(), 4);
    let same = |how: &str| {
        assert_eq!(sandbox.pids(), before, "{how}");
        assert!(in_file(&sandbox).iter().all(|(_, in_file)| *in_file), "{how}");
        let status = sandbox.ok(&["status"]);
        assert!(!status.stdout.contains("not in file"), "{how}: {status}");
    };
    for words in [
        &["start"][..],
        &["start", "--prune"],
        &["start", "app", "--prune"],
        &["start", "--profile", "trace", "--prune"],
        &["start", "-d", "--prune"],
    ] {
        let start = sandbox.ok(words);
        assert!(!start.stderr.contains("no longer in the file"), "{start}");
        same(&words.join(" "));
    }
    // The next daemon knows that as well, with and without the store.
    kill_daemon(&sandbox);
    sandbox.ok(&["start", "--prune"]);
    same("a killed daemon");
    kill_daemon(&sandbox);
    std::fs::remove_file(sandbox.home().join("state")).unwrap();
    same("a lost store");
    sandbox.ok(&["start", "--prune"]);
    same("a start after a lost store");
    // It is found by its name, and the message names its profile.
    let refused = sandbox.harness(&["restart", "shell"]).code(4);
    refused.tells("profile `debug`").tells("--profile debug");
    sandbox.ok(&["stop", "shell"]);
    // A stopped service is waited for only if it is named.
    sandbox.ok(&["start"]);
    sandbox.ok(&["wait"]);
    sandbox.harness(&["wait", "shell"]).code(18);
    // Services that were really removed from the file are reported, and `--prune` removes them, even if a daemon died
    // in between.
    let path = sandbox.project().join("services.yaml");
    let whole = std::fs::read_to_string(&path).unwrap();
    let tracer = whole.find("  tracer:").unwrap();
    std::fs::write(&path, &whole[..tracer]).unwrap();
    let start = sandbox.ok(&["start"]);
    start.tells("no longer in the file: extra, tracer");
    let gone = |name: &str| in_file(&sandbox).contains(&(name.to_owned(), false));
    assert!(gone("tracer") && gone("extra") && !gone("shell"));
    kill_daemon(&sandbox);
    assert!(
        gone("tracer") && gone("extra") && !gone("shell"),
        "{:?}",
        in_file(&sandbox)
    );
    sandbox.ok(&["start", "--prune"]);
    assert_eq!(sandbox.pids().keys().collect::<Vec<_>>(), ["app"]);
}

#[test]
fn one_of_a_profile_that_was_started_by_its_name_is_in_the_file() {
    let sandbox = Sandbox::with_file("profile_by_name", FILE);
    sandbox.ok(&["start", "shell", "--profile", "debug"]);
    let before = sandbox.pids();
    assert_eq!(before.keys().collect::<Vec<_>>(), ["app", "shell"]);
    sandbox.ok(&["start", "app", "--prune"]);
    assert_eq!(sandbox.pids(), before);
    sandbox.ok(&["start", "--prune"]);
    assert_eq!(sandbox.pids().len(), 3);
    assert_eq!(sandbox.pids()["shell"], before["shell"]);
    sandbox
        .harness(&["start", "tracer"])
        .code(4)
        .tells("--profile debug");
    sandbox.ok(&["stop", "--all"]);
    assert!(sandbox.pids().is_empty());
}

#[test]
fn services_of_a_further_file_stay_while_it_is_there() {
    let sandbox = Sandbox::with_file("overlay_kept", FILE);
    sandbox.write("more/over.yaml", OVERLAY);
    sandbox.ok(&["-c", "services.yaml", "-c", "more/over.yaml", "start"]);
    let side = sandbox.pid("side");
    for words in [
        &["start"][..],
        &["start", "--prune"],
        &["start", "extra", "--prune"],
    ] {
        let start = sandbox.ok(words);
        assert!(!start.stderr.contains("no longer in the file"), "{start}");
        assert_eq!(sandbox.pid("side"), side);
        assert_eq!(sandbox.service("side")["in_file"], true);
    }
    // A restart from another folder uses all files of the last start.
    sandbox.ok(&["-c", "services.yaml", "-c", "more/over.yaml", "start"]);
    let restart = sandbox.harness_in(&sandbox.root().join("tmp"), &["-p", "chosen", "restart"]);
    restart.code(0);
    assert_ne!(sandbox.pid("side"), side);
    let side = sandbox.pid("side");
    // A service that was in both files and was removed from one of them.
    sandbox.write(
        "more/over.yaml",
        &OVERLAY.replace("  side:", "  extra: {env: {B: '2'}}\n  side:"),
    );
    sandbox.ok(&["-c", "services.yaml", "-c", "more/over.yaml", "start"]);
    // Moved with its folder, it is still there.
    let (from, to) = (sandbox.project(), sandbox.root().join("moved"));
    std::fs::rename(&from, &to).unwrap();
    sandbox
        .harness_in(&to, &["start", "--prune"])
        .code(0)
        .tells("was moved");
    std::fs::rename(&to, &from).unwrap();
    sandbox.ok(&["start", "--prune"]);
    assert_eq!(sandbox.pid("side"), side);
    // The services of a removed file are no longer in the project.
    std::fs::remove_file(sandbox.project().join("more/over.yaml")).unwrap();
    sandbox.ok(&["start"]).tells("no longer in the file: side");
    assert_eq!(sandbox.service("side")["in_file"], false);
    sandbox.ok(&["start", "--prune"]);
    assert!(!proc::is_alive(side));
}

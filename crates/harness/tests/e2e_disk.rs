//! A home that is full or cannot be written: the error is clear, services keep running, nothing is damaged, and
//! everything continues when there is space again.

#![cfg(test)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use common::disk::SmallDisk;
use common::{Output, PATIENCE, Sandbox, eventually, proc, within};

/// `flood` writes numbered lines for ever; `steady` and `other` just run; `mortal` ends with 7 when it is told to.
const FILE: &str = r#"
version: "1.0"
name: disk
services:
  flood:
    type: process
    binary: sh
    args: [-c, 'n=0; while :; do n=$((n+1)); echo "line $n of the flood"; [ $((n % 500)) -ne 0 ] || sleep 0.05; done']
    logs: {max_size: 60MiB}
  steady:
    type: process
    binary: sleep
    args: [1000]
    env: {SETTING: one}
  other:
    type: process
    binary: sleep
    args: [1001]
    restart: always
  mortal:
    type: process
    binary: sh
    args: [-c, 'until [ -e die ]; do sleep 0.02; done; exit 7']
  late:
    type: process
    binary: sleep
    args: [1002]
    profiles: []
"#;

/// Starts everything except `late`.
const START: [&str; 5] = ["start", "flood", "steady", "other", "mortal"];

/// The files that a failed write may have left.
fn partial_files(home: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![home.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else if name.ends_with(".new") || name.starts_with(".harness-shim") || name == ".room" {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

fn set_aside(home: &Path) -> usize {
    let names = fs::read_dir(home)
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name());
    names
        .filter(|name| name.to_string_lossy().contains(".damaged-"))
        .count()
}

#[track_caller]
fn refused_for_want_of_room(output: Output) {
    output
        .code(1)
        .tells("No space left on device")
        .tells("next: free some space on that disk");
}

#[test]
fn on_a_full_disk_a_daemon_does_not_start_and_says_where_and_what_to_do() {
    let Some(disk) = SmallDisk::new("disk_start", FILE) else {
        return;
    };
    let sandbox = &disk.sandbox;
    let home = sandbox.home();
    disk.fill();
    for args in [&["start"][..], &["daemon", "start"], &["status"]] {
        let output = sandbox.harness(args).tells(home.to_str().unwrap());
        refused_for_want_of_room(output);
    }
    assert_eq!(partial_files(&home), Vec::<String>::new());
    assert_eq!(sandbox.daemon_pid(), None);
    disk.make_room();
    sandbox.ok(&START);
}

#[test]
fn on_a_full_disk_services_run_on_and_can_be_stopped() {
    let Some(disk) = SmallDisk::new("disk_running", FILE) else {
        return;
    };
    let sandbox = &disk.sandbox;
    sandbox.ok(&START);
    let before = sandbox.pids();
    disk.fill();
    // At most the last page of the log has space; whether a note about dropped output fits into it is chance.
    let mut before_that = String::new();
    eventually("the disk is full for the flood too", || {
        disk.fill();
        let logs = sandbox.harness(&["--json", "logs", "flood", "-n", "1"]).stdout;
        let is_full = logs == before_that || logs.contains("dropped_lines");
        before_that = logs;
        is_full.then_some(())
    });
    assert_eq!(sandbox.pids(), before, "services run, and status answers");

    // A launch is refused before anything is stopped for it.
    refused_for_want_of_room(sandbox.harness(&["start", "late"]));
    sandbox.replace("services.yaml", "SETTING: one", "SETTING: two");
    refused_for_want_of_room(sandbox.harness(&["start", "steady"]));
    refused_for_want_of_room(sandbox.harness(&["restart", "other"]));
    assert_eq!(sandbox.pids(), before, "nothing was stopped");
    sandbox.ok(&["exec", "steady", "--", "true"]);

    // The end of a service is noticed, and a stop works.
    sandbox.write("die", "");
    eventually("the end is known", || {
        (sandbox.service("mortal")["exit_code"] == 7).then_some(())
    });
    sandbox.ok(&["stop", "steady"]);
    assert!(!proc::is_alive(u32::try_from(before["steady"]).unwrap()));
    assert_eq!(sandbox.state("steady"), "stopped/none");

    disk.make_room();
    fs::remove_file(sandbox.project().join("die")).unwrap();
    sandbox.ok(&["start"]);
    let after = sandbox.pids();
    assert_eq!(after.len(), 5);
    assert_eq!(
        (after["flood"], after["other"]),
        (before["flood"], before["other"])
    );
    the_flood_is_whole_but_for_what_is_counted(sandbox);
    assert_eq!(set_aside(&sandbox.home()), 0);
    assert_eq!(partial_files(&sandbox.home()), Vec::<String>::new());
    sandbox.ok(&["stop", "--all"]);
    assert_eq!(sandbox.processes().len(), 0, "{:?}", sandbox.processes());
}

/// Every line exists or is counted as dropped, in order.
fn the_flood_is_whole_but_for_what_is_counted(sandbox: &Sandbox) {
    eventually("it is written again", || {
        let last = sandbox.ok(&["--json", "logs", "flood", "-n", "1"]);
        (!last.stdout.contains("dropped_lines")).then_some(())
    });
    let logs = sandbox.ok(&["--json", "logs", "flood"]);
    let (mut expected, mut dropped) = (1, 0);
    for line in logs.stdout.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        if let Some(lines) = line["dropped_lines"].as_u64() {
            dropped += lines;
            expected += lines;
            continue;
        }
        let text = line["line"].as_str().unwrap();
        let number = text
            .split(' ')
            .nth(1)
            .and_then(|number| number.parse::<u64>().ok());
        // A line that was partly dropped does not count.
        if line["partial"] == false && text.starts_with("line ") && text.ends_with(" of the flood") {
            let number = number.unwrap();
            assert!(
                number.abs_diff(expected) <= dropped.min(3),
                "{text}, but {expected} was next"
            );
            expected = number + 1;
        }
    }
    assert!(dropped > 0, "the disk was not full");
}

#[test]
fn a_crash_loop_on_a_full_disk_is_slow_and_ends_with_it() {
    let services = r#"
version: "1.0"
name: loop
services:
  crashing:
    type: process
    binary: sh
    args: [-c, 'echo x >> starts; [ ! -e stay ] || exec sleep 1000; exit 1']
    restart: always
"#;
    let Some(disk) = SmallDisk::new("disk_crash_loop", services) else {
        return;
    };
    let sandbox = &disk.sandbox;
    sandbox.ok(&["start", "-d"]);
    eventually("it crashes", || (sandbox.read("starts").len() > 2).then_some(()));
    disk.fill();
    let daemon = sandbox.daemon_pid().unwrap();
    let (begun, ticks, starts) = (Instant::now(), cpu_ticks(daemon), sandbox.read("starts").len());
    eventually("a restart fails for want of room", || {
        disk.fill();
        let error = sandbox.service("crashing")["error"].to_string();
        (error.contains("No space left") || begun.elapsed() > Duration::from_secs(8)).then_some(())
    });
    let (took, used) = (begun.elapsed(), cpu_ticks(daemon) - ticks);
    let more = (sandbox.read("starts").len() - starts) / 2;
    assert!(more <= 12, "{more} starts within {took:?}");
    // A hundred ticks are a second of one processor. The test requests the status all the time.
    assert!(
        u128::from(used) * 10 < took.as_millis() / 2 + 1_000,
        "{used} ticks of processor time within {took:?}"
    );
    sandbox.write("stay", "");
    disk.make_room();
    within(Duration::from_secs(60), "it runs again", || {
        (sandbox.state("crashing") == "running/none").then_some(())
    });
}

/// Processor time of a process, in hundredths of a second.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = rest.split(' ').collect();
    fields[11..13]
        .iter()
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum()
}

#[test]
fn a_daemon_killed_on_a_full_disk_comes_back_on_it() {
    let Some(disk) = SmallDisk::new("disk_killed", FILE) else {
        return;
    };
    let sandbox = &disk.sandbox;
    sandbox.ok(&START);
    let before = sandbox.pids();
    disk.fill();
    // Recorded although the disk is full: the store has reserved space.
    sandbox.ok(&["stop", "other"]);
    for _ in 0..3 {
        let daemon = sandbox.daemon_pid().unwrap();
        proc::kill(daemon);
        eventually("the daemon is gone", || (!proc::is_alive(daemon)).then_some(()));
        disk.fill();
        let status = sandbox.status();
        for name in ["flood", "steady", "mortal"] {
            assert_eq!(status[name]["pid"], before[name], "{name}");
        }
        assert_eq!(status["other"]["status"], "stopped", "{status:?}");
    }
    sandbox.ok(&["stop", "steady"]);
    sandbox.ok(&["stop", "--all"]);
    assert_eq!(sandbox.processes().len(), 0, "{:?}", sandbox.processes());
    disk.make_room();
    assert_eq!(set_aside(&sandbox.home()), 0);
    assert_eq!(partial_files(&sandbox.home()), Vec::<String>::new());
    sandbox.ok(&["daemon", "restart"]);
    assert_eq!(sandbox.pids().len(), 0, "all stay stopped");
    sandbox.ok(&START);
}

#[test]
fn what_a_killed_write_left_is_cleaned() {
    let sandbox = Sandbox::with_file("disk_partial", FILE);
    sandbox.ok(&["start", "steady"]);
    let daemon = sandbox.daemon_pid().unwrap();
    proc::kill(daemon);
    eventually("the daemon is gone", || (!proc::is_alive(daemon)).then_some(()));
    let home = sandbox.home();
    let service = home.join("projects/disk/steady");
    for left in [
        home.join("daemon.json.new"),
        home.join("tls/server.new"),
        home.join("projects/disk/project.json.new"),
        service.join("record.json.new"),
    ] {
        fs::write(left, "{\"half").unwrap();
    }
    sandbox.status();
    sandbox.replace("services.yaml", "SETTING: one", "SETTING: two");
    sandbox.ok(&["start", "steady"]);
    assert_eq!(sandbox.state("steady"), "running/none");
    let left = partial_files(&home);
    assert!(
        !left.iter().any(|path| path.ends_with("daemon.json.new")),
        "{left:?}"
    );
    assert!(!left.iter().any(|path| path.contains("/projects/")), "{left:?}");
}

#[test]
fn a_read_only_home_is_named_with_the_remedy() {
    let Some(disk) = SmallDisk::new("disk_read_only", FILE) else {
        return;
    };
    let sandbox = &disk.sandbox;
    for begun in [false, true] {
        disk.remount("ro");
        for args in [&["start"][..], &["daemon", "start"]] {
            sandbox
                .harness(args)
                .code(1)
                .tells(sandbox.home().to_str().unwrap())
                .tells("Read-only file system")
                .tells("next: mount it writable");
        }
        sandbox.harness(&["daemon", "status"]).code(3);
        disk.remount("rw");
        if !begun {
            sandbox.ok(&["start", "steady"]);
            sandbox.ok(&["daemon", "stop", "--services"]);
        }
    }
    sandbox.ok(&["start", "steady"]);
}

/// Runs it as `nobody`, because root may do everything.
fn unprivileged(sandbox: &Sandbox, args: &[&str]) -> Output {
    let mut all = vec!["--reuid=65534", "--regid=65534", "--clear-groups"];
    all.push(env!("CARGO_BIN_EXE_harness"));
    all.extend(args);
    sandbox.command("setpriv", &all).wait(PATIENCE)
}

#[test]
fn a_home_that_cannot_be_used_is_named_with_the_remedy() {
    let mut sandbox = Sandbox::with_file("disk_unusable", FILE);
    let tried = unprivileged(&sandbox, &["--version"]);
    if !rustix::process::geteuid().is_root() || tried.code != Some(0) {
        eprintln!(
            "skipped: cannot run harness as another user: {}",
            tried.stderr.trim()
        );
        return;
    }
    let root = sandbox.root().to_owned();
    let place = |name: &str, mode: u32, owner: u32| {
        let path = root.join(name);
        fs::create_dir(&path).unwrap();
        std::os::unix::fs::chown(&path, Some(owner), Some(owner)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let closed = place("closed", 0o000, 65534);
    let foreign = place("foreign", 0o755, 0);
    let hidden = place("hidden", 0o700, 0).join("home");
    let file = place("open", 0o777, 65534).join("file");
    fs::write(&file, "not a folder").unwrap();
    let good = root.join("open/home");
    for (home, words) in [
        (&closed, "Permission denied"),
        (&foreign, "belongs to uid 0, not to you"),
        (&hidden, "Permission denied"),
        (&file, "Not a directory"),
    ] {
        sandbox.set_env("HARNESS_HOME", home.to_str().unwrap());
        for args in [&["start", "steady"][..], &["daemon", "start"], &["status"]] {
            unprivileged(&sandbox, args)
                .code(1)
                .tells(home.to_str().unwrap())
                .tells(words)
                .tells("set HARNESS_HOME to a folder");
        }
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "not a folder");
    // The daemon needs nothing of root: it works with its own home.
    sandbox.set_env("HARNESS_HOME", good.to_str().unwrap());
    unprivileged(&sandbox, &["start", "steady"]).code(0);
    unprivileged(&sandbox, &["status"]).code(0).says("running");
    unprivileged(&sandbox, &["daemon", "stop", "--services"]).code(0);
}

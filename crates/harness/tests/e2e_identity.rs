//! Identity: a pid that now belongs to another process is never taken for ours, whatever the home contains, and
//! neither is another program's port. After a reboot, no old pid is ours.

#![cfg(test)]

mod common;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::{PATIENCE, Running, Sandbox, eventually, proc};

/// Two services that would be restarted, and one that would not; each records its starts.
const FILE: &str = r#"
version: "1.0"
name: who
services:
  api:
    type: process
    binary: sh
    args: [-c, 'echo $$$$ >> api-starts; exec sleep 1000']
    restart: always
  once:
    type: process
    binary: sh
    args: [-c, 'echo $$$$ >> once-starts; exec sleep 1000']
"#;

fn kill_and_wait(pid: u32) {
    proc::kill(pid);
    eventually("it is dead", || (!proc::is_alive(pid)).then_some(()));
}

fn kill_daemon(sandbox: &Sandbox) {
    kill_and_wait(sandbox.daemon_pid().expect("a daemon runs"));
}

/// The newest run directory of a service.
fn run_dir(sandbox: &Sandbox, service: &str) -> PathBuf {
    let service = sandbox.home().join("projects/who").join(service);
    let generation = fs::read_dir(&service)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u64>().ok())
        .max()
        .unwrap();
    service.join(generation.to_string())
}

/// Replaces words in a line of an `identity` file.
fn doctor(sandbox: &Sandbox, service: &str, change: impl Fn(&str, &mut Vec<String>)) {
    let path = run_dir(sandbox, service).join("identity");
    let text = fs::read_to_string(&path).unwrap();
    let lines = text.lines().map(|line| {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let key = words.remove(0);
        change(&key, &mut words);
        format!("{key} {}\n", words.join(" "))
    });
    fs::write(&path, lines.collect::<String>()).unwrap();
}

/// An unrelated process, which leads its own session.
fn stranger(sandbox: &Sandbox) -> Running {
    let stranger = sandbox.command("setsid", &["sleep", "1000"]);
    eventually("the stranger sleeps", || {
        proc::command(stranger.pid()).starts_with("sleep").then_some(())
    });
    stranger
}

/// Kills daemon, shims and services, and makes their pids those of an unrelated process.
fn kill_all_and_give_the_pids_to(sandbox: &Sandbox, stranger: u32) {
    let pids: Vec<u32> = ["api", "once"].iter().map(|name| sandbox.pid(name)).collect();
    kill_daemon(sandbox);
    for pid in pids {
        let shim = proc::parent(pid).unwrap();
        kill_and_wait(shim);
        kill_and_wait(pid);
    }
    for service in ["api", "once"] {
        doctor(sandbox, service, |key, words| {
            if key == "shim" || key == "main" {
                words[0] = stranger.to_string();
            }
        });
    }
}

#[test]
fn a_stranger_with_the_pids_of_ours_is_left_alone() {
    let sandbox = Sandbox::with_file("stranger_pid", FILE);
    sandbox.ok(&["start"]);
    let mut stranger = stranger(&sandbox);
    let old = sandbox.pid("api");
    kill_all_and_give_the_pids_to(&sandbox, stranger.pid());

    // The policy decides for each: one runs again, once; the other is reported with its cause.
    sandbox.await_state("api", "running/none");
    let api = sandbox.pid("api");
    assert!(api != stranger.pid() && api != old, "{api}");
    let once = sandbox.service("once");
    assert_eq!(
        (&once["status"], &once["pid"]),
        (&"failed".into(), &serde_json::Value::Null)
    );
    assert!(
        once["error"].as_str().unwrap().contains("supervisor died"),
        "{once}"
    );
    assert_eq!(sandbox.read("api-starts").lines().count(), 2);
    assert_eq!(sandbox.read("once-starts").lines().count(), 1);
    assert!(!stranger.has_ended());

    sandbox.ok(&["restart", "once"]);
    assert_eq!(sandbox.state("once"), "running/none");
    sandbox.ok(&["stop", "--all"]);
    assert!(!stranger.has_ended());
    // Again, when both are up and the daemon was asked to end everything.
    sandbox.ok(&["start"]);
    kill_all_and_give_the_pids_to(&sandbox, stranger.pid());
    sandbox.ok(&["stop", "--all"]);
    assert_eq!(sandbox.state("api"), "stopped/none");
    sandbox.ok(&["daemon", "stop", "--services"]);
    assert!(!stranger.has_ended(), "{}", proc::command(stranger.pid()));
    let own: Vec<_> = sandbox
        .processes()
        .into_iter()
        .filter(|p| p.pid != stranger.pid())
        .collect();
    assert_eq!(own.len(), 0, "{own:?}");
    stranger.signal(rustix::process::Signal::KILL);
    stranger.wait(PATIENCE);
}

/// The same, but the kernel really assigns the same pids again, in the test's own pid namespace.
#[test]
fn a_pid_that_came_round_is_left_alone() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: a pid namespace needs root");
        return;
    }
    let sandbox = Sandbox::with_file("pid_came_round", FILE);
    let script = sandbox.write(
        "round.sh",
        r#"
set -eu
fail() { echo "FAILED: $*"; exit 1; }
h=$1
pid_of() { "$h" --json status | tr -d ' \n' | sed "s/.*\"name\":\"$1\",//; s/.*\"pid\":\([0-9]*\).*/\1/; s/[^0-9].*//"; }
parent_of() { sed 's/.*) . //; s/ .*//' "/proc/$1/stat"; }
"$h" start >/dev/null 2>&1 || fail start
main=$(cat once-starts)
shim=$(parent_of "$main")
daemon=$(sed 's/.*"pid"://; s/[^0-9].*//' "$HARNESS_HOME/daemon.json")
kill -9 "$daemon" "$shim" "$main" "$(cat api-starts)"
# A child of this shell is reaped when the shell waits for another one.
for pid in "$daemon" "$shim" "$main"; do
  while test -e "/proc/$pid"; do /bin/sleep 0.01; done
done
strangers=
for pid in "$main" "$shim" "$daemon"; do
  while :; do
    echo $((pid - 1)) > /proc/sys/kernel/ns_last_pid
    setsid sleep 1000 &
    test $! = "$pid" && break
    kill -9 $!; wait $! || true
  done
  strangers="$strangers $pid"
done
/bin/sleep 0.1
"$h" daemon status >/dev/null 2>&1 && fail "a stranger passes for the daemon"
"$h" status > status.txt 2>&1 || fail status
"$h" restart once >/dev/null 2>&1 || fail restart
"$h" stop --all >/dev/null 2>&1 || fail stop
"$h" daemon stop --services >/dev/null 2>&1 || fail daemon stop
for pid in $strangers; do
  grep -q '^State:	S' "/proc/$pid/status" || fail "stranger $pid is gone"
  tr '\0' ' ' < "/proc/$pid/cmdline" | grep -q '^sleep 1000' || fail "stranger $pid is somebody else"
done
echo "LIVE$strangers"
"#,
    );
    let harness = env!("CARGO_BIN_EXE_harness");
    let script = script.to_str().unwrap();
    let args = [
        "--pid",
        "--fork",
        "--mount-proc",
        "--kill-child",
        "sh",
        script,
        harness,
    ];
    let output = sandbox.command("unshare", &args).wait(PATIENCE);
    if output.stderr.contains("unshare failed") {
        eprintln!("skipped: no pid namespace is to be had here");
        return;
    }
    let output = output.says("LIVE").code(0);
    let status = sandbox.read("status.txt");
    assert!(status.contains("supervisor died"), "{status}\n{output}");
    assert_eq!(sandbox.read("once-starts").lines().count(), 2, "{status}");
}

#[test]
fn whatever_lies_in_the_place_of_daemon_json_no_stranger_is_believed() {
    let sandbox = Sandbox::with_file("stale_info", FILE);
    sandbox.ok(&["start", "once"]);
    let once = sandbox.pid("once");
    let path = sandbox.home().join("daemon.json");
    // One that accepts and stays silent, and one that closes the connection at once.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let rude = TcpListener::bind("127.0.0.1:0").unwrap();
    let rude_port = rude.local_addr().unwrap().port();
    std::thread::spawn(move || while rude.accept().is_ok() {});
    let mut stranger = stranger(&sandbox);
    let whole = fs::read_to_string(&path).unwrap();
    let posing = |port: u16| {
        let mut info: serde_json::Value = serde_json::from_str(&whole).unwrap();
        info["pid"] = stranger.pid().into();
        info["port"] = port.into();
        info.to_string()
    };
    let cases = [
        posing(mute.local_addr().unwrap().port()),
        posing(rude_port),
        String::new(),
        "\0\u{1}garbage".to_owned(),
        whole[..whole.len() / 2].to_owned(),
        r#"{"format": 2, "where": "elsewhere"}"#.to_owned(),
        "[]".to_owned(),
    ];
    for case in &cases {
        kill_daemon(&sandbox);
        fs::write(&path, case).unwrap();
        let began = Instant::now();
        sandbox.harness(&["daemon", "status"]).code(3);
        sandbox.ok(&["daemon", "stop"]).says("no daemon runs");
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{case}: {:?}",
            began.elapsed()
        );
        assert_eq!(sandbox.pid("once"), once, "{case}");
        assert_ne!(sandbox.daemon_pid(), Some(stranger.pid()));
    }
    // Nobody may read it: the next daemon still replaces it.
    kill_daemon(&sandbox);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    assert_eq!(sandbox.pid("once"), once);

    // A folder is not a daemon's file, and is not removed.
    kill_daemon(&sandbox);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    sandbox.harness(&["daemon", "status"]).code(3);
    sandbox
        .harness(&["status"])
        .code(1)
        .tells("daemon.json")
        .tells("Is a directory");
    fs::remove_dir(&path).unwrap();
    assert_eq!(sandbox.pid("once"), once);
    assert!(!stranger.has_ended());
    stranger.signal(rustix::process::Signal::KILL);
    stranger.wait(PATIENCE);
}

#[test]
fn a_daemon_says_again_where_it_is() {
    let sandbox = Sandbox::with_file("said_again", FILE);
    sandbox.ok(&["start", "once"]);
    let (daemon, once) = (sandbox.daemon_pid(), sandbox.pid("once"));
    let path = sandbox.home().join("daemon.json");
    for damage in [None, Some("{"), Some(r#"{"format": 2}"#)] {
        match damage {
            None => fs::remove_file(&path).unwrap(),
            Some(text) => fs::write(&path, text).unwrap(),
        }
        if damage == Some(r#"{"format": 2}"#) {
            let refused = sandbox.harness(&["status"]);
            // Unless the daemon has repaired it in between.
            if refused.code != Some(0) {
                refused
                    .code(1)
                    .tells("daemon.json was written by a newer harness (format 2");
            }
        }
        eventually("it is written again", || {
            (sandbox.daemon_pid() == daemon).then_some(())
        });
        assert_eq!(sandbox.pid("once"), once);
    }
}

const REBOOT: &str = r#"
version: "1.0"
name: who
services:
  db:
    type: process
    binary: sh
    args: [-c, 'echo db >> order; exec sleep 1000']
    restart: always
    health_check: {command: "grep -q db order"}
  api:
    type: process
    binary: sh
    args: [-c, 'echo api >> order; exec sleep 1000']
    restart: unless-stopped
    dependencies: [db]
  rests:
    type: process
    binary: sh
    args: [-c, 'echo rests >> order; exec sleep 1000']
    restart: unless-stopped
  plain:
    type: process
    binary: sh
    args: [-c, 'echo plain >> order; exec sleep 1000']
  retried:
    type: process
    binary: sh
    args: [-c, 'echo retried >> order; exec sleep 1000']
    restart: on-failure
  failed:
    type: process
    binary: sh
    args: [-c, 'sleep 0.5; exit 7']
  batch:
    type: process
    oneshot: true
    binary: sh
    args: [-c, 'echo batch >> order']
"#;

/// As after a reboot: everything is gone at once, and every file has another boot id.
#[test]
fn after_a_reboot_what_was_wanted_runs_again_in_order_and_the_rest_is_reported() {
    let sandbox = Sandbox::with_file("rebooted", REBOOT);
    sandbox.ok(&["start", "-d"]);
    sandbox.await_state("failed", "failed/none");
    sandbox.await_state("batch", "completed/none");
    sandbox.await_state("api", "running/none");
    sandbox.ok(&["stop", "rests"]);
    let before = sandbox.pids();
    assert_eq!(before.len(), 4, "{before:?}");
    let mut doomed = vec![sandbox.daemon_pid().unwrap()];
    for pid in before.values().map(|pid| u32::try_from(*pid).unwrap()) {
        doomed.extend([proc::parent(pid).unwrap(), pid]);
    }
    doomed.iter().for_each(|pid| proc::kill(*pid));
    doomed.iter().for_each(|pid| kill_and_wait(*pid));
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let earlier = "01234567-89ab-4cde-8f01-23456789abcd";
    let mut stranger = stranger(&sandbox);
    for service in ["db", "api", "rests", "plain", "retried", "failed", "batch"] {
        doctor(&sandbox, service, |key, words| {
            if key == "shim" || key == "main" {
                assert_eq!(words[2], boot.trim());
                words[2] = earlier.to_owned();
                // In the new boot, every pid belongs to another process.
                words[0] = stranger.pid().to_string();
            }
        });
    }
    let info = fs::read_to_string(sandbox.home().join("daemon.json")).unwrap();
    fs::write(
        sandbox.home().join("daemon.json"),
        info.replace(boot.trim(), earlier),
    )
    .unwrap();
    let order = sandbox.read("order").lines().count();

    let status = sandbox.status();
    let stopped = |name: &str| (&status[name]["status"], &status[name]["error"]);
    for name in ["plain", "retried"] {
        assert_eq!(
            stopped(name),
            (&"stopped".into(), &"the machine was rebooted".into())
        );
    }
    assert_eq!(status["rests"]["status"], "stopped", "{status:?}");
    assert_eq!(
        (&status["failed"]["status"], &status["failed"]["exit_code"]),
        (&"failed".into(), &7.into())
    );
    assert_eq!(
        (&status["batch"]["status"], &status["batch"]["exit_code"]),
        (&"completed".into(), &0.into())
    );
    sandbox.await_state("db", "running/healthy");
    sandbox.await_state("api", "running/none");
    let again = sandbox.read("order");
    let again: Vec<&str> = again.lines().skip(order).collect();
    assert_eq!(again, ["db", "api"], "each once, dependencies first");
    assert_eq!(sandbox.pids().keys().collect::<Vec<_>>(), ["api", "db"]);
    sandbox.ok(&["events", "plain"]).says("rebooted");

    // A service that was reported as stopped can be started.
    sandbox.ok(&["start", "plain"]);
    assert_eq!(sandbox.state("plain"), "running/none");
    assert!(!stranger.has_ended());
    stranger.signal(rustix::process::Signal::KILL);
    stranger.wait(PATIENCE);
}

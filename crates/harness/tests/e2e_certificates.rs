//! Certificates with the real daemon: almost expired, expired, readable by others, from another time.

#![cfg(test)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use common::{Sandbox, eventually, proc};
use harness_wire::tls::TlsDir;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Leaves are renewed 30 days before their end, which is 365 days after they were made.
const UNTIL_RENEWAL: Duration = Duration::from_secs(335 * 24 * 3600);

const FILE: &str = "version: \"1.0\"\nname: certs\nservices:\n  app:\n    type: process\n    binary: sh\n    \
                    args: [-c, 'n=0; while :; do n=$((n+1)); echo tick $n; sleep 0.1; done']\n";

fn made(sandbox: &Sandbox, at: SystemTime) -> TlsDir {
    fs::create_dir_all(sandbox.home()).unwrap();
    let tls = TlsDir::new(sandbox.home().join("tls"));
    tls.ensure(at).unwrap();
    tls
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_daemon_that_starts_renews_what_is_near_its_end_or_over() {
    for age in [340, 366, 4_000] {
        let sandbox = Sandbox::with_file("certs_start", FILE);
        made(&sandbox, SystemTime::now() - age * DAY);
        sandbox.ok(&["start"]);
        sandbox.ok(&["daemon", "status"]).says("certificate valid for 36");
        let ends = sandbox.json(&["daemon", "status"])["certificate_expires_at"].clone();
        let ends = ends.as_str().expect("an instant is text");
        assert!(ends.starts_with("20") && ends.ends_with("+00:00"), "{ends}");
    }
}

#[test]
fn a_daemon_that_runs_renews_by_itself_and_clients_go_on() {
    let sandbox = Sandbox::with_file("certs_running", FILE);
    let tls = made(
        &sandbox,
        SystemTime::now() - UNTIL_RENEWAL + Duration::from_secs(12),
    );
    let files = ["server.pem", "client.pem"].map(|name| tls.path().join(name));
    let before = files.each_ref().map(|file| fs::read(file).unwrap());
    sandbox.ok(&["start"]);
    let follower = sandbox.spawn(&["logs", "-f", "app"]);
    eventually("it follows", || follower.stdout().contains("tick").then_some(()));
    assert_eq!(
        files.each_ref().map(|file| fs::read(file).unwrap()),
        before,
        "not yet"
    );
    // No client connects in this time: the daemon's own timer renews them.
    eventually("both are renewed", || {
        let now = files.each_ref().map(|file| fs::read(file).unwrap());
        now.iter()
            .zip(&before)
            .all(|(now, before)| now != before)
            .then_some(())
    });
    sandbox.ok(&["daemon", "status"]).says("certificate valid for 36");
    let ticks = follower.stdout().matches("tick").count();
    eventually("the connected client gets further messages", || {
        (follower.stdout().matches("tick").count() > ticks).then_some(())
    });
}

#[test]
fn a_key_that_others_may_read_is_named_with_the_remedy() {
    let sandbox = Sandbox::with_file("certs_exposed", FILE);
    let tls = made(&sandbox, SystemTime::now());
    for name in ["server.key", "client.key", "ca.key"] {
        let key = tls.path().join(name);
        mode(&key, 0o644);
        let remedy = format!("chmod 600 '{}'", key.display());
        sandbox.harness(&["start"]).code(1).tells(&remedy);
        mode(&key, 0o600);
    }
    sandbox.ok(&["start"]);
    let key = tls.path().join("client.key");
    mode(&key, 0o644);
    let remedy = format!("chmod 600 '{}'", key.display());
    sandbox.harness(&["status"]).code(1).tells(&remedy);
    mode(&key, 0o600);
}

#[test]
fn garbage_is_named_and_what_is_missing_or_of_another_key_is_made_anew() {
    let sandbox = Sandbox::with_file("certs_garbage", FILE);
    let tls = made(&sandbox, SystemTime::now());
    for name in ["server.pem", "client.key", "ca.pem"] {
        let file = tls.path().join(name);
        let good = fs::read(&file).unwrap();
        fs::write(&file, "garbage").unwrap();
        sandbox
            .harness(&["start"])
            .code(1)
            .tells(file.to_str().unwrap())
            .tells("is damaged")
            .tells("remove it, and a new one is created");
        fs::write(&file, good).unwrap();
    }
    fs::copy(tls.path().join("client.key"), tls.path().join("server.key")).unwrap();
    fs::remove_file(tls.path().join("client.pem")).unwrap();
    sandbox.ok(&["start"]);
    sandbox.ok(&["status"]).says("running");
}

#[test]
fn certificates_of_another_time_are_told_with_the_clock() {
    let sandbox = Sandbox::with_file("certs_clock", FILE);
    // A clock that is wrong by a day is tolerated, in both directions.
    let tls = made(&sandbox, SystemTime::now() + DAY);
    fs::rename(tls.path().join("ca.key"), sandbox.root().join("ca.key")).unwrap();
    sandbox.ok(&["start"]);
    let (pid, daemon) = (sandbox.pid("app"), sandbox.daemon_pid().unwrap());

    let other = TlsDir::new(sandbox.root().join("other"));
    fs::create_dir(other.path()).unwrap();
    fs::copy(sandbox.root().join("ca.key"), other.path().join("ca.key")).unwrap();
    fs::copy(tls.path().join("ca.pem"), other.path().join("ca.pem")).unwrap();
    for (time, words) in [
        (SystemTime::now() + 5 * DAY, "is not valid yet by the clock"),
        (SystemTime::now() - 400 * DAY, "has expired by the clock"),
    ] {
        let _ = fs::remove_file(other.path().join("client.pem"));
        other.ensure(time).unwrap();
        for name in ["client.pem", "client.key"] {
            fs::copy(other.path().join(name), tls.path().join(name)).unwrap();
        }
        sandbox
            .harness(&["status"])
            .code(1)
            .tells("client.pem")
            .tells(words)
            .tells("make new certificates with")
            .tells(&format!("kill {daemon} && harness daemon start"));
    }
    // The remedy works.
    fs::rename(sandbox.root().join("ca.key"), tls.path().join("ca.key")).unwrap();
    proc::signal(daemon, rustix::process::Signal::TERM);
    eventually("the daemon is gone", || (!proc::is_alive(daemon)).then_some(()));
    sandbox.ok(&["daemon", "start"]);
    assert_eq!(sandbox.pid("app"), pid, "services keep running");

    sandbox.ok(&["daemon", "stop", "--services"]);
    fs::remove_dir_all(tls.path()).unwrap();
    let tls = made(&sandbox, SystemTime::now() + 4 * DAY);
    fs::remove_file(tls.path().join("ca.key")).unwrap();
    sandbox
        .harness(&["start"])
        .code(1)
        .tells("is not valid yet: set this machine's clock");
}

#[test]
fn an_authority_that_has_expired_is_named_with_the_remedy() {
    let sandbox = Sandbox::with_file("certs_authority", FILE);
    // An authority is valid for ten years.
    let long_ago = SystemTime::now() - 4_000 * DAY;
    let tls = made(&sandbox, long_ago);
    let (key, away) = (tls.path().join("ca.key"), sandbox.root().join("ca.key"));
    fs::rename(&key, &away).unwrap();
    let expired = format!(
        "{} has expired by the clock of this machine",
        tls.path().join("ca.pem").display()
    );
    let remedy = format!(
        "{} is missing, which is needed to make a new one: restore it, or remove the whole folder",
        key.display()
    );
    for args in [&["start"][..], &["daemon", "start"], &["status"]] {
        sandbox.harness(args).code(1).tells(&expired).tells(&remedy);
    }
    let by_hand = sandbox.command(env!("CARGO_BIN_EXE_harness-executor-daemon"), &[]);
    by_hand
        .wait(common::PATIENCE)
        .code(1)
        .tells(&expired)
        .tells(&remedy);
    assert_eq!(sandbox.daemon_pid(), None);

    // One remedy: with its key the authority is made again.
    fs::rename(&away, &key).unwrap();
    sandbox.ok(&["start"]);
    let (pid, daemon) = (sandbox.pid("app"), sandbox.daemon_pid().unwrap());

    // The old ones are restored while a daemon runs, for example from a backup.
    let old = TlsDir::new(sandbox.root().join("old"));
    fs::create_dir(old.path()).unwrap();
    fs::copy(&key, old.path().join("ca.key")).unwrap();
    old.ensure(long_ago).unwrap();
    for name in ["ca.pem", "client.pem", "client.key"] {
        fs::copy(old.path().join(name), tls.path().join(name)).unwrap();
    }
    for args in [&["status"][..], &["start"], &["daemon", "stop"]] {
        sandbox
            .harness(args)
            .code(1)
            .tells("client.pem has expired by the clock of this machine")
            .tells(&format!("kill {daemon} && harness daemon start"));
    }
    proc::signal(daemon, rustix::process::Signal::TERM);
    eventually("the daemon is gone", || (!proc::is_alive(daemon)).then_some(()));
    sandbox.ok(&["daemon", "start"]);
    assert_eq!(sandbox.pid("app"), pid, "services keep running");

    // The other remedy: a new authority, unrelated to the first.
    sandbox.ok(&["daemon", "stop"]);
    fs::remove_dir_all(tls.path()).unwrap();
    made(&sandbox, long_ago);
    fs::remove_file(&key).unwrap();
    sandbox.harness(&["status"]).code(1).tells(&remedy);
    fs::remove_dir_all(tls.path()).unwrap();
    assert_eq!(sandbox.pid("app"), pid, "services keep running");
}

/// The clock was years ahead when certificates were renewed, and is then corrected.
#[test]
fn a_clock_that_was_ahead_locks_nobody_out_when_it_is_set_right() {
    for years in [1, 2, 11] {
        let sandbox = Sandbox::with_file(&format!("certs_ahead_{years}"), FILE);
        made(&sandbox, SystemTime::now());
        let tls = made(&sandbox, SystemTime::now() + years * 366 * DAY);
        let renewed = fs::read(tls.path().join("client.pem")).unwrap();
        sandbox.ok(&["start"]);
        sandbox.ok(&["status"]);
        assert_eq!(
            fs::read(tls.path().join("client.pem")).unwrap(),
            renewed,
            "it is good as it is"
        );
    }
}

//! Homes that earlier versions wrote: today's daemon reads them, and loses nothing in them.
//!
//! | file | what |
//! |---|---|
//! | `scene` | the services of a recorded home, and how each of them ends |
//! | `place` | unpacks a recorded home where it was recorded |
//! | `record` | records a home with the programs of a commit, for later versions to read |
//!
//! The homes are in `../fixtures/homes`, each named after the commit whose programs wrote it. Keep them all.

#![cfg(test)]

#[path = "../common/mod.rs"]
mod common;

mod place;
mod record;
mod scene;

use std::fs;
use std::path::Path;

use serde_json::Value;

use common::eventually;
use place::{Recorded, digest, homes};
use scene::{After, FILE, SERVICES, Service};

/// As after a reboot: nothing runs, and the recorded processes are from an earlier boot.
#[test]
fn every_recorded_home_loads_with_all_that_was_in_it() {
    for commit in homes() {
        let home = Recorded::lay_out(&commit);
        is_as_recorded(&home);
        goes_on(&home);
    }
}

/// The services are read again from the files beside the run directories.
#[test]
fn every_recorded_home_loads_without_its_store() {
    for commit in homes() {
        let home = Recorded::lay_out(&commit);
        fs::remove_file(home.home().join("state")).unwrap();
        let status = home.status();
        for service in SERVICES {
            let (is, was) = (status.get(service.name), home.recorded(service.name));
            assert_eq!(is.is_some(), service.was_launched(), "{commit}: {}", service.name);
            let Some(is) = is else { continue };
            if service.after == After::AsItWas {
                for key in ["exit_code", "signal", "restarts", "type"] {
                    assert_eq!(is[key], was[key], "{commit}: {key} of {}", service.name);
                }
            }
            // Without the store, it is unknown whether it should run, but not that it has completed.
            let wanted = if was["status"] == "completed" {
                "completed"
            } else {
                "stopped"
            };
            assert_eq!(is["status"], wanted, "{commit}: {is}");
        }
        logs_are_as_recorded(&home, |service| service.was_launched());
        home.ok(&["start", "web"]);
        home.await_state("web", "running/healthy");
        home.ok(&["stop", "--all"]);
        assert!(home.processes().is_empty(), "{:?}", home.processes());
    }
}

/// As after everything was killed without a reboot: the pids are of this boot, and do not exist.
#[test]
fn every_recorded_home_loads_where_its_supervisors_were_killed() {
    for commit in homes() {
        let home = Recorded::lay_out(&commit);
        home.move_to_this_boot();
        let status = home.status();
        let plain = &status["plain"];
        assert_eq!(plain["status"], "failed", "{commit}: {plain}");
        let why = plain["error"].as_str().unwrap_or_default();
        assert!(why.contains("supervisor died"), "{commit}: {plain}");
        home.await_state("web", "running/healthy");
        logs_are_as_recorded(&home, |_| true);
        home.ok(&["stop", "--all"]);
        assert!(home.processes().is_empty(), "{:?}", home.processes());
    }
}

/// Earlier versions stored little about a project's folder. Even so, nothing that runs is reported as stopped.
#[test]
fn every_recorded_project_goes_with_its_folder() {
    for commit in homes() {
        let home = Recorded::lay_out(&commit);
        home.await_state("web", "running/healthy");
        let (from, to) = (home.project(), home.root().join("moved"));
        fs::rename(&from, &to).unwrap();
        let (file, nameless) = (to.join("services.yaml"), FILE.replace("name: recorded\n", ""));
        assert_ne!(nameless, FILE);
        fs::write(&file, nameless).unwrap();
        for words in [&["stop", "--all"][..], &["status"], &["logs"]] {
            home.harness_in(&to, words).code(3).tells("recorded (");
        }
        fs::write(&file, FILE).unwrap();
        home.harness_in(&to, &["status"])
            .code(0)
            .tells("project `recorded` was moved");
        // Its recorded start refers to the former folder.
        fs::rename(&to, &from).unwrap();
        home.ok(&["status"]).tells("was moved");
        home.await_state("web", "running/healthy");
        home.ok(&["stop", "--all"]);
        assert!(home.processes().is_empty(), "{:?}", home.processes());
    }
}

fn is_as_recorded(home: &Recorded) {
    let commit = &home.commit;
    let status = home.status();
    let names: Vec<&str> = status.keys().map(String::as_str).collect();
    for service in SERVICES {
        assert!(
            names.contains(&service.name),
            "{commit}: {} of {names:?}",
            service.name
        );
        let (is, was) = (&status[service.name], home.recorded(service.name));
        let of = |key: &str| (is[key].clone(), was[key].clone());
        match service.after {
            After::AsItWas => {
                for key in ["status", "exit_code", "signal", "error", "restarts", "type"] {
                    let (is, was) = of(key);
                    assert_eq!(is, was, "{commit}: {key} of {}", service.name);
                }
            }
            After::Rebooted => {
                assert_eq!(is["status"], "stopped", "{commit}: {is}");
                assert_eq!(is["error"], "the machine was rebooted", "{commit}: {is}");
            }
            After::Waits => {
                assert_eq!(is["status"], "pending", "{commit}: {is}");
                assert_eq!(
                    is["error"], "depends on begins, which is stopped",
                    "{commit}: {is}"
                );
            }
            After::RunsAgain(state) => home.await_state(service.name, state),
        }
    }
    logs_are_as_recorded(home, |_| true);
}

/// All lines that a service had logged are there, in order, before those that it logged later.
fn logs_are_as_recorded(home: &Recorded, known: impl Fn(&Service) -> bool) {
    for service in SERVICES.iter().filter(|service| known(service)) {
        let (count, wanted) = home.recorded_log(service.name);
        let logs = home.ok(&["--json", "logs", service.name]).stdout;
        let lines = lines(&logs);
        let (commit, name) = (&home.commit, service.name);
        assert!(
            lines.len() >= count,
            "{commit}: {name} has {} of {count} lines",
            lines.len()
        );
        let is = digest(&lines[..count]);
        assert_eq!(is, wanted, "{commit}: {name} begins with {:?}", lines.first());
    }
}

/// Streams, times and texts of `logs --json`.
fn lines(json: &str) -> Vec<[Value; 4]> {
    let of = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        ["generation", "stream", "time", "line"].map(|key| line[key].clone())
    };
    json.lines()
        .filter(|line| line.contains("\"line\":"))
        .map(of)
        .collect()
}

/// Checks that every verb works with it.
fn goes_on(home: &Recorded) {
    home.ok(&["why", "fails"]).says("exited 3");
    home.ok(&["why", "web"]);
    home.ok(&["service", "show", "web"]);
    home.ok(&["events"]);
    home.ok(&["graph"]);
    let env = home.ok(&["exec", "web", "--", "sh", "-c", "echo \"$GREETING, $API_TOKEN\""]);
    env.says("good day, hush-hush-hush");
    assert_eq!(
        fs::read_to_string(home.project().join("web.conf")).unwrap(),
        "greet 127.0.0.1\n"
    );
    let unmasked = home.ok(&["logs", "web"]).stdout.contains("hush-hush-hush");
    assert!(!unmasked, "{}: a recorded secret is shown", home.commit);

    // Unchanged services are not replaced, and completed ones do not run again.
    let before = home.pid("web");
    let ran = home.read("settings.ran");
    home.ok(&["start", "web", "plain"]);
    assert_eq!(home.pid("web"), before);
    assert_eq!(home.read("settings.ran"), ran);
    home.await_state("plain", "running/none");
    home.ok(&["restart", "web"]);
    home.await_state("web", "running/healthy");
    assert_ne!(home.pid("web"), before);

    // The other project of the home, by its name.
    let other = home.json(&["-p", "other", "status"]);
    assert_eq!(other["project"], "other");
    home.ok(&["-p", "other", "logs", "echo"]).says("an echo");

    home.ok(&["stop", "--all"]);
    home.ok(&["-p", "other", "stop", "--all"]);
    eventually("nothing of it runs", || home.processes().is_empty().then_some(()));
    assert_eq!(home.status()["web"]["status"], "stopped");
    let sockets = common::proc::sockets_below(home.root());
    assert!(sockets.is_empty(), "{sockets:?}");
    // The shim of that version is no longer used.
    let bin = home.home().join("bin");
    let stale = |path: &Path| fs::metadata(path).is_ok_and(|meta| meta.len() == 0);
    let stale: Vec<_> = fs::read_dir(bin)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| stale(path))
        .collect();
    assert!(stale.is_empty(), "{stale:?}");
}

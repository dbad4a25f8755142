//! Homes that are removed, emptied, moved or half removed, with a daemon and without one: nothing is orphaned or
//! doubled, and no unrelated process is touched.

#![cfg(test)]

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{Sandbox, eventually, proc, within};

/// Each notes if another instance of it already runs, and when it is asked to end.
const WITNESS: &str = r#"
name=$1
old=$(cat "w.$name" 2>/dev/null)
test -n "$old" && kill -0 "$old" 2>/dev/null && echo "$name" >> doubles
echo $$ > "w.$name"
trap 'echo "$name" >> asked; exit 0' TERM
while :; do sleep 0.05; done
"#;

const FILE: &str = r#"
version: "1.0"
name: homes
services:
  keeps: {type: process, binary: sh, args: [witness.sh, keeps], restart: always}
  once: {type: process, binary: sh, args: [witness.sh, once]}
"#;

fn sandbox(name: &str) -> Sandbox {
    let sandbox = Sandbox::with_file(name, FILE);
    sandbox.write("witness.sh", WITNESS);
    sandbox.ok(&["start"]);
    eventually("both are up", || {
        ["keeps", "once"]
            .iter()
            .all(|name| !sandbox.read(&format!("w.{name}")).is_empty())
            .then_some(())
    });
    sandbox
}

fn kill_daemon(sandbox: &Sandbox) {
    let pid = sandbox.daemon_pid().expect("a daemon runs");
    proc::kill(pid);
    eventually("the daemon is gone", || (!proc::is_alive(pid)).then_some(()));
}

fn remove(path: &Path) {
    match path.is_dir() {
        true => fs::remove_dir_all(path).unwrap(),
        false => fs::remove_file(path).unwrap(),
    }
}

fn empty(home: &Path) {
    for entry in fs::read_dir(home).unwrap() {
        remove(&entry.unwrap().path());
    }
}

/// Supervisors and witnesses that live.
fn living(sandbox: &Sandbox) -> (usize, usize) {
    let processes = sandbox.processes();
    let shims: Vec<u32> = processes
        .iter()
        .filter(|process| process.command.contains(" supervise "))
        .map(|process| process.pid)
        .collect();
    let witnesses = processes
        .iter()
        .filter(|process| process.command.contains("witness.sh"))
        .filter(|process| proc::parent(process.pid).is_some_and(|parent| shims.contains(&parent)));
    (shims.len(), witnesses.count())
}

fn settles_with(sandbox: &Sandbox, count: usize, what: &str) {
    within(
        Duration::from_secs(40),
        &format!("{what}: {count} of each live"),
        || (living(sandbox) == (count, count)).then_some(()),
    );
    assert_eq!(sandbox.read("doubles"), "", "{what}: two at a time");
}

#[test]
fn what_is_lost_without_a_daemon_doubles_and_strands_nothing() {
    let lost: [&[&str]; 8] = [
        &[""],
        &["*"],
        &["projects"],
        &["state", "projects"],
        &["projects/homes"],
        &["projects/homes/keeps"],
        &["projects/homes/keeps/1", "projects/homes/once/1"],
        &["state", "projects/homes/keeps/1", "projects/homes/project.json"],
    ];
    for paths in lost {
        let what = format!("{paths:?}");
        let sandbox = sandbox("home_lost");
        let before = sandbox.pids();
        kill_daemon(&sandbox);
        for path in paths {
            match *path {
                "*" => empty(&sandbox.home()),
                path => remove(&sandbox.home().join(path)),
            }
        }
        let mut stranger = sandbox.command(
            "sh",
            &[
                "-c",
                "exec sleep 1000",
                "supervise",
                sandbox.home().to_str().unwrap(),
            ],
        );
        // Services without a restart policy are started by this, when what was left is gone.
        sandbox.ok(&["start"]);
        settles_with(&sandbox, 2, &what);
        assert_ne!(sandbox.pids()["keeps"], before["keeps"], "{what}");
        assert!(
            sandbox.read("asked").contains("keeps"),
            "{what}: it was asked to end"
        );
        let log = sandbox.ok(&["daemon", "logs", "-n", "1000"]);
        assert!(
            log.stdout.contains("gone") || log.stdout.contains("lost its run directory"),
            "{log}"
        );
        sandbox.ok(&["stop", "--all"]);
        settles_with(&sandbox, 0, &what);
        assert!(!stranger.has_ended(), "{what}: a stranger was ended");
        stranger.signal(rustix::process::Signal::KILL);
        stranger.wait(common::PATIENCE);
    }
}

#[test]
fn a_lost_file_of_a_run_is_done_without() {
    for file in ["lock", "identity", "control.sock", "shim.err"] {
        let sandbox = sandbox("home_file");
        let before = sandbox.pids();
        kill_daemon(&sandbox);
        let path = sandbox.home().join("projects/homes/keeps/1").join(file);
        if path.exists() {
            remove(&path);
        }
        sandbox.ok(&["start"]);
        assert_eq!(sandbox.pids(), before, "{file}");
        settles_with(&sandbox, 2, file);
        sandbox.ok(&["stop", "--all"]);
        settles_with(&sandbox, 0, file);
        assert_eq!(sandbox.read("asked").lines().count(), 2, "{file}");
    }
}

#[test]
fn a_home_that_is_emptied_under_its_daemon_is_stopped() {
    for how in [
        "rm -rf H/*",
        "rm -rf H/daemon.lock; sleep 0.3; rm -rf H/projects H/state",
        "find H -mindepth 1 -delete",
    ] {
        let sandbox = sandbox("home_emptied");
        let daemon = sandbox.daemon_pid().unwrap();
        let script = how.replace('H', sandbox.home().to_str().unwrap());
        sandbox.command("sh", &["-c", &script]).wait(common::PATIENCE);
        within(Duration::from_secs(60), "the daemon ends", || {
            (!proc::is_alive(daemon)).then_some(())
        });
        let left = sandbox.processes();
        assert!(left.is_empty(), "{how}: {left:?}");
        let mut asked: Vec<String> = sandbox.read("asked").lines().map(str::to_owned).collect();
        asked.sort();
        assert_eq!(asked, ["keeps", "once"], "{how}: asked to, and not killed");
        sandbox.ok(&["start"]);
        settles_with(&sandbox, 2, how);
    }
}

#[test]
fn an_emptied_home_and_the_next_daemon_at_once_double_nothing() {
    let sandbox = sandbox("home_at_once");
    for how in ["emptied", "removed", "moved"] {
        match how {
            "emptied" => empty(&sandbox.home()),
            "removed" => remove(&sandbox.home()),
            _ => fs::rename(sandbox.home(), sandbox.root().join("moved")).unwrap(),
        }
        // The former daemon may not have noticed yet, and a command may reach it while it ends.
        eventually("the next daemon starts them", || {
            (sandbox.harness(&["start"]).code == Some(0)).then_some(())
        });
        settles_with(&sandbox, 2, how);
    }
}

#[test]
fn a_run_directory_that_is_removed_under_the_daemon_ends_its_service_and_the_policy_decides() {
    for path in ["projects/homes/keeps/1", "projects"] {
        let sandbox = sandbox("home_run_dir");
        let (before, daemon) = (sandbox.pids(), sandbox.daemon_pid());
        remove(&sandbox.home().join(path));
        eventually("it runs anew", || {
            let pids = sandbox.pids();
            pids.get("keeps")
                .is_some_and(|pid| *pid != before["keeps"])
                .then_some(())
        });
        assert_eq!(sandbox.daemon_pid(), daemon);
        assert!(sandbox.read("asked").contains("keeps"), "{path}");
        if path == "projects" {
            sandbox.await_state("once", "failed/none");
            let error = sandbox.service("once")["error"].to_string();
            assert!(error.contains("its run directory was removed"), "{error}");
        }
        settles_with(&sandbox, if path == "projects" { 1 } else { 2 }, path);
    }
}

#[test]
fn a_home_by_another_name_has_the_same_services() {
    let mut sandbox = sandbox("home_names");
    let before = sandbox.pids();
    let (home, link, moved) = (
        sandbox.home(),
        sandbox.root().join("link"),
        sandbox.root().join("moved"),
    );
    symlink(&home, &link).unwrap();
    kill_daemon(&sandbox);
    sandbox.set_env("HARNESS_HOME", link.to_str().unwrap());
    sandbox.ok(&["start"]);
    assert_eq!(sandbox.pids(), before, "through a link");
    kill_daemon(&sandbox);
    fs::rename(&home, &moved).unwrap();
    sandbox.set_env("HARNESS_HOME", moved.to_str().unwrap());
    sandbox.ok(&["start"]);
    assert_eq!(sandbox.pids(), before, "moved");
    settles_with(&sandbox, 2, "moved");
    // A daemon in the old place does not touch the services that the one in the new place has.
    sandbox.set_env("HARNESS_HOME", home.to_str().unwrap());
    sandbox.ok(&["daemon", "start"]);
    sandbox.ok(&["daemon", "stop"]);
    sandbox.set_env("HARNESS_HOME", moved.to_str().unwrap());
    assert_eq!(sandbox.pids(), before);
    sandbox.ok(&["daemon", "stop", "--services"]);
    settles_with(&sandbox, 0, "stopped");
    sandbox.set_env("HARNESS_HOME", home.to_str().unwrap());
}

#[test]
fn a_held_supervisor_is_killed_by_a_stop() {
    let sandbox = sandbox("home_held");
    let shim = proc::parent(sandbox.pid("keeps")).unwrap();
    proc::signal(shim, rustix::process::Signal::STOP);
    sandbox.ok(&["stop", "--all"]);
    settles_with(&sandbox, 0, "a held supervisor");
}

/// The cgroups that a daemon made for these processes; none if it may not make any.
fn cgroups(sandbox: &Sandbox) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for pid in sandbox.pids().values() {
        let of_it = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let path = of_it.lines().find_map(|line| line.strip_prefix("0::/"));
        let Some(path) = path.filter(|path| path.contains("harness-")) else {
            continue;
        };
        let mounts = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
        found.extend(
            mounts
                .map(|mount| Path::new(mount).join(path))
                .into_iter()
                .filter(|path| path.is_dir()),
        );
    }
    found
}

#[test]
fn no_empty_cgroup_stays_behind() {
    type Way = fn(&Sandbox);
    let ways: [(&str, Way); 5] = [
        ("stopped", |sandbox| {
            sandbox.ok(&["stop", "--all"]);
        }),
        ("killed", |sandbox| {
            sandbox.ok(&["stop", "keeps"]);
            proc::kill(sandbox.pid("once"));
        }),
        ("killed with its supervisor and its daemon", |sandbox| {
            let shims: Vec<u32> = sandbox
                .processes()
                .iter()
                .filter(|process| process.command.contains(" supervise "))
                .map(|process| process.pid)
                .collect();
            kill_daemon(sandbox);
            shims.into_iter().for_each(proc::kill);
            sandbox.ok(&["stop", "--all"]);
        }),
        ("emptied without a daemon", |sandbox| {
            kill_daemon(sandbox);
            empty(&sandbox.home());
            sandbox.ok(&["daemon", "start"]);
        }),
        ("without its run directories", |sandbox| {
            kill_daemon(sandbox);
            remove(&sandbox.home().join("projects"));
            sandbox.ok(&["stop", "--all"]);
        }),
    ];
    for (what, end) in ways {
        let sandbox = sandbox("home_cgroups");
        let made = cgroups(&sandbox);
        end(&sandbox);
        within(Duration::from_secs(40), what, || {
            made.iter().all(|cgroup| !cgroup.exists()).then_some(())
        });
    }
}

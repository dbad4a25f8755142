//! Many launches must leave nothing in this process. This test is alone in its binary, because it counts.
//! `HARNESS_SOAK=1` makes twenty times as many launches.

#![cfg(test)]

use std::fs;
use std::time::{Duration, Instant};

use command_executor::Running;
use command_executor::logs::LogFrom;
use command_executor::supervised::Ended;

mod support;
use support::follower::{FollowItem, LogFollower};
use support::*;

/// What the descriptors of this process lead to, except the one that is used to look.
fn descriptors() -> Vec<String> {
    let mut found: Vec<String> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| Some(fs::read_link(entry.unwrap().path()).ok()?.display().to_string()))
        .filter(|target| !target.contains("/fd"))
        .collect();
    found.sort();
    found
}

/// The children of this process, zombies included.
fn children() -> usize {
    let me = std::process::id().to_string();
    let is_mine = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_ascii_whitespace().nth(1));
        parent == Some(me.as_str())
    };
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .filter(is_mine)
        .count()
}

#[test]
fn a_hundred_launches_leave_no_zombie_and_no_descriptor() {
    let dir = tempfile::tempdir().unwrap();
    let launch = |round: usize| {
        let run_dir = dir.path().join(round.to_string());
        let spec = sh_spec(&run_dir, "echo hello; exit 1");
        let service = block_on(start(&host(), &run_dir, &spec)).unwrap();
        let mut log = LogFollower::new(&run_dir, LogFrom::Start).unwrap();
        assert!(matches!(block_on(log.next()).unwrap(), FollowItem::Line(_)));
        // Some are waited for, some are dropped, and some fail to start at all.
        if round.is_multiple_of(2) {
            assert!(matches!(block_on(service.wait()).unwrap(), Ended::Exited(_)));
        }
        let run_dir = dir.path().join(format!("{round}-missing"));
        let mut missing = sh_spec(&run_dir, "");
        missing.program = "/no/such/program".into();
        block_on(start(&host(), &run_dir, &missing)).unwrap_err();
        drop(Running::spawn(sh("sleep 60")).unwrap());
        block_on(run(sh("exit 0")));
    };
    // The reactor, the reaper and the log watch open their descriptors once. A process that still runs when it is
    // detached certainly starts the reaper.
    Running::spawn(sh("sleep 0.2")).unwrap().detach();
    launch(0);
    launch(1);
    eventually("the warm-up is gone", || children() == 0);
    let before = descriptors();
    let factor = if std::env::var_os("HARNESS_SOAK").is_some() {
        20
    } else {
        1
    };
    for round in 2..2 + 100 * factor {
        launch(round);
    }
    eventually("no child is left, not even a zombie", || children() == 0);
    let end = Instant::now() + DEADLINE;
    while descriptors().len() > before.len() {
        assert!(
            Instant::now() < end,
            "before: {before:#?}\nafter: {:#?}",
            descriptors()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

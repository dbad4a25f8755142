//! `examples/quickstart`, as a user sees it who has just built harness.

#![cfg(test)]

mod common;

use common::{Sandbox, eventually};

#[test]
fn the_quickstart_comes_up_works_and_goes() {
    let mut office = Sandbox::with_example("quickstart", "quickstart");
    office.set_env("PAUSE", "0.1");

    let start = office.ok(&["start"]);
    assert!(
        start.stderr.contains("starting one"),
        "nobody was told of the daemon\n{start}"
    );
    assert_eq!(office.state("rooms"), "completed/none");
    assert_eq!(office.state("writer"), "running/healthy");
    assert_eq!(office.state("clerk"), "running/healthy");
    assert!(office.project().join("office/archive").is_dir());

    let filed = |text: &str| text.lines().filter(|line| line.contains("filed: letter")).count();
    eventually("letters are filed", || {
        let logs = office.ok(&["logs", "clerk", "-n", "50"]);
        (filed(&logs.stdout) > 2).then_some(())
    });

    let before = office.pids();
    assert_eq!(before.keys().collect::<Vec<_>>(), ["clerk", "writer"]);
    office.ok(&["start"]);
    assert_eq!(office.pids(), before, "a second start replaced something");

    office.ok(&["stop", "--all"]);
    let left = office.processes();
    assert!(left.is_empty(), "left running: {left:?}");
    assert_eq!(office.state("writer"), "stopped/none");
    office.ok(&["stop", "--all"]);
}

#[test]
fn a_changed_pause_replaces_the_writer_alone() {
    let mut office = Sandbox::with_example("quickstart_change", "quickstart");
    office.ok(&["start"]);
    let before = office.pids();

    office.set_env("PAUSE", "0.2");
    office.ok(&["start"]);

    let after = office.pids();
    assert_ne!(after["writer"], before["writer"]);
    assert_eq!(after["clerk"], before["clerk"]);
}

#[test]
fn the_verbs_of_its_header_work() {
    let office = Sandbox::with_example("quickstart_verbs", "quickstart");
    office.ok(&["validate"]);
    office.ok(&["start"]);
    let status = office.ok(&["status"]);
    for name in ["rooms", "writer", "clerk"] {
        assert!(status.stdout.contains(name), "{status}");
    }
    let follow = office.spawn(&["logs", "-f", "-n", "1"]);
    eventually("logs -f shows a new letter", || {
        follow.stdout().contains("wrote letter").then_some(())
    });
    follow.signal(rustix::process::Signal::TERM);
    office.ok(&["stop", "--all"]);
}

//! A thousand services in one project, and fifty clients that follow them: everything happens in time, once, and at a
//! cost in proportion.

#![cfg(test)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::{PATIENCE, Running, Sandbox, eventually, proc, within};
use rustix::process::Signal;
use serde_json::Value;

const THOUSAND: usize = 1_000;

/// The tests run one after the other, because each uses the whole machine.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Services that note their start, say one line, and sleep.
fn many(count: usize) -> String {
    let mut file = "version: \"1.0\"\nname: load\nservices:\n".to_owned();
    for number in 0..count {
        let script = format!("echo s{number} >> starts; echo I am s{number}; exec sleep 100000");
        writeln!(
            file,
            "  s{number}: {{type: process, binary: sh, args: [-c, '{script}']}}"
        )
        .unwrap();
    }
    file
}

/// A daemon under these limits of open files, soft and hard.
fn daemon_with_open_files(sandbox: &Sandbox, soft: u32, hard: u32) -> u32 {
    let harness = env!("CARGO_BIN_EXE_harness");
    let script = format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec {harness} daemon start");
    sandbox.command("sh", &["-c", &script]).wait(PATIENCE).code(0);
    sandbox.daemon_pid().unwrap()
}

/// The status, with all services in this state.
fn all_are(sandbox: &Sandbox, count: usize, state: &str) {
    let status = sandbox
        .spawn(&["--json", "status"])
        .wait(Duration::from_secs(20))
        .code(0);
    let status = status.json();
    let services = status["services"].as_array().unwrap();
    assert_eq!(services.len(), count);
    for service in services {
        assert_eq!(service["status"], state, "{service}");
    }
}

#[test]
fn a_thousand_services_start_answer_and_stop() {
    let _turn = turn();
    let sandbox = Sandbox::with_file("thousand", &many(THOUSAND));
    let daemon = daemon_with_open_files(&sandbox, 1024, 4096);
    let (files, memory) = (proc::descriptors(daemon), proc::resident(daemon));

    let start = sandbox.spawn(&["start"]).wait(Duration::from_secs(180)).code(0);
    all_are(&sandbox, THOUSAND, "running");
    let per_service = proc::resident(daemon).saturating_sub(memory) / THOUSAND as u64;
    assert!(per_service < 120, "{per_service} KiB for each service");

    let logs = sandbox.spawn(&["logs"]).wait(Duration::from_secs(60)).code(0);
    let said: BTreeSet<&str> = logs.stdout.lines().collect();
    assert_eq!(said.len(), THOUSAND, "{logs}");
    for number in 0..THOUSAND {
        let name = format!("s{number}");
        assert!(
            said.iter().any(|line| {
                let (who, what) = line.split_once(" | ").unwrap();
                who.trim_end() == name && what == format!("I am {name}")
            }),
            "{name} is missing"
        );
    }
    // They have the limit that the daemon was started with, not the one that it set for itself.
    let limit = sandbox.ok(&["exec", "s7", "--", "sh", "-c", "ulimit -Sn; ulimit -Hn"]);
    assert_eq!(limit.stdout, "1024\n4096\n", "{limit}");
    let own = std::fs::read_to_string(format!("/proc/{}/limits", sandbox.pid("s7"))).unwrap();
    let own = own
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .unwrap();
    assert_eq!(
        own.split_whitespace().skip(3).take(2).collect::<Vec<_>>(),
        ["1024", "4096"]
    );

    let stop = sandbox
        .spawn(&["stop", "--all"])
        .wait(Duration::from_secs(120))
        .code(0);
    all_are(&sandbox, THOUSAND, "stopped");
    let starts = sandbox.read("starts");
    let distinct: BTreeSet<&str> = starts.lines().collect();
    assert_eq!((starts.lines().count(), distinct.len()), (THOUSAND, THOUSAND));
    assert!(sandbox.processes().is_empty(), "{:?}", sandbox.processes());
    eventually("every descriptor is given back", || {
        (proc::descriptors(daemon) <= files + 2).then_some(())
    });
    eprintln!(
        "start {:?}, stop {:?}, {per_service} KiB a service",
        start.elapsed, stop.elapsed
    );
}

#[test]
fn a_daemon_without_room_says_what_to_raise_and_still_answers() {
    let _turn = turn();
    let sandbox = Sandbox::with_file("no_room", &many(140));
    daemon_with_open_files(&sandbox, 64, 256);
    let start = sandbox.harness(&["start"]).code(18);
    let told = format!("{}{}", start.stdout, start.stderr);
    assert!(told.contains("256 files open (RLIMIT_NOFILE)"), "{start}");
    assert!(told.contains("64 services"), "{start}");
    let status = sandbox.status();
    let running = status
        .values()
        .filter(|service| service["status"] == "running")
        .count();
    assert_eq!(running, 64);
    // When one has gone, another one fits.
    let failed = status
        .iter()
        .find(|(_, service)| service["status"] == "failed")
        .unwrap()
        .0;
    let up = status
        .iter()
        .find(|(_, service)| service["status"] == "running")
        .unwrap()
        .0;
    sandbox.ok(&["stop", up]);
    sandbox.ok(&["start", failed]);
    sandbox.ok(&["stop", "--all"]);
}

/// The CPU ticks of the daemon, and of the supervisors that ended, for each step with this many services.
fn cost(count: usize) -> BTreeMap<&'static str, u64> {
    let sandbox = Sandbox::with_file(&format!("cost_{count}"), &many(count));
    sandbox.ok(&["daemon", "start"]);
    let daemon = sandbox.daemon_pid().unwrap();
    let mut ticks = BTreeMap::new();
    let steps: [(&str, &[&str]); 6] = [
        ("start", &["start"]),
        ("start of what runs", &["start"]),
        ("status", &["--json", "status"]),
        ("logs", &["logs"]),
        ("events", &["--json", "events"]),
        ("stop", &["stop", "--all"]),
    ];
    for (name, args) in steps {
        let before = proc::cpu_ticks(daemon);
        sandbox.spawn(args).wait(Duration::from_secs(180)).code(0);
        ticks.insert(name, proc::cpu_ticks(daemon) - before);
    }
    ticks
}

#[test]
fn what_is_done_costs_in_proportion_to_the_services() {
    let _turn = turn();
    let (few, many) = (cost(150), cost(600));
    eprintln!("150 services: {few:?}\n600 services: {many:?}");
    for (step, ticks) in &many {
        // Four times as much is linear, sixteen times is quadratic. Small steps cannot be measured exactly.
        let most = 9 * few[step] + 30;
        assert!(
            *ticks <= most,
            "{step}: {ticks} ticks for 600 services, {} for 150",
            few[step]
        );
    }
}

const LINES: usize = 2_000;
const RESTARTS: usize = 4;

/// One service that prints numbered lines and ends, again and again, and one that crashes at once, just as often.
fn flooding() -> String {
    let flood = "until [ -e go ]; do echo ready; sleep 0.05; done; n=$(cat n 2>/dev/null || echo 1); \
                 echo $((n + 1)) > n; i=1; while [ $i -le LINES ]; do echo $n $i; i=$((i + 1)); done; exit 3"
        .replace("LINES", &LINES.to_string());
    format!(
        "version: \"1.0\"\nname: follow\nservices:\n  \
         flood: {{type: process, binary: sh, args: [-c, '{flood}'], restart: {{policy: on-failure, max_restarts: {RESTARTS}}}}}\n  \
         other: {{type: process, binary: sh, args: [-c, 'until [ -e go ]; do echo ready; sleep 0.05; done; exit 4'], \
         restart: {{policy: on-failure, max_restarts: {RESTARTS}}}}}\n"
    )
}

/// Checks what a follower of `flood` has read: generations from 1, each with the lines from 1, none missing or mixed.
fn follows_everything(follower: &Running) {
    let text = follower.stdout();
    let lines: Vec<&str> = text
        .lines()
        .map(|line| line.split_once(" | ").unwrap_or_else(|| panic!("`{line}`")).1)
        .filter(|line| *line != "ready")
        .collect();
    let wanted = (1..=RESTARTS + 1).flat_map(|generation| (1..=LINES).map(move |line| (generation, line)));
    let mut found = lines.iter();
    for (generation, line) in wanted {
        let next = found.next().copied().unwrap_or("the end");
        assert_eq!(next, format!("{generation} {line}"));
    }
    assert_eq!(found.next(), None);
    assert_eq!(follower.stderr(), "", "no gap is reported");
}

/// The changes that a follower received have consecutive numbers.
fn events_are_consecutive(follower: &Running) -> usize {
    let text = follower.stdout();
    let mut last = None;
    let mut count = 0;
    for line in text.lines() {
        let change: Value = serde_json::from_str(line).unwrap();
        let sequence = change["sequence"].as_u64().unwrap_or_else(|| panic!("{line}"));
        if let Some(last) = last {
            assert_eq!(sequence, last + 1, "{line}");
        }
        last = Some(sequence);
        count += 1;
    }
    count
}

#[test]
fn fifty_followers_of_a_project_that_restarts_and_floods_miss_nothing() {
    let _turn = turn();
    let sandbox = Sandbox::with_file("followers", &flooding());
    sandbox.ok(&["start", "-d"]);
    let daemon = sandbox.daemon_pid().unwrap();
    eventually("both run", || {
        let said = sandbox.ok(&["logs"]).stdout;
        (said.contains("flood | ready") && said.contains("other | ready")).then_some(())
    });
    let files = proc::descriptors(daemon);
    let logs: Vec<Running> = (0..25).map(|_| sandbox.spawn(&["logs", "-f", "flood"])).collect();
    let events: Vec<Running> = (0..25)
        .map(|_| sandbox.spawn(&["--json", "events", "-f"]))
        .collect();
    for follower in logs.iter().chain(&events) {
        eventually("every follower follows", || {
            (!follower.stdout().is_empty()).then_some(())
        });
    }
    sandbox.write("go", "");

    sandbox.await_state("flood", "failed/none");
    sandbox.await_state("other", "failed/none");
    let end = format!("flood | {} {LINES}\n", RESTARTS + 1);
    for follower in &logs {
        within(PATIENCE, "the last line is told", || {
            follower.stdout().ends_with(&end).then_some(())
        });
        follows_everything(follower);
    }
    let all = sandbox.ok(&["--json", "events"]).stdout.lines().count();
    for follower in &events {
        within(PATIENCE, "the last event is told", || {
            (follower.stdout().lines().count() == all).then_some(())
        });
        assert_eq!(events_are_consecutive(follower), all);
    }
    for follower in logs.into_iter().chain(events) {
        follower.signal(Signal::TERM);
        follower.wait(PATIENCE);
    }
    eventually("every descriptor is given back", || {
        (proc::descriptors(daemon) <= files + 2).then_some(())
    });
}

//! Command lines are killed during a request or a stream: the daemon forgets them, and accepted requests continue.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::chaos::dice::Dice;
use crate::common::{PATIENCE, Running, Sandbox, eventually, proc};

const FILE: &str = r#"
version: "1.0"
name: clients
services:
  talker:
    type: process
    binary: sh
    args: [-c, 'i=0; while :; do i=$((i+1)); echo "line $i"; sleep 0.02; done']
    stdin: true
  slow:
    type: process
    binary: sh
    args: [-c, 'trap "while ! test -e stop; do sleep 0.02; done; exit 0" TERM; while :; do sleep 0.02; done']
    health_check: {command: "test -e ready"}
    shutdown_timeout: 60
"#;

/// How many descriptors the daemon opens when it first needs them, and keeps: a watch on log files, a signal for its
/// reaper.
const KEPT: usize = 2;

/// The open descriptors of a process.
fn descriptors(pid: u32) -> usize {
    open_files(pid).len()
}

fn open_files(pid: u32) -> Vec<String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    entries
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .map(|target| target.display().to_string())
        .collect()
}

/// Kills a command line with SIGKILL.
fn kill(client: Running) {
    client.signal(Signal::KILL);
    let output = client.wait(PATIENCE);
    assert_eq!(output.code, None, "it was still at work\n{output}");
}

/// Waits until the daemon has no more descriptors open than before.
fn forgotten(daemon: u32, before: usize, who: &str) {
    let deadline = Instant::now() + PATIENCE;
    while descriptors(daemon) > before {
        let open = open_files(daemon);
        assert!(
            Instant::now() < deadline,
            "{who} is not forgotten; instead of {before} descriptors there are {open:#?}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_order_goes_on_without_its_command_line() {
    let sandbox = Sandbox::with_file("chaos_orders_alone", FILE);
    sandbox.ok(&["start", "talker"]);
    let daemon = sandbox.daemon_pid().unwrap();
    let before = descriptors(daemon);

    let start = sandbox.spawn(&["start"]);
    sandbox.await_state("slow", "starting/starting");
    kill(start);
    sandbox.write("ready", "");
    sandbox.await_state("slow", "running/healthy");

    let waiting = sandbox.spawn(&["wait", "--for", "stopped"]);
    let stop = sandbox.spawn(&["stop", "--all"]);
    eventually("slow is stopping", || {
        (sandbox.service("slow")["status"] == "stopping").then_some(())
    });
    kill(waiting);
    kill(stop);
    sandbox.write("stop", "");
    sandbox.await_state("slow", "stopped/none");
    sandbox.await_state("talker", "stopped/none");
    assert_eq!(sandbox.processes().len(), 0, "{:?}", sandbox.processes());
    forgotten(daemon, before + KEPT, "every command line");
    assert_eq!(sandbox.daemon_pid(), Some(daemon));
}

#[test]
fn a_command_ends_with_the_command_line_that_ran_it() {
    let sandbox = Sandbox::with_file("chaos_exec", FILE);
    sandbox.ok(&["start", "talker"]);
    let daemon = sandbox.daemon_pid().unwrap();
    let before = descriptors(daemon);
    let at_work = || {
        let processes = sandbox.processes();
        let of_it = |process: &&proc::Process| process.command.starts_with("sleep 6000");
        processes.iter().filter(of_it).count()
    };
    let script = "sleep 60001 & sleep 60002 & echo begun; wait";
    let typed = ["exec", "-i", "talker", "--", "sh", "-c", script];
    let quiet = [
        "exec",
        "talker",
        "--",
        "sh",
        "-c",
        "sleep 60001 & exec sleep 60002",
    ];
    // Nobody reads its output when it ends.
    let flood = [
        "exec",
        "talker",
        "--",
        "sh",
        "-c",
        "sleep 60001 & sleep 60002 & yes",
    ];
    let killed_at_work = |words: &[&str]| {
        let client = sandbox.spawn(words);
        eventually("the command runs", || (at_work() == 2).then_some(()));
        kill(client);
        eventually("the command is gone", || (at_work() == 0).then_some(()));
    };
    killed_at_work(&quiet);
    forgotten(daemon, before + KEPT, "the first command line");
    for words in [&typed[..], &quiet, &flood] {
        killed_at_work(words);
        forgotten(daemon, before + KEPT, &words.join(" "));
    }
    assert_eq!(sandbox.state("talker"), "running/none");
}

#[test]
fn streams_without_a_reader_are_forgotten() {
    let mut dice = Dice::new("chaos_streams");
    let sandbox = Sandbox::with_file("chaos_streams", FILE);
    sandbox.ok(&["start", "talker"]);
    let daemon = sandbox.daemon_pid().unwrap();
    let talker = sandbox.pid("talker");
    let streams = [
        &["logs", "-f"][..],
        &["events", "-f"],
        &["attach", "talker"],
        &["attach", "--no-stdin", "talker"],
    ];
    let before = descriptors(daemon) + KEPT;
    for round in 0..4 {
        let mut clients: Vec<Running> = (0..12).map(|_| sandbox.spawn(dice.pick(&streams))).collect();
        if round == 0 {
            eventually("all are connected", || {
                (descriptors(daemon) >= before - KEPT + clients.len()).then_some(())
            });
        } else {
            // Some are still in their handshake.
            dice.wait(Duration::from_millis(400));
        }
        // Some are suspended when they are killed, with much unread data.
        for client in clients.iter().step_by(2) {
            client.signal(Signal::STOP);
        }
        dice.wait(Duration::from_millis(200));
        while let Some(client) = clients.pop() {
            client.signal(Signal::KILL);
            client.wait(PATIENCE);
        }
        forgotten(daemon, before, "every reader");
    }
    assert_eq!(sandbox.pid("talker"), talker);
    assert_eq!(sandbox.daemon_pid(), Some(daemon));
}

//! Today's programs replace those of an earlier version while services run, at any instant. Services, their logs and
//! exit codes, and running requests continue; the probes, hooks and execs of the earlier daemon end with it.
//! `HARNESS_EARLIER` names the folder of the earlier programs, which `cargo xtask soak` builds from history. Without
//! it, today's programs replace themselves. `HARNESS_CHAOS_SEED` and `HARNESS_CHAOS_ROUNDS` are those of `e2e_chaos`.

#![cfg(test)]

#[path = "../common/mod.rs"]
mod common;

#[path = "../chaos/dice.rs"]
mod dice;

mod programs;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::{PATIENCE, Running, Sandbox, eventually, proc};
use dice::Dice;
use programs::Programs;

/// One service for each phase in which the daemon may end.
const FILE: &str = r#"
version: "1.0"
name: upgraded
services:
  counter:
    type: process
    binary: sh
    args: [-c, 'echo x >> counter.starts; i=0; while :; do i=$((i+1)); echo "count $i"; sleep 0.01; done']
    restart: always
    health_check: {log: "count 3"}
  talks:
    type: process
    binary: sh
    args: [-c, 'echo x >> talks.starts; while read word; do echo "heard $word"; done']
    stdin: true
  probed:
    type: process
    binary: sh
    args: [-c, 'echo x >> probed.starts; exec sleep 1000']
    health_check:
      command: [sh, -c, 'setsid sleep 70001 & test -e probed.up || { touch probed.up; exit 0; }; exec sleep 70001']
      interval: 100ms
      timeout: 1h
  hooked:
    type: process
    binary: sh
    args: [-c, 'echo x >> hooked.starts; exec sleep 1000']
    hooks: {after_healthy: [sh, -c, 'touch hooked.up; setsid sleep 70002 & exec sleep 70002']}
  never:
    type: process
    binary: sh
    args: [-c, 'echo x >> never.starts; exec sleep 1000']
    health_check: {command: "test -e never.up"}
    startup_timeout: 1h
  after:
    type: process
    binary: sh
    args: [-c, 'echo x >> after.starts; exec sleep 1000']
    dependencies: [never]
  slow:
    type: process
    binary: sh
    args: [-c, 'echo x >> slow.starts; trap "echo x >> slow.stops; while ! test -e go; do sleep 0.02; done; exit 0" TERM; touch slow.up; while :; do sleep 0.02; done']
    health_check: {command: "test -e slow.up"}
    shutdown_timeout: 1h
  batch:
    type: process
    oneshot: true
    binary: sh
    args: [-c, 'echo x >> batch.starts; while ! test -e batch.go; do sleep 0.02; done; sleep 0.1; exit 7']
  crash:
    type: process
    binary: sh
    args: [-c, 'echo x >> crash.starts; flock -n crash.lock sleep 0.2 || echo x >> doubles; exit 9']
    restart: on-failure
"#;

/// The services that keep running, whatever is requested for the others.
const STEADY: [&str; 5] = ["counter", "talks", "probed", "hooked", "never"];

#[test]
fn programs_are_replaced_under_running_services() {
    let mut dice = Dice::new("upgrade");
    for round in 0..dice.rounds(2, 1) {
        upgrade(&mut dice, round);
    }
}

/// The processes of commands that run beside services: probes, hooks and execs, and what they left.
fn commands(sandbox: &Sandbox) -> BTreeSet<u32> {
    let of_command = |process: &proc::Process| process.command.starts_with("sleep 7000");
    let processes = sandbox.processes().into_iter();
    processes.filter(of_command).map(|process| process.pid).collect()
}

fn upgrade(dice: &mut Dice, round: u64) {
    let sandbox = Sandbox::with_file("upgrade", FILE);
    let programs = Programs::install_earlier(&sandbox);
    let harness = programs.harness();
    let earlier = |args: &[&str]| sandbox.command(&harness, args);
    earlier(&["start", "-d"]).wait(PATIENCE).code(0);
    for up in ["probed.up", "hooked.up", "slow.up"] {
        eventually(up, || sandbox.project().join(up).exists().then_some(()));
    }
    let exec = earlier(&[
        "exec",
        "counter",
        "--",
        "sh",
        "-c",
        "setsid sleep 70003 & exec sleep 70003",
    ]);
    eventually("probe, hook and exec are in flight", || {
        (commands(&sandbox).len() >= 6).then_some(())
    });
    let before = Sandbox::pids_in(&earlier(&["--json", "status"]).wait(PATIENCE).code(0).json());
    let of_earlier = commands(&sandbox);

    // A request of the earlier program may be running.
    let order = dice.pick(&["none", "start", "restart", "stop"]);
    let under_way = match order {
        "none" => None,
        "start" => Some(earlier(&["start", "after"])),
        "restart" => Some(earlier(&["restart", "slow"])),
        _ => Some(earlier(&["stop", "slow"])),
    };
    if matches!(order, "restart" | "stop") {
        eventually("slow was told to stop", || {
            (!sandbox.read("slow.stops").is_empty()).then_some(())
        });
    }
    let ends_between = dice.one_in(2);
    let replaced = dice.pick(&["restart", "kill"]);
    let after = dice.instant(Duration::from_millis(500));
    dice.note(format!(
        "{round}: {order} under way, then {replaced} after {after:?}, batch ends between: {ends_between}"
    ));
    std::thread::sleep(after);
    programs.install_today();
    // The earlier daemon continues while the installed programs are no longer its own.
    dice.wait(Duration::from_millis(300));
    match replaced {
        "kill" => {
            let daemon = sandbox.daemon_pid().unwrap();
            proc::kill(daemon);
            eventually("the daemon is gone", || (!proc::is_alive(daemon)).then_some(()));
            if ends_between {
                sandbox.write("batch.go", "");
                dice.wait(Duration::from_millis(400));
            }
            earlier(&["status"]).wait(PATIENCE).code(0);
        }
        _ => {
            let restart = earlier(&["daemon", "restart"]).wait(PATIENCE).code(0);
            // A service that a request starts or stops, or that crashes, is not up at this time.
            restart.says("daemon restarted");
        }
    }
    sandbox.write("batch.go", "");
    took_over(&sandbox, &before, &of_earlier);
    order_goes_on(&sandbox, order, under_way);
    let exec = exec.wait(PATIENCE);
    assert_ne!(exec.code, Some(0), "{exec}");
    works_on(&sandbox, &programs);
    ends(&sandbox);
}

/// Nothing was started again, doubled or lost.
fn took_over(sandbox: &Sandbox, before: &BTreeMap<String, u64>, of_earlier: &BTreeSet<u32>) {
    let pids = sandbox.pids();
    for name in STEADY {
        assert_eq!(pids.get(name), before.get(name), "{name} was started again");
        assert_eq!(sandbox.read(&format!("{name}.starts")), "x\n", "{name}");
    }
    eventually("the commands of the earlier daemon are gone", || {
        of_earlier.iter().all(|pid| !proc::is_alive(*pid)).then_some(())
    });
    sandbox.await_state("batch", "failed/none");
    assert_eq!(sandbox.service("batch")["exit_code"], 7);
    assert_eq!(sandbox.read("batch.starts"), "x\n");
}

/// A request to the earlier daemon is continued.
fn order_goes_on(sandbox: &Sandbox, order: &str, under_way: Option<Running>) {
    assert_eq!(sandbox.state("after"), "pending/none");
    sandbox.write("go", "");
    match order {
        "stop" => sandbox.await_state("slow", "stopped/none"),
        "restart" => eventually("slow was restarted", || {
            (sandbox.read("slow.starts").lines().count() == 2).then_some(())
        }),
        _ => assert_eq!(sandbox.read("slow.starts"), "x\n"),
    }
    sandbox.write("never.up", "");
    sandbox.await_state("never", "running/healthy");
    sandbox.await_state("after", "running/none");
    // Its client may have lost its daemon, or ended.
    drop(under_way.map(|client| client.wait(PATIENCE)));
}

/// Today's daemon manages what the earlier one started.
fn works_on(sandbox: &Sandbox, programs: &Programs) {
    let mut attached = sandbox.spawn(&["attach", "talks"]);
    attached.type_in(b"a-word\n");
    eventually("talks has heard it", || {
        let said = sandbox.ok(&["logs", "talks"]).stdout;
        said.contains("heard a-word").then_some(())
    });
    drop(attached);
    eventually("crash is started again", || {
        (sandbox.read("crash.starts").lines().count() >= 2).then_some(())
    });
    assert_eq!(sandbox.read("doubles"), "", "two at a time");

    let shim = programs::shim_of(sandbox.pid("counter"));
    sandbox.ok(&["restart", "counter"]);
    sandbox.await_state("counter", "running/healthy");
    assert_ne!(programs::shim_of(sandbox.pid("counter")), shim);
    assert_eq!(sandbox.read("counter.starts"), "x\nx\n");
    assert!(programs.is_today(sandbox.daemon_pid().unwrap()));
    let logs = sandbox.ok(&["--json", "logs", "counter"]);
    let mut last = (0, 0);
    for line in logs.stdout.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let generation = line["generation"].as_u64().unwrap();
        let text = line["line"].as_str().unwrap();
        let count: u64 = text.strip_prefix("count ").unwrap().parse().unwrap();
        if generation == last.0 {
            assert_eq!(count, last.1 + 1, "{line}");
        } else {
            assert_eq!(count, 1, "{line}");
        }
        last = (generation, count);
    }
}

/// A stop leaves nothing running.
fn ends(sandbox: &Sandbox) {
    sandbox.ok(&["stop", "--all"]);
    eventually("nothing of it is left", || {
        sandbox.processes().is_empty().then_some(())
    });
    // A stop that is continued signals a service again.
    let lines = |file: &str| sandbox.read(file).lines().count();
    assert!(lines("slow.stops") >= lines("slow.starts"), "it was killed");
    let sockets = proc::sockets_below(&sandbox.home());
    assert!(sockets.is_empty(), "{sockets:?}");
}

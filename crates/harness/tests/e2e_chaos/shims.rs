//! Supervisors are killed while the daemon lives: what they left is killed, and the restart policy decides.

use std::time::Duration;

use crate::chaos::dice::Dice;
use crate::chaos::world::{Service, Together, World};
use crate::common::{Sandbox, eventually, proc};
use crate::host::Host;

/// Each has a child, a process that left its session, and one that left its parent as well.
const TREES: &str = r#"
version: "1.0"
name: trees
services:
  always:
    type: process
    binary: sh
    args: [-c, 'sleep 50001 & setsid sleep 50002 & (setsid sh -c "sleep 50003 & exec sleep 50004" &); echo up; wait']
    health_check: {log: up}
    restart: always
  never:
    type: process
    binary: sh
    args: [-c, 'sleep 50001 & setsid sleep 50002 & (setsid sh -c "sleep 50003 & exec sleep 50004" &); echo up; wait']
    health_check: {log: up}
"#;

/// The main process, the child, and the three that escaped.
const TREE: usize = 5;

fn shim_of(pid: u32) -> u32 {
    proc::parent(pid).expect("a service that runs has a supervisor")
}

/// The living processes below this one.
fn below(sandbox: &Sandbox, root: u32) -> Vec<u32> {
    let all: Vec<u32> = sandbox.processes().iter().map(|process| process.pid).collect();
    let descends = |pid: u32| {
        let mut at = pid;
        while let Some(parent) = proc::parent(at).filter(|parent| *parent > 1) {
            if parent == root {
                return true;
            }
            at = parent;
        }
        false
    };
    all.into_iter().filter(|pid| descends(*pid)).collect()
}

#[test]
fn a_dead_supervisors_tree_is_killed_and_its_policy_decides() {
    let sandbox = Sandbox::with_file("chaos_trees", TREES);
    sandbox.ok(&["start"]);
    for name in ["always", "never"] {
        let main = sandbox.pid(name);
        let shim = shim_of(main);
        let tree = eventually("the whole tree is there", || {
            let tree = below(&sandbox, shim);
            let asleep = |pid: &&u32| proc::command(**pid).starts_with("sleep 5000");
            (tree.iter().filter(asleep).count() == TREE - 1).then_some(tree)
        });
        proc::kill(shim);
        eventually("all of it is gone", || {
            (!tree.iter().any(|pid| proc::is_alive(*pid))).then_some(())
        });
        if name == "always" {
            eventually("it runs again", || {
                let service = sandbox.service(name);
                let other = service["pid"].as_u64().is_some_and(|pid| pid != u64::from(main));
                (other && service["health"] == "healthy").then_some(())
            });
            assert_eq!(sandbox.service(name)["restarts"], 1);
        } else {
            sandbox.await_state(name, "failed/none");
            let service = sandbox.service(name);
            let error = service["error"].as_str().unwrap_or_default();
            assert!(error.contains("its supervisor died"), "{service}");
            sandbox.ok(&["status"]).says("its supervisor died");
        }
        sandbox.ok(&["why", name]).says("its supervisor died");
        sandbox.ok(&["events", name]).says("its supervisor died");
    }
    // One tree is up, under one supervisor, and nothing is left of the other.
    eventually("one tree is up", || {
        (sandbox.processes().len() == TREE + 1).then_some(())
    });
    sandbox.ok(&["stop", "--all"]);
    assert_eq!(sandbox.processes().len(), 0, "{:?}", sandbox.processes());
}

#[test]
fn supervisors_killed_at_any_instant_double_nothing() {
    let mut dice = Dice::new("chaos_shims");
    let service = |name, keys| Service {
        name,
        does: "stay".to_owned(),
        keys,
    };
    let world = World::<Host>::new(
        "chaos_shims",
        vec![
            service("base", "restart: always, health_check: {log: up}"),
            service("next", "restart: always, dependencies: [base]"),
            service("other", "restart: always"),
        ],
    );
    world.scene.ok(&["start"]);
    for round in 0..dice.rounds(8, 1) {
        world.scene.ok(&["stop", "--all"]);
        world.settle(Some(Together::Down));
        let start = world.scene.spawn(&["start"]);
        let mut killed = 0;
        for _ in 0..=dice.below(3) {
            dice.wait(Duration::from_millis(400));
            let shims: Vec<u32> = world
                .scene
                .processes()
                .into_iter()
                .filter(|process| process.command.contains(" supervise "))
                .map(|process| process.pid)
                .collect();
            if !shims.is_empty() {
                proc::kill(dice.pick(&shims));
                killed += 1;
            }
        }
        dice.note(format!("{round}: killed {killed} supervisors"));
        // A supervisor may die before it has started anything; its service is restarted as well.
        start.wait(crate::common::PATIENCE);
        world.settle(Some(Together::Up));
    }
    world.scene.ok(&["stop", "--all"]);
    world.settle(Some(Together::Down));
}

/// Its child ignores SIGTERM, so the supervisor is still waiting for it when it is killed.
fn ends_before_its_child(code: u8) -> String {
    format!(
        "sh -c 'trap \"\" TERM; echo up; while :; do sleep 0.1; done' & \
         while ! test -e end-{code}; do sleep 0.01; done; touch ended-{code}; exit {code}"
    )
}

#[test]
fn an_exit_code_survives_the_death_of_the_supervisor() {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release
        .split(['.', '-'])
        .map(|number| number.parse::<u32>().unwrap_or(0));
    if (numbers.next(), numbers.next()) < (Some(6), Some(15)) {
        eprintln!("skipped: Linux {release} does not tell exit codes through pidfds");
        return;
    }
    let sandbox = Sandbox::new("chaos_exit_code");
    sandbox.write("good.sh", &ends_before_its_child(0));
    sandbox.write("bad.sh", &ends_before_its_child(41));
    sandbox.write(
        "services.yaml",
        r#"
version: "1.0"
services:
  good: {type: process, binary: sh, args: [good.sh], oneshot: true}
  bad: {type: process, binary: sh, args: [bad.sh], oneshot: true}
"#,
    );
    sandbox.ok(&["start", "-d"]);
    for (name, code, status) in [("good", 0, "completed"), ("bad", 41, "failed")] {
        let main = eventually("it runs", || sandbox.pids().get(name).copied());
        let main = u32::try_from(main).unwrap();
        let shim = shim_of(main);
        eventually("its child is up", || {
            sandbox.ok(&["logs", name]).stdout.contains("up").then_some(())
        });
        sandbox.write(&format!("end-{code}"), "");
        eventually("it has ended", || (!proc::is_alive(main)).then_some(()));
        assert!(proc::is_alive(shim), "the supervisor waits for the rest");
        proc::kill(shim);
        sandbox.await_state(name, &format!("{status}/none"));
        let service = sandbox.service(name);
        assert_eq!(service["exit_code"], code, "{service}");
        if code != 0 {
            sandbox
                .ok(&["why", name])
                .says("its supervisor died, and it exited 41");
        }
    }
    eventually("nothing is left", || sandbox.processes().is_empty().then_some(()));
}

//! Shells that come and go: commands are run from sessions, terminals and process groups of every kind, while probes,
//! hooks and execs run and leave as many processes as they can, with the user's own jobs beside them. Then the next
//! daemon takes over. Only our own processes are touched, and none of them is orphaned or doubled.

use std::time::Duration;

use super::host::Host;
use crate::chaos::dice::Dice;
use crate::chaos::world::{Service, Together, World};
use crate::common::{PATIENCE, proc};

const HARNESS: &str = env!("CARGO_BIN_EXE_harness");

fn services() -> Vec<Service> {
    let service = |name, keys| Service {
        name,
        does: "stay".to_owned(),
        keys,
    };
    vec![
        service(
            "base",
            "restart: always, health_check: {command: [sh, leave.sh, probe], interval: 0.3, timeout: 0.3, \
             retries: 100000}",
        ),
        service(
            "hooked",
            "restart: always, health_check: {log: up}, dependencies: [base], hooks: {after_healthy: \
             [sh, leave.sh, after_healthy], before_stop: {command: [sh, leave.sh, before_stop], timeout: 0.3}}",
        ),
        service("plain", "restart: unless-stopped"),
    ]
}

/// A shell that runs this script and then ends.
fn shell(dice: &mut Dice, script: &str) -> Vec<String> {
    let quoted = script.replace('\'', "'\\''");
    let words = match dice.below(5) {
        0 => vec![
            "setsid".to_owned(),
            "bash".to_owned(),
            "-c".to_owned(),
            script.to_owned(),
        ],
        1 => vec![
            "setsid".to_owned(),
            "sh".to_owned(),
            "-c".to_owned(),
            script.to_owned(),
        ],
        2 => vec!["bash".to_owned(), "-mc".to_owned(), script.to_owned()],
        3 => vec![
            "script".to_owned(),
            "-qec".to_owned(),
            format!("bash -c 'trap \"\" HUP; {quoted}'"),
            "/dev/null".to_owned(),
        ],
        _ => vec![
            "setsid".to_owned(),
            "bash".to_owned(),
            "-c".to_owned(),
            format!("bash -mc '{quoted}' & wait"),
        ],
    };
    dice.note(format!("  {words:?}"));
    words
}

/// The user's own jobs. Their only connection to the sandbox is that the same shells started them.
struct Strangers(Vec<u32>);

impl Strangers {
    const FILE: &'static str = "w/strangers";

    /// A piece of shell script that starts one.
    fn job() -> String {
        format!(
            "(cd /; exec env -i nohup sleep 9999 < /dev/null > /dev/null 2>&1) & echo $! >> {}",
            Self::FILE
        )
    }

    fn check(&mut self, world: &World<Host>) {
        let text = world.scene.read(Self::FILE);
        self.0 = text.lines().map(|pid| pid.parse().unwrap()).collect();
        for pid in &self.0 {
            assert!(proc::is_alive(*pid), "the user's own job {pid} was killed");
        }
    }
}

impl Drop for Strangers {
    fn drop(&mut self) {
        for pid in &self.0 {
            if proc::command(*pid).contains("sleep 9999") {
                proc::kill(*pid);
            }
        }
    }
}

#[test]
fn shells_come_and_go_and_strangers_stay() {
    let mut dice = Dice::new("chaos_sessions");
    let world = World::<Host>::new("chaos_sessions", services());
    world.scene.write("leave.sh", include_str!("../chaos/leave.sh"));
    let mut strangers = Strangers(Vec::new());
    world.bring(Together::Up);
    for round in 0..dice.rounds(10, 1) {
        let order = dice.pick(&["start -q", "start -qd", "restart -q", "stop --all", "status"]);
        let exec = dice.one_in(2);
        dice.note(format!("{round}: {order}, exec: {exec}"));
        let mut script = vec![Strangers::job(), format!("{HARNESS} {order} > /dev/null 2>&1")];
        if exec {
            script.push(format!(
                "{HARNESS} exec plain -- sh leave.sh exec > /dev/null 2>&1 & sleep 0.1"
            ));
        }
        script.push(Strangers::job());
        let words = shell(&mut dice, &script.join("\n"));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let running = world.scene.command(words[0], &words[1..]);
        if dice.one_in(2) {
            dice.wait(Duration::from_millis(800));
            dice.note("  the daemon is killed amid it");
            world.kill_daemon();
        }
        running.wait(PATIENCE);
        if dice.one_in(2) {
            dice.note("  the daemon is replaced");
            world.scene.ok(&["daemon", "restart"]);
        } else {
            dice.note("  the daemon is killed");
            world.kill_daemon();
        }
        strangers.check(&world);
        world.settle(None);
        strangers.check(&world);
    }
    world.bring(Together::Up);
    world.bring(Together::Down);
    strangers.check(&world);
}

//! Containers flood their logs while daemons are killed: each line is there once, in order.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::common::PATIENCE;
use crate::common::docker::request;
use crate::dice::Dice;
use crate::world::{Service, Together, World};

const NAMES: [&str; 2] = ["river", "rain"];

#[test]
fn floods_of_containers_are_whole_after_killed_daemons() {
    let mut dice = Dice::new("docker_chaos_floods");
    let services = NAMES.map(|name| Service {
        name,
        kind: "docker",
        does: "flood".to_owned(),
        keys: "restart: always, health_check: {log: up}",
    });
    let world = World::new("docker_chaos_floods", services.to_vec());
    for round in 0..dice.rounds(4) {
        world.sandbox.ok(&["start"]);
        for _ in 0..=dice.below(2) {
            let what = dice.pick(&["nothing", "restart", "follow", "kill"]);
            dice.note(format!("{round}: {what}"));
            let limit = Duration::from_millis(1500);
            match what {
                "nothing" => {
                    dice.wait(limit);
                    world.kill_daemon();
                }
                "restart" => {
                    let name = dice.pick(&NAMES);
                    world.kill_amid(&mut dice, &["restart", name], limit);
                }
                "follow" => {
                    let reader = world.sandbox.spawn(&["logs", "-f"]);
                    dice.wait(limit);
                    world.kill_daemon();
                    // It may have come too late for that daemon, and follow another one.
                    reader.signal(Signal::KILL);
                    reader.wait(PATIENCE);
                }
                _ => {
                    let id = world.starts(dice.pick(&NAMES)).pop().unwrap().who;
                    request("POST", &format!("/containers/{id}/kill"), None);
                    dice.wait(Duration::from_millis(100));
                    world.kill_daemon();
                }
            }
            world.settle(Some(Together::Up));
        }
        world.sandbox.ok(&["stop", "--all"]);
        world.settle(Some(Together::Down));
        for name in NAMES {
            world.logged_what_it_counted(name);
        }
    }
}

impl World {
    /// The log of each kept instance has the numbers 1, 2, 3 … up to what the instance itself counted.
    fn logged_what_it_counted(&self, name: &str) {
        let logs = self.sandbox.ok(&["logs", name]);
        assert_eq!(logs.stderr, "", "{name}: lines are missing\n{logs}");
        let mut logged: BTreeMap<u64, u64> = BTreeMap::new();
        for line in logs.stdout.lines() {
            let text = line.strip_prefix(&format!("{name} | ")).unwrap_or(line);
            if text == "up" {
                continue;
            }
            let (instance, number) = text.split_once(' ').unwrap_or_else(|| panic!("`{line}`"));
            let last = logged.entry(instance.parse().unwrap()).or_default();
            assert_eq!(number.parse(), Ok(*last + 1), "`{line}` after {last}");
            *last += 1;
        }
        let newest = self.starts(name).len() as u64;
        let exits = self.sandbox.read(&format!("w/{name}.exits"));
        for instance in newest.saturating_sub(self.kept(name)) + 1..=newest {
            let said = exits
                .lines()
                .find_map(|line| line.strip_prefix(&format!("{instance} term ")));
            let counted = self.sandbox.read(&format!("w/{name}.count.{instance}"));
            let counted: u64 = counted.trim().parse().unwrap_or(0);
            let logged = logged.get(&instance).copied().unwrap_or(0);
            match said {
                Some(said) => assert_eq!(Ok(logged), said.parse(), "{name} {instance}"),
                // One that was killed had no last word.
                None => assert!(logged >= counted, "{name} {instance}: {logged} of {counted}"),
            }
        }
    }

    /// How many run directories of a service there are whose containers were started: the oldest go.
    fn kept(&self, name: &str) -> u64 {
        let service = self
            .sandbox
            .home()
            .join("projects")
            .join(&self.project)
            .join(name);
        let generations = std::fs::read_dir(service).unwrap();
        let has_ended = |generation: std::fs::DirEntry| {
            let record = std::fs::read(generation.path().join("container.json")).ok()?;
            let record: Value = serde_json::from_slice(&record).unwrap();
            (!record["ended"].is_null()).then_some(())
        };
        generations
            .filter_map(|generation| has_ended(generation.unwrap()))
            .count() as u64
    }
}

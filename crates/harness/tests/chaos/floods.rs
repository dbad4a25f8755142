//! Services flood their logs while daemons are killed: each line is there once, in order.

use std::collections::BTreeMap;

use rustix::process::Signal;

use super::dice::Dice;
use super::world::{Scene, Service, Together, World};
use crate::common::PATIENCE;

const NAMES: [&str; 2] = ["river", "rain"];

pub(crate) fn are_whole<S: Scene>(test: &'static str) {
    let mut dice = Dice::new(test);
    let services = NAMES.map(|name| Service {
        name,
        does: "flood".to_owned(),
        keys: "restart: always, health_check: {log: up}",
    });
    let world = World::<S>::new(test, services.to_vec());
    for round in 0..dice.rounds(14, S::SHARE) {
        world.scene.ok(&["start"]);
        for _ in 0..=dice.below(2) {
            let what = dice.pick(&["nothing", "restart", "follow", "kill"]);
            dice.note(format!("{round}: {what}"));
            let limit = world.within(500);
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
                    let reader = world.scene.spawn(&["logs", "-f"]);
                    dice.wait(limit);
                    world.kill_daemon();
                    // It may have started too late for that daemon, and may follow the next one.
                    reader.signal(Signal::KILL);
                    reader.wait(PATIENCE);
                }
                _ => {
                    world.scene.kill(&world.last(dice.pick(&NAMES)));
                    dice.wait(world.within(50));
                    world.kill_daemon();
                }
            }
            world.settle(Some(Together::Up));
        }
        world.scene.ok(&["stop", "--all"]);
        world.settle(Some(Together::Down));
        for name in NAMES {
            world.logged_what_it_counted(name);
        }
    }
}

impl<S: Scene> World<S> {
    /// The log of each kept instance has the numbers 1, 2, 3 … up to what the instance itself counted.
    fn logged_what_it_counted(&self, name: &str) {
        let logs = self.scene.ok(&["logs", name]);
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
        let exits = self.scene.read(&format!("w/{name}.exits"));
        for instance in newest.saturating_sub(self.scene.kept(name)) + 1..=newest {
            let said = exits
                .lines()
                .find_map(|line| line.strip_prefix(&format!("{instance} term ")));
            let counted = self.scene.read(&format!("w/{name}.count.{instance}"));
            let counted: u64 = counted.trim().parse().unwrap_or(0);
            let logged = logged.get(&instance).copied().unwrap_or(0);
            match said {
                Some(said) => assert_eq!(Ok(logged), said.parse(), "{name} {instance}"),
                // An instance that was killed could not write its final count.
                None => assert!(logged >= counted, "{name} {instance}: {logged} of {counted}"),
            }
        }
    }
}

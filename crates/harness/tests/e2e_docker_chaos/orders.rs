//! The daemon is killed amid orders; the next one, started by nothing but a look, carries them on.

use std::time::Duration;

use crate::common::docker::request;
use crate::dice::Dice;
use crate::world::{Service, Together, World};

/// A row of a container, a process and a container, one alone, and one that is never restarted.
fn services() -> Vec<Service> {
    let service = |name, kind, keys| Service {
        name,
        kind,
        does: "stay".to_owned(),
        keys,
    };
    vec![
        service("base", "docker", "restart: always, health_check: {log: up}"),
        service(
            "middle",
            "process",
            "restart: always, health_check: {log: up}, dependencies: [base]",
        ),
        service("top", "docker", "restart: on-failure, dependencies: [middle]"),
        service(
            "plain",
            "docker",
            "restart: \"no\", health_check: {command: test -e w/plain.starts}",
        ),
    ]
}

/// Within it a start, a stop or a restart of these services is over.
const LIMIT: Duration = Duration::from_millis(2500);

impl World {
    /// Has every service up, or every one down.
    fn bring(&self, to: Together) {
        match to {
            Together::Up => self.sandbox.ok(&["start"]),
            Together::Down => self.sandbox.ok(&["stop", "--all"]),
        };
        self.settle(Some(to));
    }
}

#[test]
fn starts_and_stops_of_containers_survive_a_killed_daemon() {
    let mut dice = Dice::new("docker_chaos_orders");
    let world = World::new("docker_chaos_orders", services());
    let mut is = Together::Down;
    world.bring(Together::Up);
    world.bring(Together::Down);
    for round in 0..dice.rounds(8) {
        let (counts, exits) = (world.counts(), world.exits());
        match is {
            Together::Down => {
                let args = dice.pick(&[&["start", "-d"][..], &["start"][..]]);
                dice.note(format!("{round}: {args:?}"));
                let accepted = world.kill_amid(&mut dice, args, LIMIT);
                is = world.settle(accepted.then_some(Together::Up));
                for (name, count) in world.counts() {
                    let most = counts[name] + 1;
                    assert!(
                        count <= most,
                        "{name} was started {count} times instead of {most}"
                    );
                }
            }
            Together::Up => {
                dice.note(format!("{round}: stop"));
                let accepted = world.kill_amid(&mut dice, &["stop", "--all"], LIMIT / 2);
                // Somebody was told to end: the stop had begun, so it is to be carried on.
                let begun = world.exits() > exits;
                is = world.settle((accepted || begun).then_some(Together::Down));
                if is == Together::Down {
                    assert_eq!(world.counts(), counts, "nothing is started by a stop");
                }
            }
        }
    }
    world.bring(Together::Up);
    world.bring(Together::Down);
}

#[test]
fn restarts_replacements_and_deaths_of_containers_survive_a_killed_daemon() {
    let mut dice = Dice::new("docker_chaos_replace");
    let mut world = World::new("docker_chaos_replace", services());
    world.bring(Together::Up);
    for round in 0..dice.rounds(8) {
        let counts = world.counts();
        match dice.pick(&["restart", "replace", "death"]) {
            "restart" => {
                dice.note(format!("{round}: restart"));
                let accepted = world.kill_amid(&mut dice, &["restart"], LIMIT);
                world.settle(Some(Together::Up));
                for (name, count) in world.counts() {
                    assert!(!accepted || count > counts[name], "{name} was not restarted");
                    assert!(count <= counts[name] + 1, "{name} was restarted more than once");
                }
            }
            "replace" => {
                dice.note(format!("{round}: replace"));
                let before = world.edition;
                world.next_edition();
                let args = dice.pick(&[&["start", "-d"][..], &["start"][..]]);
                let accepted = world.kill_amid(&mut dice, args, LIMIT);
                world.settle(Some(Together::Up));
                world.replaced_as_a_whole(before, accepted);
                world.bring(Together::Up);
                world.replaced_as_a_whole(before, true);
            }
            _ => {
                // The row of restarts begins anew, or its pauses would grow from round to round.
                world.bring(Together::Down);
                world.bring(Together::Up);
                world.deaths(&mut dice, round);
            }
        }
    }
    world.bring(Together::Down);
}

impl World {
    /// Kills containers about the daemon's end.
    fn deaths(&self, dice: &mut Dice, round: u64) {
        let counts = self.counts();
        let containers = self.services.iter().filter(|service| service.kind == "docker");
        let victims: Vec<&str> = containers
            .map(|service| service.name)
            .filter(|_| dice.one_in(2))
            .collect();
        dice.note(format!("{round}: {victims:?} killed about the daemon's end"));
        let daemon_goes = dice.below(victims.len() as u64 + 1);
        for (number, name) in victims.iter().enumerate() {
            if number as u64 == daemon_goes {
                self.kill_daemon();
            }
            let id = self.starts(name).pop().unwrap().who;
            request("POST", &format!("/containers/{id}/kill"), None);
            dice.wait(Duration::from_millis(30));
        }
        self.kill_daemon();
        if victims.contains(&"plain") {
            // Its policy leaves it dead, and how it died is known.
            self.sandbox.await_state("plain", "failed/none");
            let plain = self.sandbox.service("plain");
            assert_eq!(plain["signal"], 9, "{plain}");
            self.sandbox.ok(&["start", "plain"]);
        }
        self.settle(Some(Together::Up));
        for (name, count) in self.counts() {
            let died = usize::from(victims.contains(&name));
            assert_eq!(
                count,
                counts[name] + died,
                "{name} was started again once for each death"
            );
        }
    }

    /// After a replacement all run by the new file, or, if it was not accepted, all by the old one.
    fn replaced_as_a_whole(&self, before: u64, accepted: bool) {
        let editions: Vec<u64> = self
            .services
            .iter()
            .map(|service| self.starts(service.name).pop().unwrap().edition)
            .collect();
        let all = |edition: u64| editions.iter().all(|one| *one == edition);
        assert!(
            all(self.edition) || (!accepted && all(before)),
            "some run by the old file, some by the new: {editions:?}"
        );
    }
}

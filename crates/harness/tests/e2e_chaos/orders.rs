//! The daemon is killed amid orders; the next one, started by nothing but a look, carries them on.

use std::time::Duration;

use crate::common::proc;
use crate::dice::Dice;
use crate::witness::{Service, Together, World, kill_daemon};

/// A row of three, one alone, and one that is never restarted.
fn services() -> Vec<Service> {
    let service = |name, keys| Service {
        name,
        does: "stay".to_owned(),
        keys,
    };
    vec![
        service("base", "restart: always, health_check: {log: up}"),
        service(
            "middle",
            "restart: always, health_check: {log: up}, dependencies: [base]",
        ),
        service("top", "restart: on-failure, dependencies: [middle]"),
        service("alone", "restart: unless-stopped"),
        service("plain", "restart: \"no\", health_check: {log: up}"),
    ]
}

impl World {
    /// Has every service up, or every one down.
    fn bring(&self, to: Together) {
        match to {
            Together::Up => self.sandbox.ok(&["start"]),
            Together::Down => self.sandbox.ok(&["stop", "--all"]),
        };
        self.settle(Some(to));
    }

    /// Waits for the rest after an order whose command line was told success or not. What was not accepted may
    /// be forgotten, but only as a whole.
    fn settle_after(&self, accepted: bool, wanted: Together) -> Together {
        self.settle(accepted.then_some(wanted))
    }
}

#[test]
fn starts_and_stops_survive_a_killed_daemon() {
    let mut dice = Dice::new("chaos_start_stop");
    let world = World::new("chaos_start_stop", services());
    let mut is = Together::Down;
    world.bring(Together::Up);
    world.bring(Together::Down);
    for round in 0..dice.rounds(34) {
        let (counts, exits) = (world.counts(), world.exits());
        match is {
            Together::Down => {
                let args = dice.pick(&[&["start", "-d"][..], &["start"][..]]);
                dice.note(format!("{round}: {args:?}"));
                let accepted = world.kill_amid(&mut dice, args, Duration::from_millis(500));
                is = world.settle_after(accepted, Together::Up);
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
                let accepted = world.kill_amid(&mut dice, &["stop", "--all"], Duration::from_millis(400));
                // Somebody was told to end: the stop had begun, so it is to be carried on.
                let begun = world.exits() > exits;
                is = world.settle_after(accepted || begun, Together::Down);
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
fn restarts_and_replacements_survive_a_killed_daemon() {
    let mut dice = Dice::new("chaos_replace");
    let mut world = World::new("chaos_replace", services());
    world.bring(Together::Up);
    for round in 0..dice.rounds(24) {
        let counts = world.counts();
        if dice.one_in(2) {
            dice.note(format!("{round}: restart"));
            let accepted = world.kill_amid(&mut dice, &["restart"], Duration::from_millis(800));
            world.settle(Some(Together::Up));
            for (name, count) in world.counts() {
                assert!(!accepted || count > counts[name], "{name} was not restarted");
                assert!(count <= counts[name] + 1, "{name} was restarted more than once");
            }
        } else {
            dice.note(format!("{round}: replace"));
            let before = world.edition;
            world.next_edition();
            let args = dice.pick(&[&["start", "-d"][..], &["start"][..]]);
            let accepted = world.kill_amid(&mut dice, args, Duration::from_millis(800));
            world.settle(Some(Together::Up));
            world.replaced_as_a_whole(before, accepted);
            world.bring(Together::Up);
            world.replaced_as_a_whole(before, true);
        }
    }
    world.bring(Together::Down);
}

impl World {
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

#[test]
fn restart_policies_survive_a_killed_daemon() {
    let mut dice = Dice::new("chaos_policies");
    let world = World::new("chaos_policies", services());
    for round in 0..dice.rounds(16) {
        world.bring(Together::Up);
        // The row of restarts begins anew, or its pauses would grow from round to round.
        if round % 2 == 1 {
            world.bring(Together::Down);
            world.bring(Together::Up);
        }
        let counts = world.counts();
        let victims: Vec<&str> = world
            .services
            .iter()
            .map(|service| service.name)
            .filter(|_| dice.one_in(2))
            .collect();
        dice.note(format!("{round}: {victims:?} killed about the daemon's end"));
        let daemon_goes = dice.below(victims.len() as u64 + 1);
        for (number, name) in victims.iter().enumerate() {
            if number as u64 == daemon_goes {
                kill_daemon(&world.sandbox);
            }
            proc::kill(world.starts(name).pop().unwrap().pid);
            dice.wait(Duration::from_millis(30));
        }
        kill_daemon(&world.sandbox);
        if victims.contains(&"plain") {
            // Its policy leaves it dead, and how it died is known.
            world.sandbox.await_state("plain", "failed/none");
            let plain = world.sandbox.service("plain");
            assert_eq!(plain["signal"], 9, "{plain}");
            world.sandbox.ok(&["start", "plain"]);
        }
        world.settle(Some(Together::Up));
        for (name, count) in world.counts() {
            let died = usize::from(victims.contains(&name));
            assert_eq!(
                count,
                counts[name] + died,
                "{name} was started again once for each death"
            );
        }
    }
    world.bring(Together::Down);
}

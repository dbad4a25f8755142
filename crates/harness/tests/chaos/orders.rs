//! The daemon is killed during requests. The next one, started only by a command that reads, continues them.

use super::dice::Dice;
use super::world::{Scene, Service, Together, World};

/// The service that is a process even if the others are containers.
pub(crate) const BESIDE: &str = "middle";

/// A row of three ([`BESIDE`] in its middle), one alone, and one that is never restarted.
fn services() -> Vec<Service> {
    let service = |name, keys| Service {
        name,
        does: "stay".to_owned(),
        keys,
    };
    vec![
        service("base", "restart: always, health_check: {log: up}"),
        service(
            BESIDE,
            "restart: always, health_check: {log: up}, dependencies: [base]",
        ),
        service("top", "restart: on-failure, dependencies: [middle]"),
        service("alone", "restart: unless-stopped"),
        service(
            "plain",
            "restart: \"no\", health_check: {command: test -e w/plain.starts}",
        ),
    ]
}

/// A request that was not accepted may be lost, but only as a whole.
pub(crate) fn starts_and_stops<S: Scene>(test: &'static str) {
    let mut dice = Dice::new(test);
    let world = World::<S>::new(test, services());
    let mut is = Together::Down;
    world.bring(Together::Up);
    world.bring(Together::Down);
    for round in 0..dice.rounds(34, S::SHARE) {
        let (counts, exits) = (world.counts(), world.exits());
        match is {
            Together::Down => {
                let args = dice.pick(&[&["start", "-d"][..], &["start"][..]]);
                dice.note(format!("{round}: {args:?}"));
                let accepted = world.kill_amid(&mut dice, args, world.within(500));
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
                let accepted = world.kill_amid(&mut dice, &["stop", "--all"], world.within(400));
                // A service was told to end: the stop had begun, so it must be continued.
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

pub(crate) fn restarts_and_replacements<S: Scene>(test: &'static str) {
    let mut dice = Dice::new(test);
    let mut world = World::<S>::new(test, services());
    world.bring(Together::Up);
    for round in 0..dice.rounds(24, S::SHARE) {
        let counts = world.counts();
        if dice.one_in(2) {
            dice.note(format!("{round}: restart"));
            let accepted = world.kill_amid(&mut dice, &["restart"], world.within(800));
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
            let accepted = world.kill_amid(&mut dice, args, world.within(800));
            world.settle(Some(Together::Up));
            world.replaced_as_a_whole(before, accepted);
            world.bring(Together::Up);
            world.replaced_as_a_whole(before, true);
        }
    }
    world.bring(Together::Down);
}

impl<S: Scene> World<S> {
    /// After a replacement all services run from the new file, or, if it was not accepted, all from the old one.
    fn replaced_as_a_whole(&self, before: u64, accepted: bool) {
        let editions: Vec<u64> = self
            .services
            .iter()
            .map(|service| self.last(service.name).edition)
            .collect();
        let all = |edition: u64| editions.iter().all(|one| *one == edition);
        assert!(
            all(self.edition) || (!accepted && all(before)),
            "some run from the old file, some from the new one: {editions:?}"
        );
    }
}

pub(crate) fn restart_policies<S: Scene>(test: &'static str) {
    let mut dice = Dice::new(test);
    let world = World::<S>::new(test, services());
    for round in 0..dice.rounds(16, S::SHARE) {
        world.bring(Together::Up);
        // Begin a new series of restarts, or the pauses between them would grow from round to round.
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
                world.kill_daemon();
            }
            world.scene.kill(&world.last(name));
            dice.wait(world.within(30));
        }
        world.kill_daemon();
        if victims.contains(&"plain") {
            // Its policy does not restart it, and how it died is known.
            world.scene.await_state("plain", "failed/none");
            let plain = world.scene.service("plain");
            assert_eq!(plain["signal"], 9, "{plain}");
            world.scene.ok(&["start", "plain"]);
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

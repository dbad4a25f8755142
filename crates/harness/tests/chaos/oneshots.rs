//! One-shots that end while no daemon runs: each ran once, and its exit code is known.

use super::dice::Dice;
use super::world::{Scene, Service, World};
use crate::common::{PATIENCE, eventually};

const NAMES: [&str; 4] = ["quick", "slow", "sour", "sweet"];

fn services(dice: &mut Dice) -> Vec<Service> {
    let mut services: Vec<Service> = NAMES
        .into_iter()
        .map(|name| {
            let code = dice.pick(&[0, 0, 1, 3, 77]);
            let millis = dice.below(500);
            Service {
                name,
                does: format!("once 0.{millis:03} {code}"),
                keys: "oneshot: true, restart: \"no\"",
            }
        })
        .collect();
    services.push(Service {
        name: "retry",
        does: "retry".to_owned(),
        keys: "oneshot: true, restart: on-failure",
    });
    services
}

pub(crate) fn end_unseen<S: Scene>(test: &'static str) {
    let mut dice = Dice::new(test);
    let first = services(&mut dice);
    let mut world = World::<S>::new(test, first);
    for round in 0..dice.rounds(24, S::SHARE) {
        let before = world.counts();
        world.services = services(&mut dice);
        world.next_edition();
        let start = world.scene.spawn(&["start", "-d"]);
        let waits = dice.one_in(2);
        dice.note(format!(
            "{round}: {:?}, seen accepted: {waits}",
            world.services.iter().map(|s| &s.does).collect::<Vec<_>>()
        ));
        let accepted = if waits {
            start.wait(PATIENCE).code(0);
            dice.wait(world.within(300));
            world.kill_daemon();
            true
        } else {
            dice.wait(world.within(300));
            world.kill_daemon();
            start.wait(PATIENCE).code == Some(0)
        };
        // Those that were begun end while no daemon runs.
        eventually("nothing runs", || (!world.scene.any_runs()).then_some(()));
        if !accepted {
            // The request may be lost; then it is sent again.
            world.scene.ok(&["start", "-d"]);
        }
        for service in &world.services {
            world.ended_as_it_said(service, before[service.name], accepted);
        }
        world.check_never_doubled();
        world.check_nothing_is_left();
    }
}

impl<S: Scene> World<S> {
    fn ended_as_it_said(&self, service: &Service, before: usize, accepted: bool) {
        let Service { name, does, .. } = service;
        let code: u64 = match does.rsplit_once(' ') {
            Some((_, code)) => code.parse().unwrap(),
            None => 0,
        };
        let wanted = if code == 0 { "completed" } else { "failed" };
        self.scene.await_state(name, &format!("{wanted}/none"));
        let status = self.scene.service(name);
        assert_eq!(status["exit_code"], code, "{does}: {status}");
        let runs = self.starts(name).len() - before;
        // The second request runs those again that failed the first time.
        let again = usize::from(!accepted && code != 0);
        let runs_wanted = match *name {
            "retry" => 2..=2,
            _ => 1..=1 + again,
        };
        assert!(
            runs_wanted.contains(&runs),
            "{name} ({does}) ran {runs} times: {status}"
        );
    }
}

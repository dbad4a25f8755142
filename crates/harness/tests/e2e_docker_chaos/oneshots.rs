//! One-shots in containers that end while no daemon runs: each ran once, and its exit code is known.

use std::time::Duration;

use crate::common::{PATIENCE, within};
use crate::dice::Dice;
use crate::world::{Service, World};

const NAMES: [&str; 3] = ["quick", "slow", "sour"];

fn services(dice: &mut Dice) -> Vec<Service> {
    let mut services: Vec<Service> = NAMES
        .into_iter()
        .map(|name| {
            let code = dice.pick(&[0, 0, 1, 3, 77]);
            let millis = dice.below(900);
            Service {
                name,
                kind: "docker",
                does: format!("once 0.{millis:03} {code}"),
                keys: "oneshot: true, restart: \"no\"",
            }
        })
        .collect();
    services.push(Service {
        name: "retry",
        kind: "docker",
        does: "retry".to_owned(),
        keys: "oneshot: true, restart: on-failure",
    });
    services
}

#[test]
fn one_shots_in_containers_end_unseen_with_their_exit_codes() {
    let mut dice = Dice::new("docker_chaos_once");
    let first = services(&mut dice);
    let mut world = World::new("docker_chaos_once", first);
    for round in 0..dice.rounds(5) {
        let before = world.counts();
        world.services = services(&mut dice);
        world.next_edition();
        let start = world.sandbox.spawn(&["start", "-d"]);
        let waits = dice.one_in(2);
        dice.note(format!(
            "{round}: {:?}, seen accepted: {waits}",
            world.services.iter().map(|s| &s.does).collect::<Vec<_>>()
        ));
        let accepted = if waits {
            start.wait(PATIENCE).code(0);
            dice.wait(Duration::from_millis(1500));
            world.kill_daemon();
            true
        } else {
            dice.wait(Duration::from_millis(1500));
            world.kill_daemon();
            start.wait(PATIENCE).code == Some(0)
        };
        // Those that were begun end while nobody looks.
        within(PATIENCE, "nothing runs", || {
            let containers = world.sandbox.containers();
            containers
                .iter()
                .all(|container| container["State"] != "running")
                .then_some(())
        });
        if !accepted {
            // It may have been forgotten; then it is ordered again.
            world.sandbox.ok(&["start", "-d"]);
        }
        for service in &world.services {
            world.ended_as_it_said(service, before[service.name], accepted);
        }
        world.check_never_doubled();
        world.check_nothing_is_left();
    }
}

impl World {
    fn ended_as_it_said(&self, service: &Service, before: usize, accepted: bool) {
        let Service { name, does, .. } = service;
        let code: u64 = match does.rsplit_once(' ') {
            Some((_, code)) => code.parse().unwrap(),
            None => 0,
        };
        let wanted = if code == 0 { "completed" } else { "failed" };
        self.sandbox.await_state(name, &format!("{wanted}/none"));
        let status = self.sandbox.service(name);
        assert_eq!(status["exit_code"], code, "{does}: {status}");
        let runs = self.starts(name).len() - before;
        // The second order runs again what failed at the first.
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

//! One-shots that end while no daemon runs: each ran once, and its exit code is known.

use std::time::Duration;

use crate::common::{PATIENCE, eventually};
use crate::dice::Dice;
use crate::witness::{Service, World, kill_daemon};

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

#[test]
fn one_shots_end_unseen_with_their_exit_codes() {
    let mut dice = Dice::new("chaos_oneshots");
    let first = services(&mut dice);
    let mut world = World::new("chaos_oneshots", first);
    for round in 0..dice.rounds(24) {
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
            dice.wait(Duration::from_millis(300));
            kill_daemon(&world.sandbox);
            true
        } else {
            dice.wait(Duration::from_millis(300));
            kill_daemon(&world.sandbox);
            start.wait(PATIENCE).code == Some(0)
        };
        // Those that were begun end while nobody looks.
        eventually("nothing runs", || {
            world.sandbox.processes().is_empty().then_some(())
        });
        if !accepted {
            // It may have been forgotten; then it is ordered again.
            world.sandbox.harness(&["start", "-d"]).code(0);
        }
        for service in &world.services {
            world.ended_as_it_said(service, before[service.name], accepted);
        }
        world.check_never_doubled();
        world.check_nothing_runs();
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

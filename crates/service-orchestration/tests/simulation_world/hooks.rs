//! The hooks of the world: how long they take, how they fail, and which of them must still run after a daemon's
//! death.

use std::collections::BTreeMap;
use std::time::Duration;

use harness_model::ServiceName;
use service_orchestration::machine::{Event, Happened, Hook, Terms};

use super::World;

#[derive(Default)]
pub struct Hooks {
    running: BTreeMap<ServiceName, Vec<(u64, Hook)>>,
    /// What is on disk: the services with an `after_stop` hook that must still run, and its limit.
    pub owed: BTreeMap<ServiceName, Duration>,
}

impl Hooks {
    /// Whether a hook that is to end now still runs. It does not any more after this.
    pub fn finished(&mut self, service: &ServiceName, generation: u64, hook: Hook) -> bool {
        let Some(running) = self.running.get_mut(service) else {
            return false;
        };
        let before = running.len();
        running.retain(|one| *one != (generation, hook));
        if hook == Hook::AfterStop && running.len() < before {
            self.owed.remove(service);
        }
        running.len() < before
    }

    /// All hooks of a generation have been ended.
    pub fn ended(&mut self, service: &ServiceName, generation: u64) {
        let running = self.running.remove(service).unwrap_or_default();
        if running.contains(&(generation, Hook::AfterStop)) {
            self.owed.remove(service);
        }
    }

    pub fn launched(&mut self, service: &ServiceName, _generation: u64, terms: &Terms) {
        if let Some(limit) = terms.hooks.get(&Hook::AfterStop) {
            self.owed.insert(service.clone(), *limit);
        }
    }

    pub fn daemon_died(&mut self) {
        self.running.clear();
    }
}

impl World {
    pub(super) fn run_hook(&mut self, service: ServiceName, generation: u64, hook: Hook) {
        self.hooks
            .running
            .entry(service.clone())
            .or_default()
            .push((generation, hook));
        // A hook that takes too long is killed in time; here the longest limit is used.
        let (longest, result) = match self.rng.below(100) {
            0..70 => (300, Ok(())),
            70..80 => (300, Err("exited 1".into())),
            80..90 => (3000, Ok(())),
            90..98 => (3000, Err("did not end in time".into())),
            // Its end is never reported.
            _ => return,
        };
        let delay = self.rng.millis(0, longest);
        self.later(
            delay,
            Event::Generation {
                service,
                generation,
                happened: Happened::HookFinished { hook, result },
            },
        );
    }
}

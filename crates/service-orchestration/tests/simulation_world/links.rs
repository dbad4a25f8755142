//! Links to places: they are lost at random moments, in every phase, for moments or for minutes. What happens there
//! meanwhile is heard of when the link is back; what was ordered just before may never arrive.

use std::collections::BTreeMap;
use std::time::Duration;

use harness_model::ServiceName;
use harness_model::resolve::SpecDigest;
use service_orchestration::machine::{
    Definition, Ended, Event, FailureCause, Found, Happened, HealthPolicy, Lost, ProbeOutcome, Recovered,
    Terms, Time,
};

use super::{Due, Flaw, World};

const WHY: &str = "the link is lost";

/// The links that are lost.
#[derive(Default)]
pub struct Links(BTreeMap<ServiceName, Link>);

struct Link {
    generation: u64,
    /// What happened there and was not heard of yet.
    held: Vec<Event>,
    /// Set if the daemon that launched the process is dead, and the present one has not heard of it.
    unseen: Option<Unseen>,
}

/// What was recorded of a process that a new daemon has not seen.
#[derive(Clone)]
pub struct Unseen {
    pub definition: Definition,
    pub digest: SpecDigest,
    pub terms: Terms,
    pub was_ready: bool,
    pub was_healthy: bool,
    pub going: bool,
    pub failed: Option<(FailureCause, String)>,
    pub restarts: u32,
    pub found_health: Option<HealthPolicy>,
}

impl Links {
    pub fn is_lost(&self, service: &ServiceName, generation: u64) -> bool {
        self.0
            .get(service)
            .is_some_and(|link| link.generation == generation)
    }

    pub fn lost(&self) -> Vec<ServiceName> {
        self.0.keys().cloned().collect()
    }

    pub fn forget(&mut self, service: &ServiceName) {
        self.0.remove(service);
    }

    /// The daemon died: of what it had not heard of, only what really happened stays.
    pub fn daemon_died(&mut self) {
        for link in self.0.values_mut() {
            link.held.retain(|event| {
                matches!(
                    event,
                    Event::Generation {
                        happened: Happened::Exited(_),
                        ..
                    } | Event::Generation {
                        happened: Happened::Launched,
                        ..
                    }
                )
            });
        }
    }

    /// A new daemon has not seen the process.
    pub fn unseen(&mut self, service: &ServiceName, generation: u64, unseen: Unseen) {
        let link = self.0.entry(service.clone()).or_insert(Link {
            generation,
            held: Vec::new(),
            unseen: None,
        });
        link.unseen = Some(unseen);
    }

    /// Keeps an event until the link is back; returns it if it is heard of at once.
    pub fn hold(&mut self, event: Event) -> Option<Event> {
        let Event::Generation {
            service,
            generation,
            happened,
        } = &event
        else {
            return Some(event);
        };
        let link = self.0.get_mut(service);
        let Some(link) = link.filter(|link| link.generation == *generation) else {
            return Some(event);
        };
        match happened {
            Happened::Contact(_) => return Some(event),
            // Probes are sent from here.
            Happened::Probed(_) => {
                let no_route = ProbeOutcome::Unhealthy("no route".into());
                return Some(Event::Generation {
                    service: service.clone(),
                    generation: *generation,
                    happened: Happened::Probed(no_route),
                });
            }
            _ => {}
        }
        link.held.push(event);
        None
    }
}

impl World {
    /// Perhaps a link is going to be lost soon.
    pub(super) fn may_lose(&mut self, service: &ServiceName, generation: u64, chance: u64, within: u64) {
        if self.is_ending || !self.rng.percent(chance) {
            return;
        }
        let after = self.rng.millis(0, within);
        let (service, is_pause) = (service.clone(), self.rng.percent(15));
        let due = Due::Lose {
            service,
            generation,
            is_pause,
        };
        self.plan(self.now.after(after), due);
    }

    pub(super) fn how_long(&mut self) -> Duration {
        match self.rng.below(20) {
            0..8 => self.rng.millis(1, 3_000),
            8..15 => self.rng.millis(3_000, 40_000),
            15..18 => self.rng.millis(40_000, 200_000),
            // For good, as far as any order can wait.
            _ => Duration::from_secs(10_000),
        }
    }

    pub(super) fn lose(
        &mut self,
        service: ServiceName,
        generation: u64,
        is_pause: bool,
    ) -> Result<(), String> {
        let lives = |world: &Self| {
            let view = world.checker.views.get(&service);
            view.is_some_and(|view| view.live() && view.generation == generation)
        };
        if self.is_ending || !lives(self) || self.links.is_lost(&service, generation) {
            return Ok(());
        }
        let lasts = self.how_long();
        self.plan(self.now.after(lasts), Due::Return(service.clone()));
        let lost = match is_pause {
            true => Lost::Paused("somebody paused it".into()),
            false => {
                let link = Link {
                    generation,
                    held: Vec::new(),
                    unseen: None,
                };
                self.links.0.insert(service.clone(), link);
                Lost::Contact(WHY.into())
            }
        };
        self.contact(&service, generation, Some(lost))
    }

    fn contact(&mut self, service: &ServiceName, generation: u64, lost: Option<Lost>) -> Result<(), String> {
        let event = Event::Generation {
            service: service.clone(),
            generation,
            happened: Happened::Contact(lost),
        };
        if self.flaw == Flaw::UnheededLoss {
            self.checker.event(&event, self.now);
            return Ok(());
        }
        self.step(event)
    }

    /// The link is back, or a paused process goes on.
    pub(super) fn link_is_back(&mut self, service: &ServiceName) -> Result<(), String> {
        let Some(link) = self.links.0.remove(service) else {
            let Some(generation) = self.checker.views.get(service).map(|view| view.generation) else {
                return Ok(());
            };
            return self.contact(service, generation, None);
        };
        if let Some(unseen) = link.unseen {
            return self.seen(service, link.generation, unseen, link.held);
        }
        // An answer may come first, and says the same.
        let answers = |event: &Event| {
            matches!(
                event,
                Event::Generation {
                    happened: Happened::Launched,
                    ..
                } | Event::Generation {
                    happened: Happened::Exited(_),
                    ..
                } | Event::Generation {
                    happened: Happened::LaunchFailed(_),
                    ..
                }
            )
        };
        let silently = link.held.first().is_some_and(answers) && self.rng.percent(50);
        if !silently {
            self.contact(service, link.generation, None)?;
        }
        for event in link.held {
            self.happen(Due::Event(event))?;
        }
        Ok(())
    }

    /// A new daemon hears at last what became of a process.
    fn seen(
        &mut self,
        service: &ServiceName,
        generation: u64,
        unseen: Unseen,
        held: Vec<Event>,
    ) -> Result<(), String> {
        let Unseen {
            definition,
            digest,
            terms,
            was_ready,
            was_healthy,
            going,
            failed,
            restarts,
            found_health,
        } = unseen;
        if held.iter().any(|event| {
            matches!(
                event,
                Event::Generation {
                    happened: Happened::Launched,
                    ..
                }
            )
        }) {
            let now = self.now;
            self.with(service, generation, |process| {
                process.launched_at.get_or_insert(now);
            });
        }
        let exited = held.iter().find_map(|event| match event {
            Event::Generation {
                happened: Happened::Exited(ended),
                ..
            } => Some(ended.clone()),
            _ => None,
        });
        let launched_at = self
            .processes
            .get(service)
            .and_then(|process| process.launched_at);
        let found = match (exited, launched_at) {
            (Some(ended), _) => {
                let event = Event::Generation {
                    service: service.clone(),
                    generation,
                    happened: Happened::Exited(ended.clone()),
                };
                if self.is_true(&event) {
                    self.checker.event(&event, self.now);
                }
                Recovered {
                    generation,
                    digest,
                    restarts,
                    found: Found::Ended {
                        ended,
                        failed,
                        fresh: true,
                        was_ready: was_healthy,
                    },
                }
            }
            (None, Some(at)) => {
                self.checker.adopted(service, at, was_ready);
                Recovered {
                    generation,
                    digest,
                    restarts,
                    found: Found::Running {
                        terms,
                        for_: self.now.since(at),
                        was_ready,
                        going,
                    },
                }
            }
            (None, None) => {
                self.kill_silently(service);
                Recovered {
                    generation,
                    digest,
                    restarts: 0,
                    found: Found::Idle,
                }
            }
        };
        let runs = matches!(found.found, Found::Running { .. });
        if let Some(policy) = found_health.filter(|_| runs) {
            self.step(Event::Generation {
                service: service.clone(),
                generation,
                happened: Happened::HealthFound { policy, needs: None },
            })?;
        }
        let owed = (!runs).then(|| self.hooks.owed.get(service).copied()).flatten();
        self.step(Event::Recover {
            service: service.clone(),
            definition,
            wanted: true,
            defined: true,
            found,
            owed,
        })
    }

    /// Whether what is ordered of a process arrives there.
    pub(super) fn arrives(&self, service: &ServiceName, generation: u64) -> bool {
        !self.links.is_lost(service, generation)
    }

    pub(super) fn ended_by(&mut self, service: ServiceName, generation: u64, ended: Ended, delay: Duration) {
        let event = Event::Generation {
            service,
            generation,
            happened: Happened::Exited(ended),
        };
        self.later(delay, event);
    }

    /// All links are back, and stay.
    pub(super) fn heal(&mut self) {
        self.is_ending = true;
        for service in self.links.lost() {
            self.plan(self.now, Due::Return(service));
        }
    }

    /// Plays on until nothing is due any more, or until this time.
    pub(super) fn settle(&mut self, until: Time) -> Result<(), String> {
        self.run_on(until)
    }
}

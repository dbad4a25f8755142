//! A day of crash loops, flapping probes, operators and killed daemons in virtual time. The same seed gives the same
//! day; nothing is doubled, every pause is within its bounds, every restart is counted, and the state does not grow.
//!
//! `HARNESS_SOAK=n` plays n days instead of one.

#![cfg(test)]
#![allow(unreachable_pub, dead_code, reason = "a test")]

#[path = "simulation_world/rng.rs"]
mod rng;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use harness_model::resolve::SpecDigest;
use harness_model::spec::{Condition, Dependency, RestartMode, RestartPolicy};
use harness_model::{ExitStatus, ServiceName, ServiceState};
use rng::Rng;
use service_orchestration::machine::{
    Deed, Definition, Effect, Ended, Event, Found, Happened, HealthPolicy, Machine, OperationId,
    OperationRequest, ProbeOutcome, Recovered, Terms, Time,
};

const HOUR: Duration = Duration::from_secs(3600);

fn name(name: &str) -> ServiceName {
    ServiceName::new(name).unwrap()
}

fn definition(mode: RestartMode, max_restarts: Option<u32>) -> Definition {
    Definition {
        digest: SpecDigest::from_text(format!("{mode:?} {max_restarts:?}")),
        dependencies: Vec::new(),
        restart: RestartPolicy { mode, max_restarts },
        oneshot: false,
        health: None,
        startup_timeout: Duration::from_secs(20),
        shutdown_timeout: Duration::from_secs(5),
        hooks: BTreeMap::new(),
    }
}

/// `crashing` ends at once. `limited` does so too, but only a limited number of times. `lasting` ends after minutes
/// or hours, and `mixed` sometimes one way, sometimes the other. `flapping` has a probe that often fails, and
/// `dependent` restarts with it.
fn definitions() -> BTreeMap<ServiceName, Definition> {
    let always = definition(RestartMode::Always, None);
    let mut all: BTreeMap<ServiceName, Definition> = ["crashing", "lasting", "mixed"]
        .into_iter()
        .map(|service| (name(service), always.clone()))
        .collect();
    all.insert(name("limited"), definition(RestartMode::OnFailure, Some(3)));
    let mut flapping = always.clone();
    flapping.health = Some(HealthPolicy {
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(1),
        retries: 2,
        eager: Duration::from_millis(100),
    });
    all.insert(name("flapping"), flapping);
    let mut dependent = always;
    dependent.dependencies.push(Dependency {
        service: name("flapping"),
        condition: Condition::Healthy,
        restart: true,
        required: true,
    });
    all.insert(name("dependent"), dependent);
    all
}

#[derive(Debug, Clone, Default)]
struct Process {
    generation: u64,
    launched_at: Option<Time>,
    over: bool,
}

/// What is expected of the next launch of a service, if only its crashes decide about it.
#[derive(Debug, Clone, Default)]
struct Row {
    /// Restarts in a row without ten stable seconds.
    streak: u32,
    ended_at: Option<Time>,
    /// A new daemon does not know how long the row was. Until a stable run, only the longest pause is known.
    loose: bool,
    /// A new daemon found it waiting to be restarted.
    waiting: bool,
}

struct Day {
    machine: Machine,
    seed: u64,
    rng: Rng,
    now: Time,
    queue: BTreeMap<(Time, u64), Event>,
    sequence: u64,
    processes: BTreeMap<ServiceName, Process>,
    rows: BTreeMap<ServiceName, Row>,
    /// Restarts by policy since the last start, as the test counts them.
    restarts: BTreeMap<ServiceName, u32>,
    launches: u64,
    operations: u64,
    trace: DefaultHasher,
}

impl Day {
    fn new(seed: u64) -> Self {
        Self {
            machine: Machine::new(seed),
            seed,
            rng: Rng::new(seed),
            now: Time::default(),
            queue: BTreeMap::new(),
            sequence: 0,
            processes: BTreeMap::new(),
            rows: BTreeMap::new(),
            restarts: BTreeMap::new(),
            launches: 0,
            operations: 0,
            trace: DefaultHasher::new(),
        }
    }

    /// Plays until this time.
    fn until(&mut self, end: Time) {
        loop {
            let next = self.queue.first_key_value().map(|(key, _)| key.0);
            let deadline = self.machine.next_deadline();
            let Some(due) = next.into_iter().chain(deadline).min().filter(|due| *due <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(due);
            if next == Some(due)
                && let Some((_, event)) = self.queue.pop_first()
            {
                self.happen(event);
            } else {
                self.step(Event::Tick);
            }
        }
    }

    fn happen(&mut self, event: Event) {
        let now = self.now;
        match &event {
            Event::Generation {
                service,
                generation,
                happened: Happened::Launched,
            } => {
                if !self.lives(service, *generation) {
                    return;
                }
                self.processes.get_mut(service).unwrap().launched_at = Some(now);
            }
            Event::Generation {
                service,
                generation,
                happened: Happened::Exited(_),
            } => {
                if !self.lives(service, *generation) {
                    return;
                }
                let process = self.processes.get_mut(service).unwrap();
                process.over = true;
                let ran = process.launched_at.map_or(Duration::ZERO, |at| now.since(at));
                let row = self.rows.entry(service.clone()).or_default();
                row.ended_at = Some(now);
                if ran > Duration::from_secs(10) {
                    row.streak = 0;
                    row.loose = false;
                }
            }
            _ => {}
        }
        self.step(event);
    }

    fn lives(&self, service: &ServiceName, generation: u64) -> bool {
        let process = self.processes.get(service);
        process.is_some_and(|process| process.generation == generation && !process.over)
    }

    fn step(&mut self, event: Event) {
        format!("{:?} {event:?}", self.now).hash(&mut self.trace);
        let effects = self.machine.step(event, self.now);
        format!("{effects:?}").hash(&mut self.trace);
        for effect in effects {
            self.perform(effect);
        }
        for service in self.machine.services() {
            let snapshot = self.machine.snapshot(service, self.now).unwrap();
            let counted = self.restarts.get(service).copied().unwrap_or_default();
            let waits = u32::from(snapshot.state == ServiceState::Restarting);
            if crashes_alone(service) {
                assert_eq!(snapshot.restarts, counted + waits, "{service} {snapshot:?}");
            }
        }
    }

    fn later(&mut self, delay: Duration, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now.after(delay), self.sequence), event);
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Generation {
                service,
                generation,
                deed: Deed::Launch(_),
            } => self.launch(service, generation),
            Effect::Generation {
                service,
                generation,
                deed: Deed::Stop,
            }
            | Effect::Generation {
                service,
                generation,
                deed: Deed::Kill,
            } => {
                let ended = Ended::Exit(ExitStatus::Signal(15));
                let delay = self.rng.millis(0, 300);
                self.later(
                    delay,
                    Event::Generation {
                        service,
                        generation,
                        happened: Happened::Exited(ended),
                    },
                );
            }
            Effect::Generation {
                service,
                generation,
                deed: Deed::Probe,
            } => {
                let outcome = match self.rng.below(100) {
                    0..25 => ProbeOutcome::Unhealthy("connection refused".into()),
                    25..27 => ProbeOutcome::Unknown("cannot ask".into()),
                    _ => ProbeOutcome::Healthy,
                };
                let delay = self.rng.millis(1, 50);
                self.later(
                    delay,
                    Event::Generation {
                        service,
                        generation,
                        happened: Happened::Probed(outcome),
                    },
                );
            }
            _ => {}
        }
    }

    fn launch(&mut self, service: ServiceName, generation: u64) {
        self.launches += 1;
        let before = self.processes.get(&service).cloned().unwrap_or_default();
        assert!(
            before.generation == 0 || before.over,
            "{service}.{generation} beside {}",
            before.generation
        );
        assert!(generation > before.generation);
        let row = self.rows.entry(service.clone()).or_default();
        if let Some(ended_at) = row.ended_at {
            let pause = self.now.since(ended_at);
            assert!(pause <= Duration::from_secs(36), "{service}: {pause:?}");
            if crashes_alone(&service) && !row.loose {
                let plain = match row.streak {
                    0 => 0.0,
                    streak => (0.1 * 2_f64.powi(i32::try_from(streak).unwrap() - 1)).min(30.0),
                };
                let bounds = plain * 0.8 - 1e-6..=plain * 1.2 + 1e-6;
                let streak = row.streak;
                assert!(
                    bounds.contains(&pause.as_secs_f64()),
                    "{service}: {pause:?} after {streak} in a row"
                );
            }
            row.streak += 1;
        }
        if row.ended_at.is_some() || row.waiting {
            *self.restarts.entry(service.clone()).or_default() += 1;
        }
        row.ended_at = None;
        row.waiting = false;
        self.processes.insert(
            service.clone(),
            Process {
                generation,
                ..Process::default()
            },
        );
        let start = self.rng.millis(0, 40);
        self.later(
            start,
            Event::Generation {
                service: service.clone(),
                generation,
                happened: Happened::Launched,
            },
        );
        let lives = match service.as_str() {
            "crashing" | "limited" => self.rng.millis(0, 2000),
            "lasting" => self.rng.millis(60_000, 7_200_000),
            // Never close to the ten seconds that make a run stable.
            "mixed" if self.rng.percent(80) => self.rng.millis(0, 8000),
            "mixed" => self.rng.millis(12_000, 60_000),
            _ => return,
        };
        let ended = Ended::Exit(ExitStatus::Code(3));
        self.later(
            start + lives,
            Event::Generation {
                service,
                generation,
                happened: Happened::Exited(ended),
            },
        );
    }

    fn order(&mut self, request: OperationRequest) {
        self.operations += 1;
        let operation = OperationId(self.operations);
        self.step(Event::Submit { operation, request });
        // Nobody waits for the operation: it would never end if something never gets healthy.
        self.step(Event::Abandon { operation });
    }

    fn start(&mut self, targets: Option<BTreeSet<ServiceName>>) {
        let definitions = definitions();
        let at_rest = |service: &ServiceName| {
            let snapshot = self.machine.snapshot(service, self.now);
            snapshot.is_none_or(|s| !s.state.is_live())
        };
        let begun: Vec<ServiceName> = definitions
            .keys()
            .filter(|service| targets.as_ref().is_none_or(|targets| targets.contains(*service)))
            .filter(|service| at_rest(service))
            .cloned()
            .collect();
        for service in begun {
            self.rows.remove(&service);
            self.restarts.remove(&service);
        }
        self.order(OperationRequest::Start {
            definitions,
            targets,
            no_deps: false,
            restart: false,
            unchosen: BTreeSet::new(),
            prune: false,
            rollback: false,
        });
    }

    /// The daemon is killed. The next one finds what runs, and what was to be restarted.
    fn daemon_dies(&mut self) {
        let before = std::mem::replace(&mut self.machine, Machine::new(self.seed));
        // Events that nobody heard are lost and asked for again; processes go on ending.
        self.queue.retain(|_, event| {
            matches!(
                event,
                Event::Generation {
                    happened: Happened::Exited(_),
                    ..
                }
            )
        });
        for (service, definition) in definitions() {
            let Some(last) = before.snapshot(&service, self.now) else {
                continue;
            };
            let process = self.processes.get_mut(&service).unwrap();
            let digest = last.digest.clone().unwrap();
            let generation = last.generation;
            let running = process.generation == generation && !process.over;
            let found = match (running, process.launched_at) {
                (true, Some(at)) => Recovered {
                    generation,
                    digest,
                    restarts: last.restarts,
                    found: Found::Running {
                        terms: Terms::of(&definition),
                        for_: self.now.since(at),
                        was_ready: last.state == ServiceState::Running,
                        going: last.state == ServiceState::Stopping,
                    },
                },
                (true, None) => {
                    process.over = true;
                    Recovered {
                        generation,
                        digest,
                        restarts: last.restarts,
                        found: Found::Ended {
                            ended: Ended::Lost("the launch was interrupted".into()),
                            failed: None,
                            fresh: true,
                            was_ready: false,
                        },
                    }
                }
                (false, _) if last.state == ServiceState::Failed => Recovered {
                    generation,
                    digest,
                    restarts: last.restarts,
                    found: Found::Failed {
                        ended: last.ended.clone(),
                        cause: last.failure.clone().unwrap(),
                        reason: last.error.clone().unwrap(),
                    },
                },
                (false, _) => Recovered {
                    generation,
                    digest,
                    restarts: last.restarts,
                    found: Found::Ended {
                        ended: last.ended.clone().unwrap(),
                        failed: None,
                        fresh: true,
                        was_ready: true,
                    },
                },
            };
            let event = Event::Recover {
                service,
                definition,
                wanted: last.wanted,
                defined: last.defined,
                found,
                owed: None,
            };
            assert_eq!(self.machine.step(event, self.now), []);
        }
        // How the row goes on after that is decided by the recovery, which has its own tests.
        self.rows.clear();
        self.restarts.clear();
        let services: Vec<ServiceName> = self.machine.services().cloned().collect();
        let effects = self.machine.step(Event::Tick, self.now);
        for effect in effects {
            self.perform(effect);
        }
        for service in services {
            let snapshot = self.machine.snapshot(&service, self.now).unwrap();
            let waits = u32::from(snapshot.state == ServiceState::Restarting);
            self.restarts.insert(service.clone(), snapshot.restarts - waits);
            let row = self.rows.entry(service).or_default();
            row.loose = true;
            row.waiting = waits == 1;
        }
    }
}

/// Whether only its own end decides when a service is launched again.
fn crashes_alone(service: &ServiceName) -> bool {
    matches!(service.as_str(), "crashing" | "limited" | "lasting" | "mixed")
}

/// Plays this many hours. Returns the largest state of each hour, a hash of the whole course, and the number of
/// launches.
fn play(seed: u64, hours: u32, kills: bool) -> (Vec<usize>, u64, u64) {
    let mut day = Day::new(seed);
    day.start(None);
    let mut sizes = Vec::new();
    for hour in 0..hours {
        let mut largest = 0;
        for quarter in 1..=4 {
            day.until(Time(hour * HOUR + HOUR / 4 * quarter));
            largest = largest.max(format!("{:?}", day.machine).len());
        }
        sizes.push(largest);
        if kills {
            let odd = day.rng.millis(0, 5000);
            day.until(day.now.after(odd));
            day.daemon_dies();
        }
        // Somebody looks in every hour and starts what was given up.
        day.start(Some(BTreeSet::from([name("limited")])));
    }
    (sizes, day.trace.finish(), day.launches)
}

/// The hours to play: one day, or as many days as requested.
fn hours() -> u32 {
    24 * std::env::var("HARNESS_SOAK").map_or(1, |days| days.parse::<u32>().unwrap())
}

#[test]
fn a_day_of_restarts_keeps_every_promise_and_the_state_small() {
    let (sizes, _, launches) = play(1, hours(), false);
    println!("{sizes:?} bytes of state, {launches} launches");
    assert!(launches > 300 * u64::from(hours()), "{launches} launches");
    let most = |sizes: &[usize]| sizes.iter().copied().max().unwrap();
    let (early, late) = sizes.split_at(sizes.len() / 4);
    assert!(most(late) * 10 <= most(early) * 12, "the state grows: {sizes:?}");
}

#[test]
fn the_same_seed_gives_the_same_course() {
    assert_eq!(play(3, 3, true), play(3, 3, true));
    assert_ne!(play(3, 3, true).1, play(4, 3, true).1);
}

#[test]
fn killed_daemons_double_nothing() {
    for seed in 0..4 {
        let (sizes, _, launches) = play(seed, hours() / 4, true);
        assert!(launches > 150 * u64::from(hours() / 4), "{launches} launches");
        assert!(sizes.iter().all(|size| *size < 20_000), "{sizes:?}");
    }
}

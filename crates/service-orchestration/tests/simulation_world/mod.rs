//! A world around the machine in virtual time: processes that start late, crash, hang and will not die, probes that
//! fail and flap, clients that make requests at random moments, and a daemon that is killed.

pub mod checks;
mod hooks;
pub mod hooks_check;
mod links;
pub mod project;
pub mod rng;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use harness_model::{ExitStatus, ServiceName, ServiceState};
use service_orchestration::machine::{
    Deed, Definition, Effect, Ended, Event, Found, Happened, HealthPolicy, Machine, OperationId,
    OperationRequest, ProbeOutcome, Recovered, Terms, Time,
};

use checks::Checker;
use rng::Rng;

/// A deliberate fault in the world, to show that the checks would find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// No fault.
    Sound,
    /// A failed probe is reported to the machine as good.
    LyingProbe,
    /// The machine is told of an exit although the process still lives.
    FalseExit,
    /// The verdict on an operation gets lost.
    LostVerdict,
    /// The machine is told that nothing of the hooks is left although something is.
    HookLeft,
    /// A new daemon does not know which `after_stop` hooks must still run.
    ForgottenDebt,
    /// The machine is not told that a place cannot be reached.
    UnheededLoss,
}

#[derive(Debug, Clone)]
struct Process {
    generation: u64,
    digest: harness_model::resolve::SpecDigest,
    terms: Terms,
    launched_at: Option<Time>,
    healthy_from: Option<Time>,
    found_health: Option<HealthPolicy>,
    stubborn: bool,
    immortal: bool,
    gone: bool,
}

enum Due {
    Event(Event),
    Client(OperationRequest),
    Abandon,
    DaemonDeath {
        reboot: bool,
    },
    Lose {
        service: ServiceName,
        generation: u64,
        is_pause: bool,
    },
    Return(ServiceName),
    /// A signal arrives at a process, if it can be reached.
    Signal {
        service: ServiceName,
        generation: u64,
        kill: bool,
    },
}

pub struct World {
    pub machine: Machine,
    pub checker: Checker,
    pub now: Time,
    pub steps: u64,
    rng: Rng,
    queue: BTreeMap<(Time, u64), Due>,
    sequence: u64,
    processes: BTreeMap<ServiceName, Process>,
    recorded: BTreeMap<ServiceName, Definition>,
    /// The hooks that run.
    hooks: hooks::Hooks,
    links: links::Links,
    /// The last order was given, and no link is lost any more.
    is_ending: bool,
    next_operation: u64,
    flaw: Flaw,
}

impl World {
    pub fn new(seed: u64, flaw: Flaw) -> Self {
        Self {
            machine: Machine::new(seed),
            checker: Checker::default(),
            now: Time::default(),
            steps: 0,
            rng: Rng::new(seed),
            queue: BTreeMap::new(),
            sequence: 0,
            processes: BTreeMap::new(),
            recorded: BTreeMap::new(),
            hooks: hooks::Hooks::default(),
            links: links::Links::default(),
            is_ending: false,
            next_operation: 0,
            flaw,
        }
    }

    /// Plays one whole schedule: random requests and faults, then a quiet time, then a stop of everything.
    pub fn play(&mut self) -> Result<(), String> {
        let mut project = project::Project::random(&mut self.rng);
        let requests = 1 + self.rng.below(4);
        let mut at = Duration::ZERO;
        for _ in 0..requests {
            let request = project.request(&mut self.rng);
            self.plan(Time(at), Due::Client(request));
            if self.rng.percent(8) {
                let after = self.rng.millis(1, 2000);
                self.plan(Time(at + after), Due::Abandon);
            }
            if self.rng.percent(12) {
                let reboot = self.rng.percent(30);
                let after = self.rng.millis(1, 3000);
                self.plan(Time(at + after), Due::DaemonDeath { reboot });
            }
            at += if self.rng.percent(40) {
                self.rng.millis(0, 300)
            } else {
                self.rng.millis(300, 6000)
            };
        }
        let limit = Time(at + Duration::from_secs(600));
        self.run(limit, |world| world.clients_done())?;
        self.submit(OperationRequest::Stop { targets: None })?;
        let limit = self.now.after(Duration::from_secs(300));
        self.run(limit, |world| world.clients_done())?;
        // The order may have ended because something was not reached. The wish stays.
        self.heal();
        self.settle(self.now.after(Duration::from_secs(300)))?;
        self.quiet()
    }

    fn clients_done(&self) -> bool {
        let of_client = |due: &Due| matches!(due, Due::Client(_) | Due::Abandon | Due::DaemonDeath { .. });
        self.checker.open.is_empty() && !self.queue.values().any(of_client)
    }

    /// After the last stop nothing lives (except what cannot be killed), and nothing happens any more.
    fn quiet(&mut self) -> Result<(), String> {
        let immortal = self
            .processes
            .values()
            .any(|process| process.immortal && !process.gone);
        for (name, view) in &self.checker.views {
            let excused = self.processes.get(name).is_some_and(|process| process.immortal);
            if view.live() && !excused {
                return Err(format!("{name} lives after everything was stopped"));
            }
        }
        if immortal {
            return Ok(());
        }
        if !self.machine.is_idle() {
            return Err("not idle after everything was stopped".into());
        }
        if let Some(due) = self.machine.next_deadline() {
            return Err(format!("idle, and something is due at {due:?}"));
        }
        let effects = self
            .machine
            .step(Event::Tick, self.now.after(Duration::from_secs(3600)));
        if effects.is_empty() {
            Ok(())
        } else {
            Err(format!("idle, and still {effects:?}"))
        }
    }

    fn run(&mut self, limit: Time, done: impl Fn(&Self) -> bool) -> Result<(), String> {
        while !done(self) {
            let next = self.queue.first_key_value().map(|(key, _)| key.0);
            let deadline = self.machine.next_deadline();
            let Some(now) = next.into_iter().chain(deadline).min() else {
                return Err(format!("nothing is due, and {:?} hang", self.checker.open.keys()));
            };
            if now > limit {
                return Err(format!("{:?} hang", self.checker.open.keys()));
            }
            self.now = self.now.max(now);
            if next.is_some_and(|next| next <= now) {
                let (_, due) = self.queue.pop_first().ok_or("empty queue")?;
                self.happen(due)?;
            } else {
                self.step(Event::Tick)?;
            }
        }
        Ok(())
    }

    fn run_on(&mut self, until: Time) -> Result<(), String> {
        loop {
            let next = self.queue.first_key_value().map(|(key, _)| key.0);
            let deadline = self.machine.next_deadline();
            let Some(now) = next.into_iter().chain(deadline).min().filter(|now| *now <= until) else {
                return Ok(());
            };
            self.now = self.now.max(now);
            if next.is_some_and(|next| next <= now) {
                let (_, due) = self.queue.pop_first().ok_or("empty queue")?;
                self.happen(due)?;
            } else {
                self.step(Event::Tick)?;
            }
        }
    }

    fn happen(&mut self, due: Due) -> Result<(), String> {
        match due {
            Due::Client(request) => self.submit(request),
            Due::Abandon => {
                let Some((operation, _)) = self.checker.open.pop_first() else {
                    return Ok(());
                };
                self.step(Event::Abandon { operation })
            }
            Due::DaemonDeath { reboot } => self.daemon_dies(reboot),
            Due::Lose {
                service,
                generation,
                is_pause,
            } => self.lose(service, generation, is_pause),
            Due::Return(service) => self.link_is_back(&service),
            Due::Signal {
                service,
                generation,
                kill,
            } => {
                if self.arrives(&service, generation) {
                    let (signal, longest) = if kill { (9, 20) } else { (15, 400) };
                    let delay = self.rng.millis(0, longest);
                    self.ended_by(
                        service,
                        generation,
                        Ended::Exit(ExitStatus::Signal(signal)),
                        delay,
                    );
                }
                Ok(())
            }
            Due::Event(event) => {
                let Some(event) = self.links.hold(event) else {
                    return Ok(());
                };
                if self.is_true(&event) {
                    return self.step(event);
                }
                Ok(())
            }
        }
    }

    /// Whether something that was scheduled can still happen; marks it as happened.
    fn is_true(&mut self, event: &Event) -> bool {
        let now = self.now;
        let Event::Generation {
            service,
            generation,
            happened,
        } = event
        else {
            return true;
        };
        match happened {
            Happened::Launched => self.with(service, *generation, |process| {
                process.launched_at.get_or_insert(now);
            }),
            Happened::LaunchFailed(_) | Happened::Exited(_) => {
                let happens = self.with(service, *generation, |process| process.gone = true);
                if happens && matches!(happened, Happened::LaunchFailed(_)) {
                    self.hooks.owed.remove(service);
                }
                happens
            }
            Happened::HookFinished { hook, .. } => self.hooks.finished(service, *generation, *hook),
            Happened::HooksEnded => {
                self.hooks.ended(service, *generation);
                true
            }
            _ => true,
        }
    }

    fn with(&mut self, service: &ServiceName, generation: u64, mark: impl FnOnce(&mut Process)) -> bool {
        match self.processes.get_mut(service) {
            Some(process) if process.generation == generation && !process.gone => {
                mark(process);
                true
            }
            _ => false,
        }
    }

    fn submit(&mut self, request: OperationRequest) -> Result<(), String> {
        let operation = OperationId(self.next_operation);
        self.next_operation += 1;
        let targets = match &request {
            OperationRequest::Start {
                definitions, targets, ..
            } => targets
                .clone()
                .unwrap_or_else(|| definitions.keys().cloned().collect()),
            OperationRequest::Stop { .. } => BTreeSet::new(),
        };
        self.checker.open.insert(operation, targets);
        let dry = self.machine.plan(&request);
        let effects = self.step_for(Event::Submit { operation, request })?;
        match effects.first() {
            Some(Effect::Planned { steps, .. }) if *steps == dry => Ok(()),
            other => Err(format!("planned {dry:?}, and did {other:?}")),
        }
    }

    fn step(&mut self, event: Event) -> Result<(), String> {
        self.step_for(event).map(|_| ())
    }

    fn step_for(&mut self, event: Event) -> Result<Vec<Effect>, String> {
        self.steps += 1;
        self.checker.event(&event, self.now);
        let shown = std::env::var_os("HARNESS_SIM_SHOW").map(|_| format!("{event:?}"));
        let told = self.distorted(event);
        let mut effects = self.machine.step(told, self.now);
        if self.flaw == Flaw::LostVerdict {
            effects.retain(|effect| !matches!(effect, Effect::Finished { .. }));
        }
        if let Some(shown) = shown {
            println!("{:>9.3?} {shown}", self.now.0);
            effects
                .iter()
                .for_each(|effect| println!("            -> {effect:?}"));
        }
        for effect in &effects {
            self.checker.effect(&self.machine, effect, self.now)?;
            self.perform(effect);
        }
        self.checker.step_over(&self.machine, &effects, self.now)?;
        Ok(effects)
    }

    /// What the machine is told instead of the truth. The checks were told the truth.
    fn distorted(&self, event: Event) -> Event {
        match (self.flaw, event) {
            (
                Flaw::LyingProbe,
                Event::Generation {
                    service,
                    generation,
                    happened: Happened::Probed(_),
                },
            ) => Event::Generation {
                service,
                generation,
                happened: Happened::Probed(ProbeOutcome::Healthy),
            },
            (
                Flaw::HookLeft,
                Event::Generation {
                    service,
                    generation,
                    happened: Happened::HookFinished { .. },
                },
            ) => Event::Generation {
                service,
                generation,
                happened: Happened::HooksEnded,
            },
            (
                Flaw::FalseExit,
                Event::Generation {
                    service,
                    generation,
                    happened: Happened::Launched,
                },
            ) => Event::Generation {
                service,
                generation,
                happened: Happened::Exited(Ended::Exit(ExitStatus::Code(1))),
            },
            (_, event) => event,
        }
    }

    fn plan(&mut self, at: Time, due: Due) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), due);
    }

    fn later(&mut self, delay: Duration, event: Event) {
        self.plan(self.now.after(delay), Due::Event(event));
    }

    fn perform(&mut self, effect: &Effect) {
        match effect.clone() {
            Effect::Generation {
                service,
                generation,
                deed,
            } => self.perform_deed(service, generation, deed),
            Effect::Changed { service, .. } => {
                if let Some(definition) = self.machine.definition(&service) {
                    self.recorded.insert(service, definition.clone());
                }
            }
            Effect::Forgotten { service } => {
                self.recorded.remove(&service);
                self.checker.published.remove(&service);
            }
            Effect::Planned { .. } | Effect::Finished { .. } => {}
        }
    }

    fn perform_deed(&mut self, service: ServiceName, generation: u64, deed: Deed) {
        match deed {
            Deed::Launch(digest) => self.launch(service, generation, digest),
            Deed::Stop => {
                let stubborn = self
                    .processes
                    .get(&service)
                    .is_none_or(|process| process.stubborn);
                self.may_lose(&service, generation, 8, 300);
                if !stubborn {
                    self.signal(service, generation, false);
                }
            }
            Deed::Kill => {
                let immortal = self
                    .processes
                    .get(&service)
                    .is_none_or(|process| process.immortal);
                self.may_lose(&service, generation, 8, 30);
                if !immortal {
                    self.signal(service, generation, true);
                }
            }
            Deed::Probe => self.probe(service, generation),
            Deed::WatchLog(pattern) => {
                if self.rng.percent(85) {
                    let delay = self.rng.millis(0, 1500);
                    self.later(
                        delay,
                        Event::Generation {
                            service,
                            generation,
                            happened: Happened::LogMatched(pattern),
                        },
                    );
                }
            }
            Deed::RunHook(hook) => self.run_hook(service, generation, hook),
            Deed::EndHook(hook) => {
                let delay = self.rng.millis(0, 100);
                let result = Err("it was ended".into());
                self.later(
                    delay,
                    Event::Generation {
                        service,
                        generation,
                        happened: Happened::HookFinished { hook, result },
                    },
                );
            }
            Deed::EndHooks => {
                let slow = self.rng.percent(3);
                let delay = self.rng.millis(0, if slow { 12_000 } else { 100 });
                self.later(
                    delay,
                    Event::Generation {
                        service,
                        generation,
                        happened: Happened::HooksEnded,
                    },
                );
            }
        }
    }

    fn signal(&mut self, service: ServiceName, generation: u64, kill: bool) {
        let delay = self.rng.millis(0, 20);
        let due = Due::Signal {
            service,
            generation,
            kill,
        };
        self.plan(self.now.after(delay), due);
    }

    fn launch(&mut self, service: ServiceName, generation: u64, digest: harness_model::resolve::SpecDigest) {
        let definition = self.machine.definition(&service).unwrap().clone();
        let oneshot = definition.oneshot;
        let terms = Terms::of(&definition);
        self.hooks.launched(&service, generation, &terms);
        let mut delay = self.rng.millis(0, 60);
        let healthy = self.rng.percent(88);
        let found_health =
            (definition.health.is_none() && !oneshot && self.rng.percent(25)).then(|| HealthPolicy {
                interval: self.rng.millis(500, 3000),
                timeout: Duration::from_secs(1),
                retries: 1 + u32::try_from(self.rng.below(3)).unwrap(),
                eager: self.rng.millis(100, 300),
            });
        self.may_lose(&service, generation, 15, 4000);
        if self.rng.percent(12) {
            for part in 1..=1 + self.rng.below(4) {
                delay += self.rng.millis(0, 1500);
                let doing = format!("pulling part {part}");
                self.later(
                    delay,
                    Event::Generation {
                        service: service.clone(),
                        generation,
                        happened: Happened::Progressed(doing),
                    },
                );
            }
            delay += self.rng.millis(0, 1500);
        }
        self.processes.insert(
            service.clone(),
            Process {
                generation,
                digest,
                terms,
                launched_at: None,
                healthy_from: healthy.then(|| self.now.after(delay).after(self.rng.millis(0, 2500))),
                found_health: found_health.clone(),
                stubborn: self.rng.percent(4),
                immortal: self.rng.percent(1) && self.rng.percent(40),
                gone: false,
            },
        );
        match self.rng.below(100) {
            0..5 => {
                let reason = "no such file".to_owned();
                return self.later(
                    delay,
                    Event::Generation {
                        service,
                        generation,
                        happened: Happened::LaunchFailed(reason),
                    },
                );
            }
            // The launch is never answered.
            5 => return,
            _ => {}
        }
        if let Some(policy) = found_health {
            let needs = self.rng.percent(30).then(|| self.rng.millis(2000, 20_000));
            self.later(
                delay,
                Event::Generation {
                    service: service.clone(),
                    generation,
                    happened: Happened::HealthFound { policy, needs },
                },
            );
        }
        let ended = |code| Ended::Exit(ExitStatus::Code(code));
        let exit = match self.rng.below(100) {
            0..12 => Some((self.rng.millis(0, 3000), ended(3))),
            12 => Some((self.rng.millis(0, 3000), Ended::SupervisorDied)),
            13 => {
                let code = i32::from(!oneshot);
                let ended = Ended::Unsupervised(ExitStatus::Code(code));
                Some((self.rng.millis(0, 3000), ended))
            }
            14..18 => Some((self.rng.millis(0, 3000), ended(0))),
            _ if oneshot => Some((self.rng.millis(0, 2000), ended(0))),
            _ => None,
        };
        // Sometimes the exit arrives before the answer to the launch.
        if !(exit.is_some() && self.rng.percent(5)) {
            self.later(
                delay,
                Event::Generation {
                    service: service.clone(),
                    generation,
                    happened: Happened::Launched,
                },
            );
        }
        if let Some((after, ended)) = exit {
            self.later(
                delay + after,
                Event::Generation {
                    service,
                    generation,
                    happened: Happened::Exited(ended),
                },
            );
        }
    }

    fn probe(&mut self, service: ServiceName, generation: u64) {
        let good = self
            .processes
            .get(&service)
            .and_then(|process| process.healthy_from)
            .is_some_and(|from| from <= self.now);
        let outcome = match self.rng.below(100) {
            0..3 => ProbeOutcome::Unknown("cannot ask".into()),
            3..12 => ProbeOutcome::Unhealthy("timed out".into()),
            _ if good => ProbeOutcome::Healthy,
            _ => ProbeOutcome::Unhealthy("connection refused".into()),
        };
        let delay = self.rng.millis(1, 80);
        if self.rng.percent(1) {
            return;
        }
        self.later(
            delay,
            Event::Generation {
                service,
                generation,
                happened: Happened::Probed(outcome),
            },
        );
    }

    /// The daemon is killed. The next one finds what is there.
    fn daemon_dies(&mut self, reboot: bool) -> Result<(), String> {
        self.checker.open.clear();
        self.checker.forgive();
        let seed = self.rng.next();
        let before = std::mem::replace(&mut self.machine, Machine::new(seed));
        // Events that nobody heard are lost; processes go on ending.
        self.queue.retain(|_, due| match due {
            Due::Event(event) => matches!(
                event,
                Event::Generation {
                    happened: Happened::Exited(_),
                    ..
                }
            ),
            _ => true,
        });
        self.links.daemon_died();
        // The next daemon ends what is left of hooks before it does anything.
        self.hooks.daemon_died();
        self.checker.hooks.daemon_died();
        let recorded = std::mem::take(&mut self.recorded);
        // Nothing of a forgotten service is left that a generation could collide with.
        self.checker
            .views
            .retain(|service, _| recorded.contains_key(service));
        for (service, definition) in recorded {
            let Some(last) = before.snapshot(&service, self.now) else {
                continue;
            };
            let generation = last.generation;
            let digest = last.digest.clone().unwrap_or_else(|| definition.digest.clone());
            let restarts = last.restarts;
            let was_ready = last.state == ServiceState::Running;
            let process = self
                .processes
                .get(&service)
                .filter(|p| !p.gone && p.generation == generation);
            let view = self.checker.views.get(&service);
            let was_healthy = view.is_some_and(|view| view.generation == generation && view.was_healthy);
            let going = last.state == ServiceState::Stopping;
            let failed = last.failure.clone().zip(last.error.clone()).filter(|_| going);
            let ended = |ended, fresh| Recovered {
                generation,
                digest: digest.clone(),
                restarts,
                found: Found::Ended {
                    ended,
                    failed: failed.clone(),
                    fresh,
                    was_ready: was_healthy,
                },
            };
            let ran = |process: &&Process| process.generation == generation && process.launched_at.is_some();
            let ran = self.processes.get(&service).is_some_and(|process| ran(&process));
            let process = process.cloned();
            let lost = process.is_some() && self.links.is_lost(&service, generation);
            if !lost || reboot {
                self.links.forget(&service);
            }
            let unseen =
                lost || process.as_ref().is_some_and(|p| p.launched_at.is_some()) && self.rng.percent(10);
            let found = match (process, last.state) {
                (Some(_), _) if reboot => {
                    self.kill_silently(&service);
                    Recovered {
                        generation,
                        digest: digest.clone(),
                        restarts: 0,
                        found: Found::Rebooted,
                    }
                }
                (Some(process), _) if unseen => {
                    let going = last.state == ServiceState::Stopping && last.failure.is_none() && last.wanted;
                    let known = links::Unseen {
                        definition: definition.clone(),
                        digest: process.digest.clone(),
                        terms: process.terms.clone(),
                        was_ready,
                        was_healthy,
                        going,
                        failed: failed.clone(),
                        restarts,
                        found_health: process.found_health,
                    };
                    self.links.unseen(&service, generation, known);
                    if !lost {
                        let lasts = self.how_long();
                        self.plan(self.now.after(lasts), Due::Return(service.clone()));
                    }
                    self.checker.not_known(&service, self.now);
                    Recovered {
                        generation,
                        digest: process.digest,
                        restarts,
                        found: Found::NotKnown {
                            terms: process.terms,
                            going,
                            why: "its place does not answer".into(),
                        },
                    }
                }
                (Some(process), _) => match process.launched_at {
                    Some(at) => {
                        self.checker.adopted(&service, at, was_ready);
                        Recovered {
                            generation,
                            digest: process.digest,
                            restarts,
                            found: Found::Running {
                                terms: process.terms,
                                for_: self.now.since(at),
                                was_ready,
                                going: last.state == ServiceState::Stopping
                                    && last.failure.is_none()
                                    && last.wanted,
                            },
                        }
                    }
                    None => {
                        self.kill_silently(&service);
                        ended(Ended::Lost("the launch was interrupted".into()), true)
                    }
                },
                (None, ServiceState::Completed) => ended(Ended::Exit(ExitStatus::Code(0)), false),
                (None, ServiceState::Failed) => Recovered {
                    generation,
                    digest: digest.clone(),
                    restarts,
                    found: Found::Failed {
                        ended: last.ended.clone(),
                        cause: last.failure.clone().ok_or("failed without a cause")?,
                        reason: last.error.clone().ok_or("failed without an error")?,
                    },
                },
                (None, ServiceState::Restarting) if ran => {
                    ended(last.ended.clone().ok_or("restarting without an end")?, true)
                }
                (None, ServiceState::Stopping) if ran && (failed.is_some() || last.ended_well) => {
                    ended(last.ended.clone().ok_or("over without an end")?, true)
                }
                (None, _) => Recovered {
                    generation,
                    digest: digest.clone(),
                    restarts: 0,
                    found: Found::Idle,
                },
            };
            let owed = match self.flaw {
                Flaw::ForgottenDebt => None,
                _ => self.hooks.owed.get(&service).copied(),
            };
            self.recorded.insert(service.clone(), definition.clone());
            let runs = matches!(found.found, Found::Running { .. });
            let found_health = self
                .processes
                .get(&service)
                .and_then(|process| process.found_health.clone());
            let of = service.clone();
            let event = Event::Recover {
                service,
                definition,
                wanted: last.wanted,
                defined: last.defined,
                found,
                owed,
            };
            let effects = self.machine.step(event, self.now);
            if !effects.is_empty() {
                return Err(format!("a recovery did something at once: {effects:?}"));
            }
            let found_health = found_health.filter(|_| runs);
            let effects = found_health.map(|policy| {
                let event = Event::Generation {
                    service: of,
                    generation,
                    happened: Happened::HealthFound { policy, needs: None },
                };
                self.machine.step(event, self.now)
            });
            if effects.is_some_and(|effects| !effects.is_empty()) {
                return Err("a health check found in a recovery did something at once".into());
            }
        }
        self.checker.published.clear();
        self.step(Event::Tick)
    }

    fn kill_silently(&mut self, service: &ServiceName) {
        if let Some(process) = self.processes.get_mut(service) {
            process.gone = true;
        }
        if let Some(view) = self.checker.views.get_mut(service) {
            view.over = true;
            self.checker
                .hooks
                .process_ended(service, view.generation, view.launched.is_some());
        }
    }
}

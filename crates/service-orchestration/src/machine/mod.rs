//! The pure state machine of one project: `(state, event, now) -> effects`.
//!
//! It decides but does nothing itself. It performs no I/O, reads no clock and starts no task. So ordering, restarts,
//! backoff, timeouts and shutdown are tested by simulation in virtual time.
//!
//! # The life of a service
//!
//! ```text
//!            start                 dependencies hold             before_start ran
//!   Idle ------------> Pending ------------------> Preparing ------------------> Launching
//!    ^  stopped,          ^  ^                     (if it has                        | launched
//!    |  completed,        |  |                      that hook)                       v
//!    |  failed            |  +-- Backoff <---+                                    Up: starting, running
//!    |                    |                  | failed, policy restarts it            |   |
//!    |  not wanted        | wanted again,    |                                       |   | stop; not ready in
//!    |                    | replaced         |                        ended by itself|   | time; unhealthy
//!    +--------------------+------------------+---- Stopping: its hooks are <---------+   v
//!                                                  ended, after_stop runs <------ Stopping: hook, signal, kill
//!                                                             | neither stop nor kill is answered
//!                                                             v
//!                                                          Adrift (state `unknown`)
//! ```
//!
//! # Rules
//!
//! - **Never doubled.** A generation begins only from Pending, and a service becomes Pending only when everything of
//!   its former generation is gone. A service that cannot be stopped is adrift, and no second one is launched beside
//!   it. Asking for it again (start or stop) kills it once more.
//! - **Order.** A service starts the moment its own dependencies hold. A service that is to be stopped satisfies no
//!   condition any more. It stops when none of its dependents that are being stopped as well is left.
//!   `condition: none` does not order anything.
//! - **Optional dependencies** are started too. They are ignored when nothing more can be expected of them: they are
//!   absent, stopped, failed, unhealthy for good, or past their `startup_timeout`. Their failure alone does not fail
//!   an operation.
//! - **`no_deps`** does not touch dependencies, but still requires them: if one does not hold, the operation fails.
//! - **Windows.** `startup_timeout` runs from the first launch in a row of attempts until the service is ready. It
//!   begins anew whenever a launch reports progress. When it passes, the order fails. A service that runs then runs on,
//!   as unhealthy, unless its policy restarts it; its dependents wait on. The `before_start` hook has a time limit of its own.
//! - **Completed.** A one-shot that exits 0 has completed, whatever its policy. So has a service that exits 0 and
//!   that its policy does not restart. The probe of a one-shot gives it health, but only its exit makes it ready.
//! - **Hooks** belong to their generation. `before_start`, `after_healthy` and `before_stop`, and what they leave in
//!   the background, end with it, at the latest when its process is gone. Then `after_stop` runs, by the terms that
//!   the generation was launched with. It runs for every generation that was launched, however it ended. Only then is
//!   the service at rest, or begun again. If a former daemon's `after_stop` was not seen to end, it runs before
//!   anything else. If `before_start` fails, the attempt fails. `after_healthy` runs once per generation (for a
//!   one-shot when it has exited 0, before it has completed); a stop ends it first. Its failure is shown and changes
//!   nothing. The same is true of `before_stop` (which runs only when a generation is stopped) and of `after_stop`.
//! - **Restart with a dependency** (`restart: true`) happens when a dependency is launched again, whoever asked for
//!   that.
//! - **Definitions.** A start makes the definitions of the file the desired ones for the services that it concerns
//!   and for those at rest. Everything else that runs keeps its own definition, also when it restarts.
//! - **A stop preempts starts** that share a service with it; they end as superseded. A start takes services back
//!   from a stop, which then ends as superseded.
//! - **Abandoned** operations give no `Finished` and roll nothing back.
//! - **Effects** of a step come in this order: `Planned`, `Forgotten`, `Changed`, then what is to be done, then
//!   `Finished`. So a step is first recorded, then performed, then answered.

mod advance;
mod attempt;
mod conditions;
mod contact;
mod effect;
mod ending;
mod event;
mod graph;
mod health;
mod operations;
mod patience;
mod plan;
mod recovery;
mod restart;
mod service;
mod snapshot;
mod stop_stage;
mod stopping;
mod terms;
mod types;
mod verdict;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use harness_model::{Health, ServiceName};

use graph::Edge;
use operations::Operation;
use service::Service;

pub use snapshot::{Snapshot, Step, WaitReason};
pub use terms::Terms;
pub(crate) use words::{brief, hook as hook_name};

pub use effect::{Deed, Effect};
pub use event::{Event, Found, Happened, Recovered};
pub use types::{
    CONTACT_TIMEOUT, Change, Definition, Ended, FailureCause, HealthPolicy, Hook, LogPattern, Lost,
    OperationId, OperationOutcome, OperationRequest, Outcome, PlannedStep, ProbeOutcome, RootFailure, Time,
    Timing,
};

/// The state of one project.
#[derive(Debug)]
pub struct Machine {
    seed: u64,
    now: Time,
    services: BTreeMap<ServiceName, Service>,
    operations: BTreeMap<OperationId, Operation>,
    /// The last generations of services that are no longer known. Their numbers are never used again.
    retired: BTreeMap<ServiceName, u64>,
    /// Recoveries are coming in. Nothing is decided before the last one.
    recovering: bool,

    dependents: BTreeMap<ServiceName, BTreeSet<ServiceName>>,
    patterns: BTreeMap<ServiceName, BTreeSet<LogPattern>>,
    loose_edges: BTreeSet<Edge>,
    graph_stale: bool,

    timers: BTreeSet<(Time, ServiceName)>,
    operation_timers: BTreeSet<(Time, OperationId, ServiceName)>,

    /// Services that may be able to take a step.
    dirty: BTreeSet<ServiceName>,
    /// Services that operations have not looked at yet.
    heard: BTreeSet<ServiceName>,
    /// Services that may look different from outside now.
    touched: BTreeSet<ServiceName>,

    planned: Vec<Effect>,
    forgotten: Vec<ServiceName>,
    actions: Vec<Effect>,
    finished: Vec<Effect>,
}

impl Machine {
    /// A project without services. `seed` decides the jitter of restarts.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            now: Time::default(),
            services: BTreeMap::new(),
            operations: BTreeMap::new(),
            retired: BTreeMap::new(),
            recovering: false,
            dependents: BTreeMap::new(),
            patterns: BTreeMap::new(),
            loose_edges: BTreeSet::new(),
            graph_stale: false,
            timers: BTreeSet::new(),
            operation_timers: BTreeSet::new(),
            dirty: BTreeSet::new(),
            heard: BTreeSet::new(),
            touched: BTreeSet::new(),
            planned: Vec::new(),
            forgotten: Vec::new(),
            actions: Vec::new(),
            finished: Vec::new(),
        }
    }

    /// The services that run, may run, or are going to run.
    pub fn not_at_rest(&self) -> impl Iterator<Item = &ServiceName> {
        let moving = self.services.iter().filter(|(_, service)| !service.is_at_rest());
        moving.map(|(name, _)| name)
    }

    /// Takes one event and returns what to do, in this order: `Planned`, `Forgotten` and `Changed` (record), then
    /// launches, stops, probes and hooks (act), then `Finished` (answer).
    ///
    /// Events about unknown services or former generations change nothing. Time never runs backwards: an earlier
    /// `now` counts as the latest one so far.
    pub fn step(&mut self, event: Event, now: Time) -> Vec<Effect> {
        self.now = self.now.max(now);
        match event {
            Event::Recover {
                service,
                definition,
                wanted,
                defined,
                found,
                owed,
            } => {
                if self.services.contains_key(&service) {
                    self.found_late(&service, found, owed);
                    if self.recovering {
                        return Vec::new();
                    }
                } else {
                    self.recover(service, definition, wanted, defined, found, owed);
                    return Vec::new();
                }
            }
            Event::Submit { operation, request } => self.submit(operation, request),
            Event::Abandon { operation } => self.abandon(operation),
            Event::Generation {
                service,
                generation,
                happened,
            } => {
                let is_early = self.recovering && matches!(happened, Happened::HealthFound { .. });
                self.happened(&service, generation, happened);
                if is_early {
                    return Vec::new();
                }
            }
            Event::Tick => {}
        }
        self.recovering = false;
        self.run()
    }

    fn happened(&mut self, service: &ServiceName, generation: u64, happened: Happened) {
        if self.current(service, generation).is_none() {
            return;
        }
        // Whoever answers is reached.
        match &happened {
            Happened::Exited(_) | Happened::LaunchFailed(_) => drop(self.windows_go_on(service)),
            Happened::Launched | Happened::Progressed(_) => self.reached(service),
            Happened::HookFinished { hook, .. } if *hook == Hook::BeforeStart => self.reached(service),
            _ => {}
        }
        match happened {
            Happened::Launched => self.launched(service, generation),
            Happened::Progressed(doing) => self.progressed(service, generation, doing),
            Happened::LaunchFailed(reason) => self.launch_failed(service, generation, reason),
            Happened::HealthFound { policy, needs } => self.health_found(service, generation, policy, needs),
            Happened::Contact(lost) => self.contact(service, generation, lost),
            Happened::Exited(ended) => self.exited(service, generation, ended),
            Happened::Probed(outcome) => self.probed(service, generation, outcome),
            Happened::LogMatched(pattern) => {
                if let Some(found) = self.current(service, generation) {
                    found.matched.insert(pattern);
                }
            }
            Happened::HookFinished { hook, result } => self.hook_finished(service, generation, hook, result),
            Happened::HooksEnded => self.hooks_ended(service, generation),
        }
    }

    fn run(&mut self) -> Vec<Effect> {
        while let Some((due, _)) = self.timers.first()
            && *due <= self.now
            && let Some((_, name)) = self.timers.pop_first()
        {
            if let Some(service) = self.services.get_mut(&name) {
                service.timer = None;
            }
            self.dirty.insert(name);
        }
        while let Some((due, _, _)) = self.operation_timers.first()
            && *due <= self.now
            && let Some((_, _, name)) = self.operation_timers.pop_first()
        {
            self.heard.insert(name);
        }
        loop {
            self.refresh_graph();
            self.settle();
            self.heard.extend(self.touched.iter().cloned());
            if !self.follow_operations() {
                break;
            }
        }
        let mut out = std::mem::take(&mut self.planned);
        let forgotten = std::mem::take(&mut self.forgotten);
        out.extend(forgotten.into_iter().map(|service| Effect::Forgotten { service }));
        self.publish(&mut out);
        out.append(&mut self.actions);
        out.append(&mut self.finished);
        out
    }

    /// When `Event::Tick` is due at the latest; `None` if only other events can change anything.
    pub fn next_deadline(&self) -> Option<Time> {
        if self.recovering {
            return Some(self.now);
        }
        let service = self.timers.first().map(|(due, _)| *due);
        let operation = self.operation_timers.first().map(|(due, _, _)| *due);
        service.into_iter().chain(operation).min()
    }

    /// Every known service.
    pub fn services(&self) -> impl Iterator<Item = &ServiceName> {
        self.services.keys()
    }

    /// The desired definition of a service, which its next launch uses.
    pub fn definition(&self, service: &ServiceName) -> Option<&Definition> {
        self.services.get(service).map(|found| &found.definition)
    }

    /// Whether nothing runs, nothing is going to run, and no operation is in flight.
    pub fn is_idle(&self) -> bool {
        self.operations.is_empty() && self.services.values().all(Service::is_at_rest)
    }

    /// The service, if the event is about its current generation.
    fn current(&mut self, name: &ServiceName, generation: u64) -> Option<&mut Service> {
        let service = self.services.get_mut(name)?;
        if service.generation != generation {
            return None;
        }
        self.dirty.insert(name.clone());
        Some(service)
    }

    fn probed(&mut self, name: &ServiceName, generation: u64, outcome: ProbeOutcome) {
        let now = self.now;
        let Some(service) = self.current(name, generation) else {
            return;
        };
        let before = service.health();
        let outcome = match (service.lost(), outcome) {
            // It is unknown what the answer was about, too.
            (Some(lost), ProbeOutcome::Unhealthy(_) | ProbeOutcome::Unknown(_)) => {
                ProbeOutcome::Unknown(lost.why().to_owned())
            }
            (_, outcome) => outcome,
        };
        let Some(up) = service.up_mut() else { return };
        let Some(probing) = &mut up.probing else { return };
        if !probing.answered(outcome, now) {
            return;
        }
        match (before, service.health()) {
            (before, after) if before == after => {}
            (_, Health::Unhealthy) => {
                let reason = advance::unhealthy(service).reason;
                service.note(reason);
            }
            (Health::Unhealthy | Health::Unknown, Health::Healthy) => service.note("healthy again"),
            (_, Health::Unknown) => service.note("its health is unknown"),
            _ => {}
        }
    }

    fn hook_finished(&mut self, name: &ServiceName, generation: u64, hook: Hook, result: Result<(), String>) {
        match hook {
            Hook::BeforeStart => self.prepared(name, generation, result),
            Hook::AfterHealthy | Hook::BeforeStop | Hook::AfterStop => {
                let Some(service) = self.current(name, generation) else {
                    return;
                };
                let Some(up) = service.up_mut() else {
                    return self.hook_of_stop_finished(name, hook, result);
                };
                if hook == Hook::AfterHealthy && std::mem::take(&mut up.hook_runs) {
                    result
                        .err()
                        .into_iter()
                        .for_each(|why| service.hook_failed(hook, &why));
                }
            }
        }
    }
}

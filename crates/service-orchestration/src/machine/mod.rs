//! The pure state machine of one project: `(state, event, now) -> effects`.
//!
//! It decides; it does nothing. It performs no I/O, reads no clock and starts no task, so ordering, restarts,
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
//! - **Never doubled.** A generation is begun from Pending only, and Pending is reached only when everything of
//!   the former generation is gone. What cannot be stopped is adrift and is never launched beside; asking for
//!   it again (start or stop) kills it once more.
//! - **Order.** A service starts the moment its own dependencies hold. One that is to be stopped holds no
//!   condition any more, and stops when no dependent that is being stopped as well is left. `condition: none`
//!   orders nothing.
//! - **Optional dependencies** are started along; they are passed over when nothing more can be expected of them:
//!   absent, stopped, failed, unhealthy for good, or past their `startup_timeout`. Their failure alone does not
//!   fail an operation.
//! - **`no_deps`** leaves dependencies alone, it does not waive them: what they do not hold fails the operation.
//! - **Windows.** `startup_timeout` runs from the first launch of a row of attempts until it is ready, anew
//!   whenever a launch tells of its progress. The `before_start` hook has a time of its own.
//! - **Completed.** A one-shot that exits 0 has completed, whatever its policy; so has a service whose policy
//!   does not restart it. A one-shot's probe gives it health, only its exit makes it ready.
//! - **Hooks** belong to their generation. `before_start`, `after_healthy` and `before_stop`, and what they leave
//!   in the background, end with it, at the latest when its process is gone. Then `after_stop` runs, however a
//!   generation that was launched has ended, by what it was launched with; only then is the service at rest, or
//!   begun again. A former daemon's `after_stop` that has not been seen to end runs before anything else.
//!   `before_start` failing fails the attempt. `after_healthy` runs once per generation (a one-shot's when it has
//!   exited 0, before it has completed); a stop ends it first. Its failure is shown and changes nothing, as with
//!   `before_stop` (which runs only when a generation is stopped) and `after_stop`.
//! - **Restart with a dependency** (`restart: true`): when a dependency is launched again, whoever asked for it.
//! - **Definitions.** A start makes the file's definitions desired for the services it concerns and for those
//!   at rest; what runs otherwise goes on, restarts included, by its own.
//! - **A stop preempts starts** it shares a service with; they end as superseded. A start takes services back
//!   from a stop, which then ends as superseded.
//! - **Abandoned** operations give no `Finished` and roll nothing back.
//! - **Effects** of a step come in this order: `Planned`, `Forgotten`, `Changed`, what is to be done, `Finished`.
//!   Recorded first, then done, then answered.

mod advance;
mod attempt;
mod conditions;
mod ending;
mod graph;
mod health;
mod operations;
mod patience;
mod plan;
mod recovery;
mod restart;
mod service;
mod snapshot;
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

pub use types::{
    Change, Definition, Effect, Ended, Event, FailureCause, HealthPolicy, Hook, LogPattern, Lost,
    OperationId, OperationOutcome, OperationRequest, Outcome, PlannedStep, ProbeOutcome, Recovered,
    RootFailure, Time, Timing,
};

/// The state of one project.
#[derive(Debug)]
pub struct Machine {
    seed: u64,
    now: Time,
    services: BTreeMap<ServiceName, Service>,
    operations: BTreeMap<OperationId, Operation>,
    /// The last generations of services that are not known any more: none is ever used again.
    retired: BTreeMap<ServiceName, u64>,
    /// Recoveries are coming in, and nothing is decided before the last.
    recovering: bool,

    dependents: BTreeMap<ServiceName, BTreeSet<ServiceName>>,
    patterns: BTreeMap<ServiceName, BTreeSet<LogPattern>>,
    loose_edges: BTreeSet<Edge>,
    graph_stale: bool,

    timers: BTreeSet<(Time, ServiceName)>,
    operation_timers: BTreeSet<(Time, OperationId, ServiceName)>,

    /// Services that may be able to take a step.
    dirty: BTreeSet<ServiceName>,
    /// Services that operations have yet to look at.
    heard: BTreeSet<ServiceName>,
    /// Services that may look different from outside.
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

    /// The services of which something runs, is going to, or may.
    pub fn not_at_rest(&self) -> impl Iterator<Item = &ServiceName> {
        let moving = self.services.iter().filter(|(_, service)| !service.is_at_rest());
        moving.map(|(name, _)| name)
    }

    /// Takes one event in and says what to do, in this order: `Planned`, `Forgotten` and `Changed` (record),
    /// then launches, stops, probes and hooks (act), then `Finished` (answer).
    ///
    /// Events about unknown services or former generations change nothing. Time never runs backwards: an
    /// earlier `now` counts as the latest one given.
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
                self.recover(service, definition, wanted, defined, found, owed);
                return Vec::new();
            }
            Event::Submit { operation, request } => self.submit(operation, request),
            Event::Abandon { operation } => self.abandon(operation),
            Event::Launched { service, generation } => self.launched(&service, generation),
            Event::Progressed {
                service,
                generation,
                doing,
            } => self.progressed(&service, generation, doing),
            Event::LaunchFailed {
                service,
                generation,
                reason,
            } => {
                self.launch_failed(&service, generation, reason);
            }
            Event::HealthFound {
                service,
                generation,
                policy,
                needs,
            } => {
                self.health_found(&service, generation, policy, needs);
                if self.recovering {
                    return Vec::new();
                }
            }
            Event::Contact {
                service,
                generation,
                lost,
            } => self.contact(&service, generation, lost),
            Event::Exited {
                service,
                generation,
                ended,
            } => self.exited(&service, generation, ended),
            Event::Probed {
                service,
                generation,
                outcome,
            } => self.probed(&service, generation, outcome),
            Event::LogMatched {
                service,
                generation,
                pattern,
            } => {
                if let Some(found) = self.current(&service, generation) {
                    found.matched.insert(pattern);
                }
            }
            Event::HookFinished {
                service,
                generation,
                hook,
                result,
            } => {
                self.hook_finished(&service, generation, hook, result);
            }
            Event::HooksEnded { service, generation } => self.hooks_ended(&service, generation),
            Event::Tick => {}
        }
        self.recovering = false;
        self.run()
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

    /// The desired definition of a service: the one its next launch goes by.
    pub fn definition(&self, service: &ServiceName) -> Option<&Definition> {
        self.services.get(service).map(|found| &found.definition)
    }

    /// Whether nothing runs, nothing is going to run, and no operation is in flight.
    pub fn is_idle(&self) -> bool {
        self.operations.is_empty() && self.services.values().all(Service::is_at_rest)
    }

    /// The service, if the event is about its present generation.
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
        let Some(up) = service.up_mut() else { return };
        let outcome = match (&up.lost, outcome) {
            // What the answer was about is not known either.
            (Some(lost), ProbeOutcome::Unhealthy(_) | ProbeOutcome::Unknown(_)) => {
                ProbeOutcome::Unknown(lost.why().to_owned())
            }
            (_, outcome) => outcome,
        };
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
            (_, Health::Unknown) => service.note("its health cannot be told"),
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

//! The pure state machine of one project: `(state, event, now) -> effects`.
//!
//! It decides; it does nothing. It performs no I/O, reads no clock and starts no task, so ordering, restarts,
//! backoff, timeouts and shutdown are tested by simulation in virtual time.

mod types;

use harness_model::ServiceName;

pub use types::{
    Change, Definition, Effect, Ended, Event, FailureCause, HealthPolicy, Hook, LogPattern, OperationId,
    OperationOutcome, OperationRequest, Outcome, PlannedStep, ProbeOutcome, Recovered, RootFailure, Snapshot,
    Step, Time, Timing, WaitReason,
};

/// The state of one project.
#[derive(Debug)]
pub struct Machine {
    seed: u64,
    definitions: std::collections::BTreeMap<ServiceName, Definition>,
}

impl Machine {
    /// A project without services. `seed` decides the jitter of restarts.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            definitions: Default::default(),
        }
    }

    /// Takes one event in and says what to do: record (`Changed`) first, then act, then reply (`Finished`).
    pub fn step(&mut self, _event: Event, _now: Time) -> Vec<Effect> {
        self.seed = self.seed.wrapping_add(1);
        Vec::new()
    }

    /// When `Event::Tick` is due at the latest.
    pub fn next_deadline(&self) -> Option<Time> {
        None
    }

    /// How a service is; `None` if it is not known.
    pub fn snapshot(&self, _service: &ServiceName, _now: Time) -> Option<Snapshot> {
        None
    }

    /// Every known service.
    pub fn services(&self) -> impl Iterator<Item = &ServiceName> {
        self.definitions.keys()
    }

    /// The desired definition of a service: the one its next launch goes by.
    pub fn definition(&self, service: &ServiceName) -> Option<&Definition> {
        self.definitions.get(service)
    }

    /// What a request would do, without doing it.
    pub fn plan(&self, _request: &OperationRequest) -> Vec<PlannedStep> {
        Vec::new()
    }

    /// Whether nothing runs, nothing is wanted and no operation is in flight.
    pub fn is_idle(&self) -> bool {
        self.definitions.is_empty()
    }
}

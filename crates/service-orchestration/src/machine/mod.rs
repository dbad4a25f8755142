//! The pure state machine of one project: `(state, event, now) -> effects`.
//!
//! It decides; it does nothing. It performs no I/O, reads no clock and starts no task, so ordering, restarts,
//! backoff, timeouts and shutdown are tested by simulation in virtual time.

mod types;

pub use types::{
    Change, Definition, Effect, Ended, Event, FailureCause, HealthPolicy, Hook, LogPattern, OperationId,
    OperationOutcome, OperationRequest, Outcome, PlannedStep, ProbeOutcome, Recovered, RootFailure, Snapshot,
    Step, Time, Timing, WaitReason,
};

//! What happens: the machine's input.

use std::time::Duration;

use harness_model::ServiceName;
use harness_model::resolve::SpecDigest;

use super::terms::Terms;
use super::types::{
    Definition, Ended, FailureCause, HealthPolicy, Hook, LogPattern, Lost, OperationId, OperationRequest,
    ProbeOutcome,
};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "events are moved once, and a box would burden every recovery's writer"
)]
pub enum Event {
    /// A client asks for something.
    Submit {
        /// The id of its operation.
        operation: OperationId,
        /// The request.
        request: OperationRequest,
    },
    /// The client of an operation no longer waits. What the operation began goes on.
    Abandon {
        /// The id of its operation.
        operation: OperationId,
    },
    /// Something happened to a generation of a service. If it is not the current one, this changes nothing.
    Generation {
        /// The name of the service.
        service: ServiceName,
        /// The number of the start, counted from 1.
        generation: u64,
        /// What happened.
        happened: Happened,
    },
    /// A new daemon found what a former one left. Given once for each service, before any operation. If it was
    /// [`Found::NotKnown`], it is given once more when it is known; of that second one, only `found` and `owed` count.
    Recover {
        /// The name of the service.
        service: ServiceName,
        /// Its definition as recorded.
        definition: Definition,
        /// Whether it should be up.
        wanted: bool,
        /// Whether the newest file contained it.
        defined: bool,
        /// What was found.
        found: Recovered,
        /// Set if the `after_stop` hook of its last generation has not run yet; the time that the hook may take.
        /// Ignored if that generation runs.
        owed: Option<Duration>,
    },
    /// Time has passed. Given at the latest when `next_deadline` is reached.
    Tick,
}

/// Something that happened to a generation of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    /// Its process runs.
    Launched,
    /// Its launch goes on: what it is doing, in one line, such as `pulling image nginx: 3 of 12 MB`. This may come any
    /// number of times before the launch is answered.
    Progressed(String),
    /// Its process could not be launched; why, in one line. Nothing of it runs.
    LaunchFailed(String),
    /// Its image has a health check. It counts if the definition has none. Given before its `Launched` or its second
    /// `Recover`, or right after the first `Recover` that found it running.
    HealthFound {
        /// How to follow its health.
        policy: HealthPolicy,
        /// How long a start takes at least with this health check; `None` if the definition alone decides.
        needs: Option<Duration>,
    },
    /// Its state has become unknown (its place cannot be reached, or it is paused), or known again (`None`). This may
    /// come in every phase, also before its launch is answered and while it is being stopped. An answer (`Launched`,
    /// `LaunchFailed`, `Exited`) says that it is known again.
    Contact(Option<Lost>),
    /// Everything of it is gone.
    Exited(Ended),
    /// A probe has answered.
    Probed(ProbeOutcome),
    /// A watched pattern was found in its output.
    LogMatched(LogPattern),
    /// A hook has ended. What it left in the background may go on, except for `AfterStop`, where that is gone too.
    HookFinished {
        /// The hook.
        hook: Hook,
        /// Why it failed, if it did.
        result: Result<(), String>,
    },
    /// Nothing of its hooks is left.
    HooksEnded,
}

/// What a new daemon found of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The number of its last start; 0 if there was none.
    pub generation: u64,
    /// The spec that it was started with.
    pub digest: SpecDigest,
    /// Restarts so far.
    pub restarts: u32,
    /// What became of that start.
    pub found: Found,
}

/// What a new daemon found of a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Its process runs and is managed again.
    Running {
        /// The other terms it was started with.
        terms: Terms,
        /// How long it has been running.
        for_: Duration,
        /// Whether it had become ready before.
        was_ready: bool,
        /// Whether it was being stopped in order to start again.
        going: bool,
    },
    /// It was launched, and its place does not say what became of it. A second `Recover` follows when it does.
    NotKnown {
        /// The other terms it was started with.
        terms: Terms,
        /// Whether it was being stopped in order to start again.
        going: bool,
        /// Why it is not known, in one line.
        why: String,
    },
    /// It has ended, while no daemon ran or before. `fresh` says that nobody has dealt with that yet.
    Ended {
        /// How it ended.
        ended: Ended,
        /// If it was stopped or ended because of a failure: the cause, and the same in one line.
        failed: Option<(FailureCause, String)>,
        /// Whether the restart policy still has to decide.
        fresh: bool,
        /// Whether it had become ready before. An end before that is a failure, however well it ended.
        was_ready: bool,
    },
    /// It had failed for good before (its policy had decided). It is shown as failed.
    Failed {
        /// How its process ended, if it had one.
        ended: Option<Ended>,
        /// Why it failed.
        cause: FailureCause,
        /// The same in one line: the recorded error.
        reason: String,
    },
    /// The machine was rebooted while it ran.
    Rebooted,
    /// It never ran, or had been stopped.
    Idle,
}

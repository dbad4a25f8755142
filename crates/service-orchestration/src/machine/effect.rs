//! What the machine wants done: its output.

use harness_model::ServiceName;
use harness_model::resolve::SpecDigest;

use super::types::{Hook, LogPattern, OperationId, OperationOutcome, PlannedStep};

/// What the machine wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Something is to be done with a generation of a service.
    Generation {
        /// The name of the service.
        service: ServiceName,
        /// The number of the start, counted from 1.
        generation: u64,
        /// What is to be done.
        deed: Deed,
    },
    /// The snapshot of a service changed. Record and publish it.
    Changed {
        /// The name of the service.
        service: ServiceName,
        /// What happened, in one line for people: `exited 3 after 0.2s, restarting in 0.1s (attempt 2 of 3)`.
        message: String,
    },
    /// A service is no longer known: it is stopped and no longer in the file.
    Forgotten {
        /// The name of the service.
        service: ServiceName,
    },
    /// An operation was accepted; these are its steps. This is the first effect of each submit.
    Planned {
        /// The id of the operation.
        operation: OperationId,
        /// The steps, dependencies first (for a stop: dependents first).
        steps: Vec<PlannedStep>,
    },
    /// An operation has ended.
    Finished {
        /// The id of the operation.
        operation: OperationId,
        /// How it ended.
        outcome: OperationOutcome,
    },
}

/// What is to be done with a generation of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// Launch a new process with the desired definition, which has this digest. The generation was never used before.
    /// Answered by `Launched` or `LaunchFailed`, then `Exited` once.
    Launch(SpecDigest),
    /// Stop it: signal, grace period, SIGKILL to all that is left. Answered by `Exited`. It may be asked for while the
    /// launch is still unanswered, and once more after contact was lost.
    Stop,
    /// The stop has not worked in its time. Kill everything of it by every means.
    Kill,
    /// Probe once. Answered by `Probed`. At most one probe is in flight.
    Probe,
    /// Watch its output for a pattern, from the start on. Answered by `LogMatched`, or never.
    WatchLog(LogPattern),
    /// Run a hook, at most for its time limit. Answered by `HookFinished`.
    RunHook(Hook),
    /// End a hook that runs. Answered by its `HookFinished`.
    EndHook(Hook),
    /// End all its hooks that run, and everything that its hooks have left in the background. Answered by
    /// `HooksEnded`.
    EndHooks,
}

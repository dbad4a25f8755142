//! What happens between a request and its response.

use harness_model::{ForeignText, ProjectName, ServiceName, WallTime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::response::{Change, PlanStep, StartReport};
use super::view::ServiceView;

/// An event of a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Something has to be fetched before a start can be planned.
    Preparing {
        /// Of which service.
        service: ServiceName,
        /// What is done, for people.
        doing: ForeignText,
    },
    /// What a start or stop is going to do; first event of it but those before the plan.
    Plan(Vec<PlanStep>),
    /// A service took a step (start, restart, stop, wait).
    Progress(Progress),
    /// How the start of a `run` ended; its services are kept up from now on.
    Started(Box<StartReport>),
    /// The registry changed.
    Change(ChangeEvent),
    /// The subscriber was too slow and this many events were dropped.
    Missed(u64),
    /// So many lines of this service were dropped by rotation or a full disk before the reader came to them.
    LogGap {
        /// Whose lines.
        service: ServiceName,
        /// How many.
        lines: u64,
    },
    /// The exec or attach runs; bytes may follow.
    Opened {},
    /// From an action.
    Action(serde_json::Value),
}

/// Where a service of a start, stop or wait has got to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// How it is.
    pub view: ServiceView,
    /// Where it has got to.
    pub phase: ProgressPhase,
    /// Milliseconds since it was launched (or since the request, while it waits).
    pub elapsed_ms: u64,
}

/// Where a service has got to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProgressPhase {
    /// Waits for others.
    Waiting(Vec<WaitingFor>),
    /// Its launch is at something that takes long.
    Launching {
        /// What: `pulling image nginx: 3 of 12 MB`.
        doing: ForeignText,
    },
    /// Launched, not ready.
    Starting {
        /// What the last probe answered.
        last_probe: Option<ForeignText>,
        /// Milliseconds until `startup_timeout`.
        left_ms: u64,
    },
    /// Ready: healthy, completed, or running without a probe.
    Ready {
        /// What was done to get there.
        change: Change,
    },
    /// Ended and will be tried again.
    Retrying {
        /// How it ended.
        reason: ForeignText,
        /// Milliseconds until the next try.
        in_ms: u64,
    },
    /// Will not become ready.
    Failed {
        /// Why, in one line.
        reason: ForeignText,
    },
    /// Being stopped.
    Stopping,
    /// The same, and at something that may take long.
    Ending {
        /// What: `running its after_stop hook`.
        doing: ForeignText,
    },
    /// Gone.
    Stopped,
}

/// What a service waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaitingFor {
    /// The other service.
    pub service: ServiceName,
    /// `be healthy`, `complete`, …
    pub condition: ForeignText,
}

/// A change in the registry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChangeEvent {
    /// Rises by one with each event of a daemon.
    pub sequence: u64,
    /// When.
    pub time: WallTime,
    /// The project.
    pub project: ProjectName,
    /// The service; `None` for the project as a whole.
    pub service: Option<ServiceName>,
    /// What happened.
    pub kind: ChangeKind,
    /// In one line: `exited 3 after 0.2s; restarting in 0.4s (attempt 2 of 3)`.
    pub message: ForeignText,
    /// How the service is after it.
    pub view: Option<ServiceView>,
}

/// What kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// A service came under management or its spec changed.
    Registered,
    /// A service is gone from the registry.
    Removed,
    /// The state of a service changed.
    State,
    /// The health of a service changed.
    Health,
    /// A service was found again after the daemon was replaced.
    Adopted,
    /// A hook of a service has ended, well or not.
    Hook,
    /// Something about the whole project.
    Project,
}

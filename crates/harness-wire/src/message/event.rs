//! Events between a request and its response.

use harness_model::{ForeignText, ProjectName, ServiceName, WallTime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::response::{Change, PlanStep, StartReport};
use super::view::ServiceView;

/// An event of a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Something is fetched before a start can be planned.
    Preparing {
        /// The service that needs it.
        service: ServiceName,
        /// What is being done, for people.
        doing: ForeignText,
    },
    /// What a start or stop is going to do. Only `preparing` events come before it.
    Plan(Vec<PlanStep>),
    /// The progress of a service (start, restart, stop, wait).
    Progress(Progress),
    /// The start of a `run` has ended. Its services are kept up from now on.
    Started(Box<StartReport>),
    /// The registry changed.
    Change(ChangeEvent),
    /// The subscriber was too slow and this many events were dropped.
    Missed(u64),
    /// Lines of a service were lost through rotation or a full disk before the reader reached them.
    LogGap {
        /// The service.
        service: ServiceName,
        /// How many lines.
        lines: u64,
    },
    /// The exec or attach is running. Bytes may follow.
    Opened {},
    /// An event of an action.
    Action(serde_json::Value),
}

/// The progress of a service in a start, stop or wait.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// Its current state.
    pub view: ServiceView,
    /// Its phase.
    pub phase: ProgressPhase,
    /// Milliseconds since it was launched (while it waits: since the request).
    pub elapsed_ms: u64,
}

/// The phase of a service in a start, stop or wait.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProgressPhase {
    /// It waits for other services.
    Waiting(Vec<WaitingFor>),
    /// Its launch is doing something that takes long.
    Launching {
        /// What: `pulling image nginx: 3 of 12 MB`.
        doing: ForeignText,
    },
    /// Launched, but not ready.
    Starting {
        /// What the last probe answered.
        last_probe: Option<ForeignText>,
        /// Milliseconds until `startup_timeout`.
        left_ms: u64,
    },
    /// Ready: healthy, completed, or running without a probe.
    Ready {
        /// What was done to the service.
        change: Change,
    },
    /// It ended, and will be started again.
    Retrying {
        /// How it ended.
        reason: ForeignText,
        /// Milliseconds until the next try.
        in_ms: u64,
    },
    /// It will not become ready.
    Failed {
        /// Why, in one line.
        reason: ForeignText,
    },
    /// It is being stopped.
    Stopping,
    /// It is being stopped, and doing something that may take long.
    Ending {
        /// What: `running its after_stop hook`.
        doing: ForeignText,
    },
    /// It is stopped.
    Stopped,
}

/// A condition that a service waits for.
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
    /// A number that grows by one with each event of a daemon.
    pub sequence: u64,
    /// When it happened.
    pub time: WallTime,
    /// The project.
    pub project: ProjectName,
    /// The service; `None` for the project as a whole.
    pub service: Option<ServiceName>,
    /// What happened.
    pub kind: ChangeKind,
    /// One line for people: `exited 3 after 0.2s; restarting in 0.4s (attempt 2 of 3)`.
    pub message: ForeignText,
    /// The service after the change.
    pub view: Option<ServiceView>,
}

/// The kind of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// A service was added, or its spec changed.
    Registered,
    /// A service was removed from the registry.
    Removed,
    /// The state of a service changed.
    State,
    /// The health of a service changed.
    Health,
    /// A service was found again after the daemon was replaced.
    Adopted,
    /// A hook of a service has ended, successfully or not.
    Hook,
    /// Something about the whole project.
    Project,
}

//! The machine's input and output.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use harness_model::resolve::SpecDigest;
use harness_model::spec::{Dependency, RestartPolicy};
use harness_model::{ExitStatus, ServiceName};
use serde::{Deserialize, Serialize};

/// A monotonic instant: the time since some fixed origin. The machine only compares and adds instants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub Duration);

impl Time {
    /// The instant that is this much later.
    pub fn after(self, delay: Duration) -> Self {
        Self(self.0.saturating_add(delay))
    }

    /// The time since `earlier`; zero if that is in the future.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// What the machine must know of a service. It does not look at anything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Changes when the resolved spec changes.
    pub digest: SpecDigest,
    /// What must hold before it starts.
    pub dependencies: Vec<Dependency>,
    /// When it is started again after its end.
    pub restart: RestartPolicy,
    /// Whether it is done when it exits 0.
    pub oneshot: bool,
    /// How its health is followed. `None`: as its image says. If the image says nothing, there is no probe and it
    /// never counts as healthy.
    pub health: Option<HealthPolicy>,
    /// How long it may take from its first launch until it is ready, including restarts.
    pub startup_timeout: Duration,
    /// The time from the stop signal until SIGKILL. The executor enforces it; the machine waits a little longer.
    pub shutdown_timeout: Duration,
    /// Which hooks it has, and how long each may take. Whoever runs a hook enforces its limit.
    pub hooks: BTreeMap<Hook, Duration>,
}

/// How the health of a service is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthPolicy {
    /// The time between two probes once it has been healthy.
    pub interval: Duration,
    /// How long a probe may take. The prober enforces it.
    pub timeout: Duration,
    /// How many failures in a row make it unhealthy.
    pub retries: u32,
    /// The longest pause between two probes in the first second of a start: 10 ms, for commands 100 ms.
    pub eager: Duration,
}

/// A command around the life of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hook {
    /// Before its process is launched. If it fails, the attempt fails.
    BeforeStart,
    /// After it became ready.
    AfterHealthy,
    /// Before its stop signal.
    BeforeStop,
    /// After it is gone, however it ended, and before it starts again.
    AfterStop,
}

/// The id of a request in flight, chosen by whoever submits it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(pub u64);

/// What a client can ask of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationRequest {
    /// Bring `targets` up (with what they depend on, unless `no_deps`). `definitions` become the desired ones of
    /// every service in them.
    Start {
        /// The whole file as it is now.
        definitions: BTreeMap<ServiceName, Definition>,
        /// The services to bring up; `None` for all of `definitions`.
        targets: Option<BTreeSet<ServiceName>>,
        /// Do not touch what they depend on.
        no_deps: bool,
        /// Stop and start the targets even if nothing changed.
        restart: bool,
        /// Services that belong to the project but are not in `definitions`, because nobody chose them this time.
        /// What is known of them stays.
        unchosen: BTreeSet<ServiceName>,
        /// Stop services that are in neither `definitions` nor `unchosen`.
        prune: bool,
        /// If it fails, stop what it began.
        rollback: bool,
    },
    /// Stop services, dependents first; `None` for all. Stopping all also forgets completed one-shots, so that they
    /// run again.
    Stop {
        /// The services to stop.
        targets: Option<BTreeSet<ServiceName>>,
    },
}

/// How long an order waits for a service that cannot be reached. Then the order ends; the wish stays.
pub const CONTACT_TIMEOUT: Duration = Duration::from_secs(30);

/// Why the state of a generation is not reliable at present. If it ends, the end is still reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// It is unknown whether it runs. The text says why, in one line.
    Contact(String),
    /// It exists but does nothing, because somebody has paused it. The text says so, in one line.
    Paused(String),
}

impl Lost {
    /// The reason, in one line.
    pub fn why(&self) -> &str {
        match self {
            Self::Contact(why) | Self::Paused(why) => why,
        }
    }
}

/// How a generation ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// Its main process ended.
    Exit(ExitStatus),
    /// It was killed because it used more memory than its limit. The status says how its main process ended.
    OutOfMemory(ExitStatus),
    /// Its main process exited and left others in sessions of their own, as a program does that makes itself a daemon.
    /// They were stopped.
    Background {
        /// How the main process ended.
        exit: ExitStatus,
        /// The name of what it left.
        program: String,
    },
    /// Its supervisor died. Its processes were found and killed.
    SupervisorDied,
    /// Its main process ended by itself, but its supervisor died before it could report that. The rest was killed.
    Unsupervised(ExitStatus),
    /// The machine that it ran on was rebooted.
    Rebooted,
    /// It is gone, and it is unknown how it ended.
    Lost(String),
}

/// The result of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// Good.
    Healthy,
    /// Bad. The text is the answer in one line: `connection refused`.
    Unhealthy(String),
    /// It could not be asked, because the prober itself failed. This is neither good nor bad.
    Unknown(String),
}

/// A regular expression that is watched for in the output.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPattern(pub String);

/// What an operation does to a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedStep {
    /// The name of the service.
    pub service: ServiceName,
    /// What is done to it.
    pub change: Change,
    /// The services that it waits for.
    pub after: Vec<ServiceName>,
}

/// What is done to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// It is not running and is started.
    Start,
    /// It runs (or has completed) with the same spec.
    Unchanged,
    /// It runs with another spec, so it is stopped and started.
    Replace,
    /// It is stopped and started because somebody asked for that, or because it restarts with a dependency.
    Restart,
    /// It is stopped.
    Stop,
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationOutcome {
    /// Whether it reached its goal, or why not.
    pub outcome: Outcome,
    /// The timing of each service in it.
    pub timings: BTreeMap<ServiceName, Timing>,
}

/// Whether an operation reached its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is ready (or stopped).
    Done,
    /// Services failed. Lists only the causes, without services that are merely blocked by them.
    Failed(Vec<RootFailure>),
    /// Another operation took over some of its services.
    Superseded,
}

/// A service that failed for reasons of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootFailure {
    /// The name of the service.
    pub service: ServiceName,
    /// Why it failed.
    pub cause: FailureCause,
    /// The reason in one line for people: `exited 3 after 0.2s (attempt 3 of 3)`.
    pub reason: String,
    /// The number of the start that failed; `None` if it did not fail in a start.
    pub generation: Option<u64>,
    /// Services of the operation that wait for it in vain.
    pub blocked: Vec<ServiceName>,
}

/// Why a service failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCause {
    /// It could not be launched.
    Launch(String),
    /// It ended.
    Ended(Ended),
    /// It was not ready within its `startup_timeout`.
    StartupTimeout,
    /// It became unhealthy, and its policy does not restart it.
    Unhealthy,
    /// A hook failed.
    Hook(Hook, String),
    /// It did not end, however it was stopped.
    WouldNotStop,
    /// A dependency is not known at all.
    MissingDependency(ServiceName),
    /// Its place could not be reached for [`CONTACT_TIMEOUT`]. What was asked is done when it can be reached again.
    NotReached,
}

/// What an operation did to a service and how long that took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// What was planned.
    pub change: Change,
    /// When its dependencies held and it was launched; `None` if that did not happen in this operation.
    pub launched: Option<Time>,
    /// When it was ready (or gone); `None` if it did not get that far.
    pub done: Option<Time>,
}

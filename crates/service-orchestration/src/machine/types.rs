//! What goes into the machine and what comes out of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use harness_model::resolve::SpecDigest;
use harness_model::spec::{Dependency, RestartPolicy};
use harness_model::{ExitStatus, ServiceName};
use serde::{Deserialize, Serialize};

use super::terms::Terms;

/// A monotonic instant: the time since some fixed origin. The machine only compares and adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub Duration);

impl Time {
    /// This much later.
    pub fn after(self, delay: Duration) -> Self {
        Self(self.0.saturating_add(delay))
    }

    /// How long it has been since `earlier`; zero if that lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// What the machine must know of a service; everything else about it is opaque.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Tells whether the resolved spec changed.
    pub digest: SpecDigest,
    /// What must hold before it starts.
    pub dependencies: Vec<Dependency>,
    /// When it is started again.
    pub restart: RestartPolicy,
    /// Done when it exits 0.
    pub oneshot: bool,
    /// How its health is followed; `None`: as its image says; if that says nothing: no probe, no "healthy".
    pub health: Option<HealthPolicy>,
    /// From its first launch until it must be ready, restarts included.
    pub startup_timeout: Duration,
    /// From the stop signal until SIGKILL; the executor keeps it, the machine waits a little longer.
    pub shutdown_timeout: Duration,
    /// Which hooks it has, and how long each may take; whoever runs them keeps that.
    pub hooks: BTreeMap<Hook, Duration>,
}

/// How the health of a service is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthPolicy {
    /// Between two probes once it has been healthy.
    pub interval: Duration,
    /// How long a probe may take; the prober keeps it.
    pub timeout: Duration,
    /// Failures in a row that make it unhealthy.
    pub retries: u32,
    /// The longest pause between two probes in the first second of a start: 10 ms, for commands 100 ms.
    pub eager: Duration,
}

/// A command around the life of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hook {
    /// Before its process is launched; a failure fails the attempt.
    BeforeStart,
    /// After it became ready.
    AfterHealthy,
    /// Before its stop signal.
    BeforeStop,
    /// After it is gone, however it ended, and before it is begun again.
    AfterStop,
}

/// A request in flight, chosen by whoever submits it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(pub u64);

/// What is asked of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationRequest {
    /// Bring `targets` up (with what they depend on, unless `no_deps`). `definitions` become the desired ones
    /// of every service in them.
    Start {
        /// The whole file as it is now.
        definitions: BTreeMap<ServiceName, Definition>,
        /// What to bring up; `None`: all of `definitions`.
        targets: Option<BTreeSet<ServiceName>>,
        /// Leave alone what they depend on.
        no_deps: bool,
        /// Stop and start the targets even when nothing changed.
        restart: bool,
        /// Services that are not in `definitions` and yet of the project: nobody chose them this time, and what is known
        /// of them stays.
        unchosen: BTreeSet<ServiceName>,
        /// Stop services that are in neither.
        prune: bool,
        /// If it fails, stop what it began.
        rollback: bool,
    },
    /// Take services down, dependents first; `None`: all. A stop of all also forgets completed one-shots, so
    /// that they run again.
    Stop {
        /// Which.
        targets: Option<BTreeSet<ServiceName>>,
    },
}

/// Why a generation that was launched cannot be counted on at present. Its end would be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// It cannot be told whether it runs: why, in one line.
    Contact(String),
    /// It is there and does nothing, because somebody has paused it: what to say of that, in one line.
    Paused(String),
}

impl Lost {
    /// Why, in one line.
    pub fn why(&self) -> &str {
        match self {
            Self::Contact(why) | Self::Paused(why) => why,
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "events are moved once, and a box would burden every recovery's writer"
)]
pub enum Event {
    /// A client asks.
    Submit {
        /// Its operation.
        operation: OperationId,
        /// What it asks.
        request: OperationRequest,
    },
    /// The client of an operation no longer waits. What it began goes on.
    Abandon {
        /// Its operation.
        operation: OperationId,
    },
    /// The process of a generation runs.
    Launched {
        /// The service.
        service: ServiceName,
        /// Which start of it.
        generation: u64,
    },
    /// The launch of a generation goes on; it may come any number of times before its answer.
    Progressed {
        /// The service.
        service: ServiceName,
        /// Which start of it.
        generation: u64,
        /// What it is at, in one line: `pulling image nginx: 3 of 12 MB`.
        doing: String,
    },
    /// The process of a generation could not be launched; nothing of it runs.
    LaunchFailed {
        /// The service.
        service: ServiceName,
        /// Which start of it.
        generation: u64,
        /// Why, in one line.
        reason: String,
    },
    /// What a generation runs in (its image) says how to follow its health; counts where its definition says nothing.
    /// Given before its `Launched`, or right after the `Recover` that found it running.
    HealthFound {
        /// The service.
        service: ServiceName,
        /// Which start of it.
        generation: u64,
        /// How.
        policy: HealthPolicy,
        /// How long a start may take at least by what that says; `None`: its definition alone decides.
        needs: Option<Duration>,
    },
    /// A generation that was launched cannot be counted on any more (its engine is away, it is paused), or can again.
    Contact {
        /// The service.
        service: ServiceName,
        /// Which start of it.
        generation: u64,
        /// Why it cannot; `None`: it can.
        lost: Option<Lost>,
    },
    /// Everything of a generation is gone.
    Exited {
        /// The service.
        service: ServiceName,
        /// Which start of it.
        generation: u64,
        /// How.
        ended: Ended,
    },
    /// A probe has answered.
    Probed {
        /// The service.
        service: ServiceName,
        /// Which start of it.
        generation: u64,
        /// What it said.
        outcome: ProbeOutcome,
    },
    /// A watched pattern stood in the output of a generation.
    LogMatched {
        /// The service.
        service: ServiceName,
        /// Which start of it.
        generation: u64,
        /// Which pattern.
        pattern: LogPattern,
    },
    /// A hook has ended. What it left in the background may go on; of `AfterStop`, that is gone too.
    HookFinished {
        /// The service.
        service: ServiceName,
        /// Which start of it.
        generation: u64,
        /// Which hook.
        hook: Hook,
        /// Why it failed, if it did.
        result: Result<(), String>,
    },
    /// Nothing of the hooks of a generation is left.
    HooksEnded {
        /// The service.
        service: ServiceName,
        /// Which start of it.
        generation: u64,
    },
    /// A new daemon found what a former one left. Given once per service, before any operation.
    Recover {
        /// The service.
        service: ServiceName,
        /// Its definition as recorded.
        definition: Definition,
        /// Whether it was wanted up.
        wanted: bool,
        /// Whether the newest file had it.
        defined: bool,
        /// What was found.
        found: Recovered,
        /// That the `after_stop` hook of its last generation has yet to run, and how long it may take. Does not count
        /// where that generation runs.
        owed: Option<Duration>,
    },
    /// Time has passed; given at the latest when `next_deadline` is reached.
    Tick,
}

/// What a new daemon found of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovered {
    /// Its process runs and is managed again.
    Running {
        /// Which start of it.
        generation: u64,
        /// The spec it was started with.
        digest: SpecDigest,
        /// What else it was started with.
        terms: Terms,
        /// How long it has been running.
        for_: Duration,
        /// Whether it had become ready before.
        was_ready: bool,
        /// Whether it was being stopped, to be started again.
        going: bool,
        /// Restarts so far.
        restarts: u32,
    },
    /// It was launched, and what has come of that is not known yet; the answer follows.
    Launching {
        /// Which start of it.
        generation: u64,
        /// The spec it was started with.
        digest: SpecDigest,
        /// What else it was started with.
        terms: Terms,
        /// Whether it was being stopped, to be started again.
        going: bool,
        /// Restarts so far.
        restarts: u32,
    },
    /// It has ended, while no daemon ran or before; `fresh` if nobody has dealt with that yet.
    Ended {
        /// Which start of it.
        generation: u64,
        /// The spec it was started with.
        digest: SpecDigest,
        /// How.
        ended: Ended,
        /// Why it was being stopped, or had ended, if that was a failure: the cause, and the same in one line.
        failed: Option<(FailureCause, String)>,
        /// Whether the restart policy has yet to decide.
        fresh: bool,
        /// Whether it had become ready before; an end before that is a failure, however well it ended.
        was_ready: bool,
        /// Restarts so far.
        restarts: u32,
    },
    /// It had failed for good before (its policy had decided); shown as it failed.
    Failed {
        /// Which start of it.
        generation: u64,
        /// The spec it was started with.
        digest: SpecDigest,
        /// How its process ended, if it had one.
        ended: Option<Ended>,
        /// Why it failed.
        cause: FailureCause,
        /// The same in one line: the recorded error.
        reason: String,
        /// Restarts so far.
        restarts: u32,
    },
    /// The machine was rebooted under it.
    Rebooted {
        /// Which start of it was the last.
        generation: u64,
    },
    /// It never ran, or had been stopped.
    Idle {
        /// Which start of it was the last; 0 if there was none.
        generation: u64,
    },
}

/// How a generation ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// Its main process ended.
    Exit(ExitStatus),
    /// It was killed because it used more memory than it may; how its main process ended.
    OutOfMemory(ExitStatus),
    /// Its main process exited and left others in sessions of their own, as a program does that makes itself a daemon.
    /// They were stopped.
    Background {
        /// How the main process ended.
        exit: ExitStatus,
        /// The name of what it left.
        program: String,
    },
    /// Its supervisor died; the tree was found and killed.
    SupervisorDied,
    /// Its main process ended by itself, and its supervisor died before it could say so; the rest was killed.
    Unsupervised(ExitStatus),
    /// It is gone and nobody can say how.
    Lost(String),
}

/// What a probe said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// Good.
    Healthy,
    /// Bad, and the answer in one line: `connection refused`.
    Unhealthy(String),
    /// It could not be asked (the prober itself failed); neither good nor bad.
    Unknown(String),
}

/// A regular expression watched for in the output.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPattern(pub String);

/// What the machine wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Launch a new process by the desired definition. Answered by `Launched` or `LaunchFailed`, then
    /// `Exited` once.
    Launch {
        /// The service.
        service: ServiceName,
        /// Which start of it; never used before.
        generation: u64,
        /// The definition it is launched by.
        digest: SpecDigest,
    },
    /// Stop a generation: signal, grace, SIGKILL to all that is left. Answered by `Exited`. May be asked while
    /// the launch is still unanswered.
    Stop {
        /// The service.
        service: ServiceName,
        /// Which start of it.
        generation: u64,
    },
    /// The stop has not worked in its time: kill everything of the generation by every means.
    Kill {
        /// The service.
        service: ServiceName,
        /// Which start of it.
        generation: u64,
    },
    /// Probe once. Answered by `Probed`; never two in flight for a generation.
    Probe {
        /// The service.
        service: ServiceName,
        /// Which start of it.
        generation: u64,
    },
    /// Watch the output for a pattern, from the start of the generation. Answered by `LogMatched`, or never.
    WatchLog {
        /// The service.
        service: ServiceName,
        /// Which start of it.
        generation: u64,
        /// What to watch for.
        pattern: LogPattern,
    },
    /// Run a hook, at most as long as it may take. Answered by `HookFinished`.
    RunHook {
        /// The service.
        service: ServiceName,
        /// Which start of it.
        generation: u64,
        /// Which hook.
        hook: Hook,
    },
    /// End a hook that runs. Answered by its `HookFinished`.
    EndHook {
        /// The service.
        service: ServiceName,
        /// Which start of it.
        generation: u64,
        /// Which hook.
        hook: Hook,
    },
    /// End all hooks of a generation that run, and whatever its hooks have left in the background. Answered by
    /// `HooksEnded`.
    EndHooks {
        /// The service.
        service: ServiceName,
        /// Which start of it.
        generation: u64,
    },
    /// The snapshot of a service changed: record and publish it.
    Changed {
        /// The service.
        service: ServiceName,
        /// What happened, in one line for people: `exited 3 after 0.2s, restarting in 0.1s (attempt 2 of 3)`.
        message: String,
    },
    /// A service is no longer known (it is stopped and not in the file any more).
    Forgotten {
        /// The service.
        service: ServiceName,
    },
    /// An operation was accepted: what it is going to do. First effect of each submit.
    Planned {
        /// The operation.
        operation: OperationId,
        /// The steps, dependencies first (for a stop: dependents first).
        steps: Vec<PlannedStep>,
    },
    /// An operation has ended.
    Finished {
        /// The operation.
        operation: OperationId,
        /// How.
        outcome: OperationOutcome,
    },
}

/// What an operation does to a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedStep {
    /// The service.
    pub service: ServiceName,
    /// What is done to it.
    pub change: Change,
    /// Which services it waits for.
    pub after: Vec<ServiceName>,
}

/// What is done to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// It is not running and is started.
    Start,
    /// It runs (or has completed) by the same spec.
    Unchanged,
    /// It runs by another spec and is stopped and started.
    Replace,
    /// It is stopped and started because that was asked for, or because it restarts with a dependency.
    Restart,
    /// It is stopped.
    Stop,
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationOutcome {
    /// Whether all of it was reached, or why not.
    pub outcome: Outcome,
    /// Each service it was about.
    pub timings: BTreeMap<ServiceName, Timing>,
}

/// Whether an operation reached its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is ready (or stopped).
    Done,
    /// Services failed: the roots, without those merely blocked by them.
    Failed(Vec<RootFailure>),
    /// Another operation took over some of its services.
    Superseded,
}

/// A service that failed for its own reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootFailure {
    /// The service.
    pub service: ServiceName,
    /// Why.
    pub cause: FailureCause,
    /// In one line for people: `exited 3 after 0.2s (attempt 3 of 3)`.
    pub reason: String,
    /// Which of its starts failed; `None` if it was none.
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
    /// It became unhealthy and its policy does not restart it.
    Unhealthy,
    /// A hook failed.
    Hook(Hook, String),
    /// It did not end when stopped, by any means.
    WouldNotStop,
    /// A dependency is not known at all.
    MissingDependency(ServiceName),
}

/// What an operation did to a service and how long that took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// What was planned.
    pub change: Change,
    /// When its dependencies held and it was launched; `None` if that did not happen in this operation.
    pub launched: Option<Time>,
    /// When it was ready (or gone); `None` if it did not get there.
    pub done: Option<Time>,
}

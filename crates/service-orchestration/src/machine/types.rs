//! The machine's input and output.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use harness_model::resolve::SpecDigest;
use harness_model::spec::{Dependency, RestartPolicy};
use harness_model::{ExitStatus, ServiceName};
use serde::{Deserialize, Serialize};

use super::terms::Terms;

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
    /// The process of a generation runs.
    Launched {
        /// The name of the service.
        service: ServiceName,
        /// The number of the start, counted from 1.
        generation: u64,
    },
    /// The launch of a generation goes on. This may come any number of times before the launch is answered.
    Progressed {
        /// The name of the service.
        service: ServiceName,
        /// The number of the start, counted from 1.
        generation: u64,
        /// What it is doing, in one line: `pulling image nginx: 3 of 12 MB`.
        doing: String,
    },
    /// The process of a generation could not be launched. Nothing of it runs.
    LaunchFailed {
        /// The name of the service.
        service: ServiceName,
        /// The number of the start, counted from 1.
        generation: u64,
        /// Why, in one line.
        reason: String,
    },
    /// The image of a generation has a health check. It counts if the definition has none. Given before its
    /// `Launched` or its second `Recover`, or right after the first `Recover` that found it running.
    HealthFound {
        /// The name of the service.
        service: ServiceName,
        /// The number of the start, counted from 1.
        generation: u64,
        /// How to follow its health.
        policy: HealthPolicy,
        /// How long a start takes at least with this health check; `None` if the definition alone decides.
        needs: Option<Duration>,
    },
    /// The state of a generation has become unknown (its place cannot be reached, or it is paused), or known again.
    /// This may come in every phase, also before its launch is answered and while it is being stopped. An answer
    /// (`Launched`, `LaunchFailed`, `Exited`) says that it is known again.
    Contact {
        /// The name of the service.
        service: ServiceName,
        /// The number of the start, counted from 1.
        generation: u64,
        /// Why it is unknown; `None` if it is known again.
        lost: Option<Lost>,
    },
    /// Everything of a generation is gone.
    Exited {
        /// The name of the service.
        service: ServiceName,
        /// The number of the start, counted from 1.
        generation: u64,
        /// How it ended.
        ended: Ended,
    },
    /// A probe has answered.
    Probed {
        /// The name of the service.
        service: ServiceName,
        /// The number of the start, counted from 1.
        generation: u64,
        /// What it said.
        outcome: ProbeOutcome,
    },
    /// A watched pattern was found in the output of a generation.
    LogMatched {
        /// The name of the service.
        service: ServiceName,
        /// The number of the start, counted from 1.
        generation: u64,
        /// The pattern.
        pattern: LogPattern,
    },
    /// A hook has ended. What it left in the background may go on, except for `AfterStop`, where that is gone too.
    HookFinished {
        /// The name of the service.
        service: ServiceName,
        /// The hook.
        generation: u64,
        /// The hook.
        hook: Hook,
        /// Why it failed, if it did.
        result: Result<(), String>,
    },
    /// Nothing of a generation's hooks is left.
    HooksEnded {
        /// The name of the service.
        service: ServiceName,
        /// The number of the start, counted from 1.
        generation: u64,
    },
    /// A new daemon found what a former one left. Given once for each service, before any operation. If it was
    /// [`Recovered::NotKnown`], it is given once more when it is known; of that second one, only `found` and `owed`
    /// count.
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

/// What a new daemon found of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovered {
    /// Its process runs and is managed again.
    Running {
        /// The number of the start, counted from 1.
        generation: u64,
        /// The spec it was started with.
        digest: SpecDigest,
        /// The other terms it was started with.
        terms: Terms,
        /// How long it has been running.
        for_: Duration,
        /// Whether it had become ready before.
        was_ready: bool,
        /// Whether it was being stopped in order to start again.
        going: bool,
        /// Restarts so far.
        restarts: u32,
    },
    /// It was launched, and its place does not say what became of it. A second `Recover` follows when it does.
    NotKnown {
        /// The number of the start, counted from 1.
        generation: u64,
        /// The spec it was started with.
        digest: SpecDigest,
        /// The other terms it was started with.
        terms: Terms,
        /// Whether it was being stopped in order to start again.
        going: bool,
        /// Restarts so far.
        restarts: u32,
        /// Why it is not known, in one line.
        why: String,
    },
    /// It has ended, while no daemon ran or before. `fresh` says that nobody has dealt with that yet.
    Ended {
        /// The number of the start, counted from 1.
        generation: u64,
        /// The spec it was started with.
        digest: SpecDigest,
        /// How it ended.
        ended: Ended,
        /// If it was stopped or ended because of a failure: the cause, and the same in one line.
        failed: Option<(FailureCause, String)>,
        /// Whether the restart policy still has to decide.
        fresh: bool,
        /// Whether it had become ready before. An end before that is a failure, however well it ended.
        was_ready: bool,
        /// Restarts so far.
        restarts: u32,
    },
    /// It had failed for good before (its policy had decided). It is shown as failed.
    Failed {
        /// The number of the start, counted from 1.
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
    /// The machine was rebooted while it ran.
    Rebooted {
        /// The number of the last start.
        generation: u64,
    },
    /// It never ran, or had been stopped.
    Idle {
        /// The number of the last start; 0 if there was none.
        generation: u64,
    },
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

/// What the machine wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Launch a new process with the desired definition. Answered by `Launched` or `LaunchFailed`, then `Exited`
    /// once.
    Launch {
        /// The name of the service.
        service: ServiceName,
        /// The number of the start, counted from 1. It was never used before.
        generation: u64,
        /// The definition to launch it with.
        digest: SpecDigest,
    },
    /// Stop a generation: signal, grace period, SIGKILL to all that is left. Answered by `Exited`. It may be asked
    /// for while the launch is still unanswered.
    Stop {
        /// The name of the service.
        service: ServiceName,
        /// The number of the start, counted from 1.
        generation: u64,
    },
    /// The stop has not worked in its time. Kill everything of the generation by every means.
    Kill {
        /// The name of the service.
        service: ServiceName,
        /// The number of the start, counted from 1.
        generation: u64,
    },
    /// Probe once. Answered by `Probed`. For each generation, at most one probe is in flight.
    Probe {
        /// The name of the service.
        service: ServiceName,
        /// The number of the start, counted from 1.
        generation: u64,
    },
    /// Watch the output for a pattern, from the start of the generation. Answered by `LogMatched`, or never.
    WatchLog {
        /// The name of the service.
        service: ServiceName,
        /// The number of the start, counted from 1.
        generation: u64,
        /// The pattern to watch for.
        pattern: LogPattern,
    },
    /// Run a hook, at most for its time limit. Answered by `HookFinished`.
    RunHook {
        /// The name of the service.
        service: ServiceName,
        /// The number of the start, counted from 1.
        generation: u64,
        /// The hook.
        hook: Hook,
    },
    /// End a hook that runs. Answered by its `HookFinished`.
    EndHook {
        /// The name of the service.
        service: ServiceName,
        /// The number of the start, counted from 1.
        generation: u64,
        /// The hook.
        hook: Hook,
    },
    /// End all hooks of a generation that run, and everything that its hooks have left in the background. Answered by
    /// `HooksEnded`.
    EndHooks {
        /// The name of the service.
        service: ServiceName,
        /// The number of the start, counted from 1.
        generation: u64,
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

//! A service and the phase it is in. What only a phase knows lives in the variant of that phase.

use std::collections::BTreeSet;
use std::time::Duration;

use harness_model::resolve::SpecDigest;
use harness_model::spec::RestartMode;
use harness_model::{Health, ServiceName, ServiceState};

use super::health::Probing;
use super::snapshot::Snapshot;
use super::terms::Terms;
use super::types::{Definition, Ended, FailureCause, HealthPolicy, Hook, LogPattern, Lost, Time};
use super::words;

/// How long a service without a probe is watched before an operation counts it as up.
pub(super) const SETTLE: Duration = Duration::from_millis(300);
/// How much longer than its executor the machine waits for an answer.
pub(super) const MARGIN: Duration = Duration::from_secs(5);
/// How long it waits until nothing of the hooks of a generation is left.
pub(super) const HOOKS_GONE: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(super) struct Service {
    pub(super) definition: Definition,
    /// Whether the newest file has it.
    pub(super) defined: bool,
    pub(super) wanted: bool,
    /// The last one used; 0 if there was none.
    pub(super) generation: u64,
    /// What that generation was launched by.
    pub(super) digest: Option<SpecDigest>,
    pub(super) phase: Phase,
    /// How its health is followed where its definition says nothing, by what this generation runs in.
    pub(super) found_health: Option<HealthPolicy>,
    /// How its last process ended.
    pub(super) ended: Option<Ended>,
    /// Restarts by policy since it was last asked to start.
    pub(super) restarts: u32,
    pub(super) series: Series,
    /// Patterns seen in the output of this generation; outlives its process.
    pub(super) matched: BTreeSet<LogPattern>,
    /// A hook that failed without failing the service.
    pub(super) hook_note: Option<String>,
    pub(super) facts: Facts,
    pub(super) timer: Option<Time>,
    pub(super) published: Option<Snapshot>,
    /// What happened since the last `Changed`.
    pub(super) notes: Vec<String>,
}

/// Attempts in a row to bring a service up.
#[derive(Debug, Default)]
pub(super) struct Series {
    /// Restarts in a row.
    pub(super) streak: u32,
    /// When it must be ready; from its first launch.
    pub(super) window: Option<Time>,
    /// How long that may take where what it runs in needs longer than its definition says.
    pub(super) startup_timeout: Option<Duration>,
    /// That it has once missed its window and goes on by policy.
    pub(super) overdue: bool,
    /// Why the last attempt failed.
    pub(super) failure: Option<Failure>,
    /// The generation that it was.
    pub(super) failed: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) cause: FailureCause,
    pub(super) reason: String,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// Nothing runs and nothing is going to happen by itself.
    Idle(Rest),
    /// Wanted; waits for its dependencies.
    Pending,
    /// Wanted; waits for its next attempt.
    Backoff { until: Time },
    /// A generation is being brought up, or is up.
    Active(Active),
    /// A generation is being taken down.
    Stopping(Stopping),
    /// It could not be stopped by any means; something of it may still run.
    Adrift(Adrift),
}

#[derive(Debug)]
pub(super) enum Rest {
    Stopped,
    Rebooted,
    Completed,
    Failed(Failure),
}

#[derive(Debug)]
pub(super) struct Active {
    pub(super) stage: Stage,
    /// That it is to be stopped as soon as its dependents allow.
    pub(super) halt: Option<Halt>,
    pub(super) terms: Terms,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// The `before_start` hook runs; nothing of the service does.
    Preparing { until: Time },
    /// The launch is not answered yet.
    Launching {
        since: Time,
        /// What it says that it is at.
        doing: Option<String>,
        /// The window that it had before it said anything.
        before: Option<Time>,
    },
    /// Its process runs.
    Up(Up),
}

#[derive(Debug)]
pub(super) struct Up {
    pub(super) launched_at: Time,
    /// Whether this generation has been ready (healthy, or launched without a probe).
    pub(super) was_ready: bool,
    /// Since when it has been ready without interruption.
    pub(super) stable_since: Option<Time>,
    /// Whether it has survived [`SETTLE`].
    pub(super) settled: bool,
    pub(super) probing: Option<Probing>,
    /// Why it cannot be counted on, while that is so.
    pub(super) lost: Option<Lost>,
    /// Patterns already asked for.
    pub(super) watched: BTreeSet<LogPattern>,
    /// Whether its `after_healthy` hook runs.
    pub(super) hook_runs: bool,
}

/// Why a generation is stopped, which decides what follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Halt {
    /// By request; what follows depends on whether it is wanted when it is gone.
    Asked,
    /// It failed without ending; the restart policy decides when it is gone.
    Failed(Failure),
}

/// What becomes of a service when all of a generation is gone, its hooks included.
#[derive(Debug)]
pub(super) enum Next {
    /// It was stopped by request: launched again if it is wanted by then.
    Asked,
    /// It ended by itself, or was stopped because it failed: the restart policy decides. `None`: it ended well.
    Over(Option<Failure>),
    /// It was never launched, and waits for its dependencies again.
    Wait,
    /// It had come to rest before.
    Rest(Rest),
}

#[derive(Debug)]
pub(super) struct Stopping {
    pub(super) stage: StopStage,
    /// When patience with this stage ends.
    pub(super) until: Time,
    pub(super) next: Next,
    pub(super) launched_at: Option<Time>,
    pub(super) terms: Terms,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopStage {
    /// An `after_healthy` hook that still runs is being ended.
    Interrupting,
    /// The `before_stop` hook runs.
    BeforeStop,
    /// The stop has been asked for.
    Signalled,
    /// The kill has been asked for.
    Killed,
    /// It is a one-shot and has completed; the `after_healthy` hook runs.
    AfterHealthy,
    /// Its process is gone, or there was none; what runs or is left of its hooks is being ended.
    EndingHooks { ran: bool },
    /// A former daemon saw it begin, and its `after_stop` hook has yet to run.
    Owed,
    /// All else is gone; the `after_stop` hook runs.
    AfterStop,
    /// The `after_stop` hook has not ended in its time, and is being ended.
    EndingAfterStop,
}

/// A generation that could not be taken down.
#[derive(Debug)]
pub(super) struct Adrift {
    pub(super) failure: Failure,
    /// How far it had come.
    pub(super) held: Stopping,
}

/// What others must hear of when it changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Facts {
    pub(super) state: ServiceState,
    pub(super) health: Health,
    pub(super) wanted: bool,
    pub(super) started: bool,
    pub(super) probed: bool,
    pub(super) going: bool,
    pub(super) overdue: bool,
    pub(super) matched: usize,
    /// Pending, and no event of its own project will change that.
    pub(super) stuck: bool,
    /// What ails it by way of its dependencies.
    pub(super) trouble: Option<Trouble>,
}

/// The root of a trouble and what is wrong with it: `is unhealthy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) via: ServiceName,
    pub(super) root: ServiceName,
    pub(super) what: &'static str,
}

impl Service {
    pub(super) fn new(definition: Definition) -> Self {
        Self {
            definition,
            defined: true,
            wanted: false,
            generation: 0,
            digest: None,
            phase: Phase::Idle(Rest::Stopped),
            found_health: None,
            ended: None,
            restarts: 0,
            series: Series::default(),
            matched: BTreeSet::new(),
            hook_note: None,
            facts: Facts::default(),
            timer: None,
            published: None,
            notes: Vec::new(),
        }
    }

    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// That a hook failed, where that changes nothing else.
    pub(super) fn hook_failed(&mut self, hook: Hook, why: &str) {
        let note = format!("{} hook failed: {why}", words::hook(hook));
        self.note(note.clone());
        self.hook_note = Some(match self.hook_note.take() {
            Some(before) => format!("{before}; {note}"),
            None => note,
        });
    }

    /// Waits to be launched, with a clean slate.
    pub(super) fn begin_series(&mut self) {
        self.phase = Phase::Pending;
        self.restarts = 0;
        self.series = Series::default();
    }

    pub(super) fn retries(&self) -> bool {
        self.definition.restart.mode != RestartMode::No
    }

    pub(super) fn up(&self) -> Option<&Up> {
        match &self.phase {
            Phase::Active(Active {
                stage: Stage::Up(up), ..
            }) => Some(up),
            _ => None,
        }
    }

    pub(super) fn up_mut(&mut self) -> Option<&mut Up> {
        match &mut self.phase {
            Phase::Active(Active {
                stage: Stage::Up(up), ..
            }) => Some(up),
            _ => None,
        }
    }

    /// Why what was launched cannot be counted on.
    pub(super) fn lost(&self) -> Option<&Lost> {
        self.up()?.lost.as_ref()
    }

    /// Up, and not about to be stopped.
    pub(super) fn staying_up(&self) -> Option<&Up> {
        match &self.phase {
            Phase::Active(Active {
                stage: Stage::Up(up),
                halt: None,
                ..
            }) => Some(up),
            _ => None,
        }
    }

    /// Something of it runs or may run.
    pub(super) fn is_live(&self) -> bool {
        matches!(
            self.phase,
            Phase::Active(_) | Phase::Stopping(_) | Phase::Adrift(_)
        )
    }

    /// On its way down, and its dependencies have to wait for that.
    pub(super) fn is_going(&self) -> bool {
        match &self.phase {
            Phase::Active(active) => active.halt.is_some(),
            Phase::Stopping(_) => true,
            _ => false,
        }
    }

    /// Runs (or is about to) and nobody has asked it to stop.
    pub(super) fn is_staying(&self) -> bool {
        matches!(&self.phase, Phase::Active(active) if active.halt.is_none())
    }

    pub(super) fn completed(&self) -> bool {
        matches!(self.phase, Phase::Idle(Rest::Completed))
    }

    pub(super) fn health(&self) -> Health {
        match &self.phase {
            Phase::Active(Active {
                stage: Stage::Up(up), ..
            }) => match &up.probing {
                // What runs on without a probe would look as ever.
                _ if matches!(up.lost, Some(Lost::Paused(_))) => Health::Unknown,
                None => Health::None,
                Some(_) if up.lost.is_some() => Health::Unknown,
                Some(probing) => probing.health(),
            },
            Phase::Active(_) if self.health_policy().is_some() => Health::Starting,
            Phase::Adrift(_) if self.health_policy().is_some() => Health::Unknown,
            _ => Health::None,
        }
    }

    /// How the health of the present generation is followed.
    pub(super) fn health_policy(&self) -> Option<&HealthPolicy> {
        self.definition.health.as_ref().or(self.found_health.as_ref())
    }

    /// How long it may take until it is ready.
    pub(super) fn startup_timeout(&self) -> Duration {
        self.series
            .startup_timeout
            .unwrap_or(self.definition.startup_timeout)
    }

    /// What it is at: what its launch says, or which hook runs.
    pub(super) fn doing(&self) -> Option<&str> {
        match &self.phase {
            Phase::Active(Active {
                stage: Stage::Launching { doing, .. },
                ..
            }) => doing.as_deref(),
            Phase::Active(Active {
                stage: Stage::Preparing { .. },
                ..
            }) => Some("running its before_start hook"),
            Phase::Stopping(stopping) => stopping.stage.doing(),
            _ => None,
        }
    }

    /// Up in the sense of a snapshot: healthy, completed, or running without a probe.
    pub(super) fn is_ready(&self) -> bool {
        self.completed() || self.staying_up().is_some_and(|up| self.up_is_ready(up))
    }

    pub(super) fn up_is_ready(&self, up: &Up) -> bool {
        !self.definition.oneshot
            && up.lost.is_none()
            && up.probing.as_ref().is_none_or(|p| p.health() == Health::Healthy)
    }

    /// Up in the sense of an operation: also past [`SETTLE`] where there is no probe.
    pub(super) fn is_reached(&self) -> bool {
        self.is_ready()
            && self
                .staying_up()
                .is_none_or(|up| up.settled || up.probing.is_some())
    }

    /// When something is due without any event.
    pub(super) fn deadline(&self) -> Option<Time> {
        match &self.phase {
            Phase::Idle(_) | Phase::Pending | Phase::Adrift(_) => None,
            Phase::Backoff { until } => Some(*until),
            Phase::Stopping(stopping) => Some(stopping.until),
            Phase::Active(Active { halt: Some(_), .. }) => None,
            Phase::Active(Active {
                stage, halt: None, ..
            }) => match stage {
                Stage::Preparing { until } => Some(*until),
                Stage::Launching { .. } => self.series.window,
                Stage::Up(up) => [
                    self.series.window.filter(|_| !up.was_ready),
                    (!up.settled).then(|| up.launched_at.after(SETTLE)),
                    up.stable_since
                        .filter(|_| self.series.streak > 0)
                        .map(|since| since.after(super::restart::STABLE)),
                    up.probing.as_ref().and_then(Probing::deadline),
                ]
                .into_iter()
                .flatten()
                .min(),
            },
        }
    }
}

impl StopStage {
    /// Whether a process of the generation may still run.
    pub(super) fn may_be_live(self) -> bool {
        matches!(
            self,
            Self::Interrupting | Self::BeforeStop | Self::Signalled | Self::Killed
        )
    }

    /// How long it may take: whoever carries it out keeps its own time, and the machine waits a little longer.
    pub(super) fn patience(self, terms: &Terms) -> Duration {
        match self {
            Self::Owed => Duration::ZERO,
            Self::Killed => MARGIN,
            Self::Signalled => terms.shutdown_timeout.saturating_add(MARGIN),
            Self::BeforeStop => terms.limit(Hook::BeforeStop).saturating_add(MARGIN),
            Self::AfterHealthy => terms.limit(Hook::AfterHealthy).saturating_add(MARGIN),
            Self::AfterStop => terms.limit(Hook::AfterStop).saturating_add(MARGIN),
            Self::Interrupting | Self::EndingHooks { .. } | Self::EndingAfterStop => HOOKS_GONE,
        }
    }

    fn doing(self) -> Option<&'static str> {
        match self {
            Self::BeforeStop => Some("running its before_stop hook"),
            Self::AfterHealthy => Some("running its after_healthy hook"),
            Self::AfterStop => Some("running its after_stop hook"),
            Self::Interrupting | Self::EndingHooks { .. } | Self::EndingAfterStop => Some("ending its hooks"),
            Self::Signalled | Self::Killed | Self::Owed => None,
        }
    }
}

impl Up {
    pub(super) fn new(launched_at: Time, probing: Option<Probing>) -> Self {
        Self {
            launched_at,
            was_ready: false,
            stable_since: None,
            settled: false,
            probing,
            lost: None,
            watched: BTreeSet::new(),
            hook_runs: false,
        }
    }
}

//! A service and the phase it is in. Data that belongs to one phase is in the variant of that phase.

use std::collections::BTreeSet;
use std::time::Duration;

use harness_model::resolve::SpecDigest;
use harness_model::spec::RestartMode;
use harness_model::{Health, ServiceName, ServiceState};

use super::health::Probing;
use super::snapshot::Snapshot;
use super::stop_stage::StopStage;
use super::terms::Terms;
use super::types::{
    CONTACT_TIMEOUT, Definition, Ended, FailureCause, HealthPolicy, Hook, LogPattern, Lost, Time,
};
use super::words;

/// How long a service without a probe must run before an operation counts it as up.
pub(super) const SETTLE: Duration = Duration::from_millis(300);
/// How much longer than the executor the machine waits for an answer.
pub(super) const MARGIN: Duration = Duration::from_secs(5);
/// How long it waits until nothing of a generation's hooks is left.
pub(super) const HOOKS_GONE: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(super) struct Service {
    pub(super) definition: Definition,
    /// Whether the newest file contains it.
    pub(super) defined: bool,
    pub(super) wanted: bool,
    /// The last generation that was used; 0 if there was none.
    pub(super) generation: u64,
    /// The spec that this generation was launched with.
    pub(super) digest: Option<SpecDigest>,
    pub(super) phase: Phase,
    /// Why the state of this generation is unknown or it is paused, while that is so.
    pub(super) absence: Option<Absence>,
    /// The health check of this generation's image, used if the definition has none.
    pub(super) found_health: Option<HealthPolicy>,
    /// How its last process ended.
    pub(super) ended: Option<Ended>,
    /// Restarts by policy since somebody last asked to start it.
    pub(super) restarts: u32,
    pub(super) series: Series,
    /// Patterns seen in the output of this generation. They are kept when its process ends.
    pub(super) matched: BTreeSet<LogPattern>,
    /// The failure of a hook that did not fail the service.
    pub(super) hook_note: Option<String>,
    pub(super) facts: Facts,
    pub(super) timer: Option<Time>,
    pub(super) published: Option<Snapshot>,
    /// What happened since the last `Changed`.
    pub(super) notes: Vec<String>,
}

/// The time during which the state of a generation is not reliable.
#[derive(Debug)]
pub(super) struct Absence {
    pub(super) lost: Lost,
    pub(super) since: Time,
    /// Whether it has lasted for [`CONTACT_TIMEOUT`]. Then nobody waits for this generation any more.
    pub(super) is_long: bool,
}

/// A row of attempts to bring a service up.
#[derive(Debug, Default)]
pub(super) struct Series {
    /// Restarts in the row.
    pub(super) streak: u32,
    /// When it must be ready, counted from the first launch of the row.
    pub(super) window: Option<Time>,
    /// How long a start may take, if its image needs longer than the definition says.
    pub(super) startup_timeout: Option<Duration>,
    /// Whether it has missed its window once and goes on because of its policy.
    pub(super) overdue: bool,
    /// Why the last attempt failed.
    pub(super) failure: Option<Failure>,
    /// The generation that failed.
    pub(super) failed: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) cause: FailureCause,
    pub(super) reason: String,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// Nothing runs, and nothing is going to happen by itself.
    Idle(Rest),
    /// It is wanted and waits for its dependencies.
    Pending,
    /// It is wanted and waits for its next attempt.
    Backoff { until: Time },
    /// A generation is starting or is up.
    Active(Active),
    /// A generation is being stopped.
    Stopping(Stopping),
    /// It could not be stopped by any means. Something of it may still run.
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
    /// If set, it is stopped as soon as its dependents allow.
    pub(super) halt: Option<Halt>,
    pub(super) terms: Terms,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// The `before_start` hook runs; nothing of the service runs yet.
    Preparing { until: Time },
    /// A former daemon launched it, and its place has not said yet what became of it.
    Unseen,
    /// The launch has not been answered yet.
    Launching {
        since: Time,
        /// What the launch says it is doing.
        doing: Option<String>,
        /// The window before the launch reported any progress.
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
    /// Whether it has run for [`SETTLE`].
    pub(super) settled: bool,
    pub(super) probing: Option<Probing>,
    /// Patterns that are already being watched for.
    pub(super) watched: BTreeSet<LogPattern>,
    /// Whether its `after_healthy` hook is running.
    pub(super) hook_runs: bool,
}

/// Why a generation is stopped. This decides what follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Halt {
    /// By request. If the service is wanted when the generation is gone, it starts again.
    Asked,
    /// It failed but did not end. The restart policy decides when it is gone.
    Failed(Failure),
}

/// What follows when all of a generation is gone, including its hooks.
#[derive(Debug)]
pub(super) enum Next {
    /// It was stopped by request. It is launched again if it is wanted by then.
    Asked,
    /// It ended by itself, or was stopped because it failed. The restart policy decides. `None`: it ended well.
    Over(Option<Failure>),
    /// It was never launched, and waits for its dependencies again.
    Wait,
    /// It had come to rest before.
    Rest(Rest),
}

#[derive(Debug)]
pub(super) struct Stopping {
    pub(super) stage: StopStage,
    /// How long to wait for this stage.
    pub(super) until: Time,
    /// Whether what this stage needs was ordered. It is not while its place cannot be reached.
    pub(super) is_ordered: bool,
    pub(super) next: Next,
    pub(super) launched_at: Option<Time>,
    pub(super) terms: Terms,
}

/// A generation that could not be stopped.
#[derive(Debug)]
pub(super) struct Adrift {
    pub(super) failure: Failure,
    /// How far the stop had come.
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
    /// It is pending, and no event of its own project will change that.
    pub(super) stuck: bool,
    /// Nobody waits for it any more, because it cannot be reached.
    pub(super) long_unreached: bool,
    /// What is wrong with it because of its dependencies.
    pub(super) trouble: Option<Trouble>,
}

/// The service that causes the trouble, and what is wrong with it: `is unhealthy`.
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
            absence: None,
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

    /// Notes that a hook failed, if that changes nothing else.
    pub(super) fn hook_failed(&mut self, hook: Hook, why: &str) {
        let note = format!("{} hook failed: {why}", words::hook(hook));
        self.note(note.clone());
        self.hook_note = Some(match self.hook_note.take() {
            Some(before) => format!("{before}; {note}"),
            None => note,
        });
    }

    /// Makes it wait to be launched, and starts a new row of attempts.
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

    /// That it runs and was not ready in its time, with the newest answer of its probe.
    pub(super) fn missed_start(&self) -> Option<Failure> {
        let up = self
            .staying_up()
            .filter(|up| !up.was_ready && self.series.overdue)?;
        let goal = match self.definition.oneshot {
            true => "completed",
            false => "healthy",
        };
        let within = words::brief(self.startup_timeout());
        let lost = self.lost().map(Lost::why);
        let answer = lost.or_else(|| up.probing.as_ref()?.last().map(String::as_str));
        let answer = answer.map(|answer| format!(": {answer}")).unwrap_or_default();
        Some(Failure {
            cause: FailureCause::StartupTimeout,
            reason: format!("not {goal} within {within}{answer}"),
        })
    }

    /// Why the state of this generation is unknown, or that it is paused.
    pub(super) fn lost(&self) -> Option<&Lost> {
        self.absence.as_ref().map(|absence| &absence.lost)
    }

    /// Whether its place cannot be reached. While that is so, its windows stand still, and nothing is ordered of it.
    pub(super) fn is_unreached(&self) -> bool {
        matches!(self.lost(), Some(Lost::Contact(_)))
    }

    /// Whether its place could not be reached for so long that nobody waits for it any more.
    pub(super) fn is_long_unreached(&self) -> bool {
        self.is_unreached() && self.absence.as_ref().is_some_and(|absence| absence.is_long)
    }

    /// The running process, if it is up and not about to be stopped.
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

    /// Whether something of it runs or may run.
    pub(super) fn is_live(&self) -> bool {
        matches!(
            self.phase,
            Phase::Active(_) | Phase::Stopping(_) | Phase::Adrift(_)
        )
    }

    /// Whether it is being stopped, so that its dependencies have to wait.
    pub(super) fn is_going(&self) -> bool {
        match &self.phase {
            Phase::Active(active) => active.halt.is_some(),
            Phase::Stopping(_) => true,
            _ => false,
        }
    }

    /// Whether it runs (or is about to) and nobody has asked it to stop.
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
                // Without a probe it would look the same as before.
                _ if matches!(self.lost(), Some(Lost::Paused(_))) => Health::Unknown,
                None => Health::None,
                Some(_) if self.absence.is_some() => Health::Unknown,
                Some(probing) => probing.health(),
            },
            Phase::Active(_) if self.health_policy().is_some() && self.is_unreached() => Health::Unknown,
            Phase::Active(_) if self.health_policy().is_some() => Health::Starting,
            Phase::Adrift(_) if self.health_policy().is_some() => Health::Unknown,
            _ => Health::None,
        }
    }

    /// How the health of the current generation is followed.
    pub(super) fn health_policy(&self) -> Option<&HealthPolicy> {
        self.definition.health.as_ref().or(self.found_health.as_ref())
    }

    /// How long it may take to become ready.
    pub(super) fn startup_timeout(&self) -> Duration {
        self.series
            .startup_timeout
            .unwrap_or(self.definition.startup_timeout)
    }

    /// What it is doing: what its launch says, or which hook runs.
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

    /// Whether it is up as a snapshot counts it: healthy, completed, or running without a probe.
    pub(super) fn is_ready(&self) -> bool {
        self.completed() || self.staying_up().is_some_and(|up| self.up_is_ready(up))
    }

    pub(super) fn up_is_ready(&self, up: &Up) -> bool {
        !self.definition.oneshot
            && self.absence.is_none()
            && up.probing.as_ref().is_none_or(|p| p.health() == Health::Healthy)
    }

    /// Whether it is up as an operation counts it: without a probe it must also have run for [`SETTLE`].
    pub(super) fn is_reached(&self) -> bool {
        self.is_ready()
            && self
                .staying_up()
                .is_none_or(|up| up.settled || up.probing.is_some())
    }

    /// When something is due even if no event comes.
    pub(super) fn deadline(&self) -> Option<Time> {
        if let Some(absence) = self.absence.as_ref().filter(|_| self.is_unreached()) {
            let probe = self.staying_up().and_then(|up| up.probing.as_ref()?.deadline());
            let long = (!absence.is_long).then(|| absence.since.after(CONTACT_TIMEOUT));
            return probe.into_iter().chain(long).min();
        }
        match &self.phase {
            Phase::Idle(_) | Phase::Pending | Phase::Adrift(_) => None,
            Phase::Backoff { until } => Some(*until),
            Phase::Stopping(stopping) => Some(stopping.until),
            Phase::Active(Active { halt: Some(_), .. }) => None,
            Phase::Active(Active {
                stage, halt: None, ..
            }) => match stage {
                Stage::Preparing { until } => Some(*until),
                Stage::Unseen | Stage::Launching { .. } => self.series.window,
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

impl Up {
    pub(super) fn new(launched_at: Time, probing: Option<Probing>) -> Self {
        Self {
            launched_at,
            was_ready: false,
            stable_since: None,
            settled: false,
            probing,
            watched: BTreeSet::new(),
            hook_runs: false,
        }
    }
}

//! How a service looks from outside, and the notification when that has changed.

use harness_model::resolve::SpecDigest;
use harness_model::spec::{Condition, Dependency};
use harness_model::{Health, ServiceName, ServiceState};

use super::Machine;
use super::effect::Effect;
use super::health::Probing;
use super::service::{Active, Adrift, Next, Phase, Rest, Service, Stage, Stopping};
use super::stop_stage::StopStage;
use super::types::{Ended, FailureCause, Time};

/// The state of a service as the rest of the program sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The state.
    pub state: ServiceState,
    /// The result of its probes.
    pub health: Health,
    /// Whether it should be up.
    pub wanted: bool,
    /// The number of its last or current start; 0 if there was none.
    pub generation: u64,
    /// The spec of that start.
    pub digest: Option<SpecDigest>,
    /// Restarts by policy since somebody last asked to start it.
    pub restarts: u32,
    /// When the next restart is due.
    pub retry_at: Option<Time>,
    /// When `startup_timeout` passes, while it starts.
    pub startup_deadline: Option<Time>,
    /// What it is doing: what its launch says, or which hook runs.
    pub doing: Option<String>,
    /// When its current process was launched.
    pub launched_at: Option<Time>,
    /// How its last process ended.
    pub ended: Option<Ended>,
    /// The answer of the last probe, if it was bad.
    pub last_probe: Option<String>,
    /// Why it failed.
    pub failure: Option<FailureCause>,
    /// Whether its process ended well by itself and the rest only waits for its hooks.
    pub ended_well: bool,
    /// What is wrong, in one line. This includes an unhealthy dependency.
    pub error: Option<String>,
    /// What it waits for.
    pub waiting: Vec<WaitReason>,
    /// Whether the newest file contains it.
    pub defined: bool,
    /// Whether it is up as an operation counts it: healthy, completed, or running without a probe.
    pub ready: bool,
    /// The step that it is in.
    pub step: Step,
    /// Whether its place cannot be reached.
    pub unreached: bool,
}

/// A dependency that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitReason {
    /// The name of the dependency.
    pub service: ServiceName,
    /// The condition that must hold: `be healthy`.
    pub condition: String,
}

/// The step of a service, finer than its state. Used by tests and by `why`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Nothing runs and nothing is planned.
    Idle,
    /// It waits for dependencies (or, when it is stopping, for dependents).
    Waiting,
    /// A hook runs before the launch.
    Preparing,
    /// The launch has begun.
    Launching,
    /// Its process runs but is not ready.
    Starting,
    /// It is up.
    Running,
    /// It waits to be restarted.
    Backoff,
    /// It is being stopped.
    Stopping,
}

impl Machine {
    /// The state of a service; `None` if it is not known.
    pub fn snapshot(&self, service: &ServiceName, _now: Time) -> Option<Snapshot> {
        self.services.get(service).map(|found| self.view(found))
    }

    fn view(&self, service: &Service) -> Snapshot {
        let up = service.up();
        Snapshot {
            state: service.state(),
            health: service.health(),
            wanted: service.wanted,
            generation: service.generation,
            digest: service.digest.clone(),
            restarts: service.restarts,
            retry_at: match service.phase {
                Phase::Backoff { until } => Some(until),
                _ => None,
            },
            startup_deadline: match &service.phase {
                // It stands still.
                _ if service.is_unreached() => None,
                Phase::Active(_) if up.is_none_or(|up| !up.was_ready) => service.series.window,
                _ => None,
            },
            doing: service.doing().map(str::to_owned),
            launched_at: match &service.phase {
                Phase::Stopping(stopping) => stopping.launched_at,
                _ => up.map(|up| up.launched_at),
            },
            ended: service.ended.clone(),
            last_probe: up
                .and_then(|up| up.probing.as_ref())
                .and_then(Probing::last)
                .cloned(),
            failure: match &service.phase {
                Phase::Idle(Rest::Failed(failure))
                | Phase::Adrift(Adrift { failure, .. })
                | Phase::Stopping(Stopping {
                    next: Next::Over(Some(failure)) | Next::Rest(Rest::Failed(failure)),
                    ..
                }) => Some(failure.cause.clone()),
                Phase::Backoff { .. } => service.series.failure.as_ref().map(|f| f.cause.clone()),
                _ if service.missed_start().is_some() => Some(FailureCause::StartupTimeout),
                _ if service.health() == Health::Unhealthy => Some(FailureCause::Unhealthy),
                _ => None,
            },
            ended_well: matches!(
                service.phase,
                Phase::Stopping(Stopping {
                    next: Next::Over(None) | Next::Rest(Rest::Completed),
                    ..
                })
            ),
            error: error(service),
            waiting: self.waiting(service),
            defined: service.defined,
            ready: service.is_ready(),
            step: step(service),
            unreached: service.is_unreached(),
        }
    }

    fn waiting(&self, service: &Service) -> Vec<WaitReason> {
        match &service.phase {
            Phase::Pending => service
                .definition
                .dependencies
                .iter()
                .filter(|d| !self.satisfied(d))
                .map(|d| WaitReason {
                    service: d.service.clone(),
                    condition: self.awaited(d),
                })
                .collect(),
            _ => Vec::new(),
        }
    }

    /// What a dependency is waited for, as far as that is known now.
    fn awaited(&self, dependency: &Dependency) -> String {
        let probed = self
            .services
            .get(&dependency.service)
            .is_some_and(|service| service.health_policy().is_some());
        match &dependency.condition {
            Condition::Ready if probed => Condition::Healthy.describe(),
            condition => condition.describe(),
        }
    }

    /// Publishes every service that looks different since it was last published.
    pub(super) fn publish(&mut self, out: &mut Vec<Effect>) {
        for name in std::mem::take(&mut self.touched) {
            let Some(view) = self.services.get(&name).map(|service| self.view(service)) else {
                continue;
            };
            let Some(service) = self.services.get_mut(&name) else {
                continue;
            };
            let notes = std::mem::take(&mut service.notes);
            if service.published.as_ref() == Some(&view) {
                continue;
            }
            let message = if notes.is_empty() {
                plain_message(service.published.as_ref(), &view)
            } else {
                notes.join(", ")
            };
            service.published = Some(view);
            out.push(Effect::Changed {
                service: name,
                message,
            });
        }
    }
}

/// The message for a change that has no message of its own, because something around the service has changed.
fn plain_message(before: Option<&Snapshot>, now: &Snapshot) -> String {
    if let Some(wait) = now.waiting.first() {
        return format!("waiting for {} to {}", wait.service, wait.condition);
    }
    if let Some(error) = &now.error {
        return error.clone();
    }
    match before {
        Some(before) if before.error.is_some() => format!("{}, all well again", now.state),
        Some(before) if before.defined && !now.defined => "no longer in the file".into(),
        Some(before) if before.last_probe != now.last_probe => match &now.last_probe {
            Some(answer) => format!("probe: {answer}"),
            None => format!("probe: {}", now.health),
        },
        _ => now.state.to_string(),
    }
}

fn error(service: &Service) -> Option<String> {
    let own = match &service.phase {
        Phase::Idle(Rest::Failed(failure))
        | Phase::Adrift(Adrift { failure, .. })
        | Phase::Stopping(Stopping {
            next: Next::Over(Some(failure)) | Next::Rest(Rest::Failed(failure)),
            ..
        }) => Some(failure.reason.clone()),
        Phase::Idle(Rest::Rebooted) => Some("the machine was rebooted".into()),
        Phase::Idle(Rest::Stopped | Rest::Completed) => None,
        _ if service.lost().is_some() => service.lost().map(|lost| lost.why().to_owned()),
        _ if service.missed_start().is_some() || service.health() == Health::Unhealthy => {
            Some(super::advance::unhealthy(service).reason)
        }
        _ if service.is_ready() => None,
        Phase::Backoff { .. } | Phase::Pending | Phase::Active(_) => service
            .series
            .failure
            .as_ref()
            .map(|failure| failure.reason.clone()),
        Phase::Stopping(_) => None,
    };
    own.or_else(|| service.hook_note.clone()).or_else(|| {
        service.facts.trouble.as_ref().map(|trouble| {
            if trouble.via == trouble.root {
                format!("depends on {}, which {}", trouble.root, trouble.what)
            } else {
                format!(
                    "depends on {}, which depends on {}, which {}",
                    trouble.via, trouble.root, trouble.what
                )
            }
        })
    })
}

fn step(service: &Service) -> Step {
    match &service.phase {
        Phase::Idle(_) => Step::Idle,
        Phase::Pending => Step::Waiting,
        Phase::Backoff { .. } => Step::Backoff,
        Phase::Active(Active { halt: Some(_), .. }) => Step::Waiting,
        Phase::Active(Active {
            stage, halt: None, ..
        }) => match stage {
            Stage::Preparing { .. } => Step::Preparing,
            Stage::Unseen | Stage::Launching { .. } => Step::Launching,
            Stage::Up(up) if up.was_ready => Step::Running,
            Stage::Up(_) => Step::Starting,
        },
        Phase::Stopping(stopping) => match stopping.stage {
            StopStage::EndingHooks { ran: false } => Step::Preparing,
            _ => Step::Stopping,
        },
        Phase::Adrift(_) => Step::Stopping,
    }
}

impl Service {
    /// The state, in the terms that every part of the program uses.
    pub(super) fn state(&self) -> ServiceState {
        match &self.phase {
            Phase::Idle(Rest::Stopped | Rest::Rebooted) => ServiceState::Stopped,
            Phase::Idle(Rest::Completed) => ServiceState::Completed,
            Phase::Idle(Rest::Failed(_)) => ServiceState::Failed,
            Phase::Pending => ServiceState::Pending,
            Phase::Backoff { .. } => ServiceState::Restarting,
            Phase::Stopping(Stopping { next: Next::Wait, .. }) => ServiceState::Starting,
            Phase::Active(Active { halt: Some(_), .. }) | Phase::Stopping(_) => ServiceState::Stopping,
            Phase::Active(_) if self.is_unreached() => ServiceState::Unknown,
            Phase::Active(Active {
                stage: Stage::Up(up), ..
            }) if up.was_ready || self.series.overdue => ServiceState::Running,
            Phase::Active(_) => ServiceState::Starting,
            Phase::Adrift(_) => ServiceState::Unknown,
        }
    }
}

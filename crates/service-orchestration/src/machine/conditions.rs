//! Whether dependencies hold, whether they still can, and which dependencies cause trouble for a service.

use harness_model::spec::{Condition, Dependency, RestartMode};
use harness_model::{Health, ServiceName};

use super::Machine;
use super::service::{Facts, Phase, Rest, Service, Trouble};
use super::types::{LogPattern, Lost};

impl Machine {
    /// Whether all dependencies of a service hold.
    pub(super) fn may_start(&self, service: &Service) -> bool {
        service.definition.dependencies.iter().all(|d| self.satisfied(d))
    }

    /// Whether a dependency holds, or may be ignored.
    pub(super) fn satisfied(&self, dependency: &Dependency) -> bool {
        if dependency.condition == Condition::None {
            return true;
        }
        match self.services.get(&dependency.service) {
            None => !dependency.required,
            Some(service) => {
                holds(&dependency.condition, service)
                    || (!dependency.required && hopeless(dependency, service))
            }
        }
    }

    /// Whether a pending service waits for something that only a new operation can bring about.
    fn is_stuck(&self, service: &Service) -> bool {
        matches!(service.phase, Phase::Pending)
            && service
                .definition
                .dependencies
                .iter()
                .any(|d| !self.satisfied(d) && self.services.get(&d.service).is_none_or(|s| hopeless(d, s)))
    }

    /// What is wrong with a service because of its required dependencies.
    fn trouble(&self, name: &ServiceName, service: &Service) -> Option<Trouble> {
        if matches!(service.phase, Phase::Idle(_)) {
            return None;
        }
        let is_up = service.is_live();
        service
            .definition
            .dependencies
            .iter()
            .filter(|d| d.required && d.condition != Condition::None && d.service != *name)
            .find_map(|d| {
                let via = d.service.clone();
                let Some(dependency) = self.services.get(&via) else {
                    return Some(Trouble {
                        root: via.clone(),
                        via,
                        what: "does not exist",
                    });
                };
                if is_up && matches!(d.condition, Condition::Completed) && !is_failed(dependency) {
                    return None;
                }
                if let Some(what) = ailment(dependency, is_up) {
                    return Some(Trouble {
                        root: via.clone(),
                        via,
                        what,
                    });
                }
                let inherited = dependency.facts.trouble.as_ref()?;
                (inherited.root != *name).then(|| Trouble {
                    via,
                    ..inherited.clone()
                })
            })
    }

    /// What others must hear of when it changes.
    pub(super) fn facts(&self, name: &ServiceName, service: &Service) -> Facts {
        Facts {
            state: service.state(),
            health: service.health(),
            wanted: service.wanted,
            started: is_up(service),
            probed: service.health_policy().is_some(),
            going: service.is_going(),
            overdue: service.series.overdue,
            matched: service.matched.len(),
            stuck: self.is_stuck(service),
            long_unreached: service.is_long_unreached(),
            trouble: self.trouble(name, service),
        }
    }
}

/// Whether a condition holds. A service that is being stopped satisfies no condition, and neither does an unknown
/// state.
pub(super) fn holds(condition: &Condition, service: &Service) -> bool {
    match condition {
        Condition::None => true,
        Condition::Started => is_up(service) || service.completed(),
        Condition::Ready => {
            let content = matches!(service.health(), Health::None | Health::Healthy);
            is_up(service) && content || service.completed()
        }
        Condition::Healthy => is_up(service) && service.health() == Health::Healthy,
        Condition::Completed => {
            service.completed() && service.digest.as_ref() == Some(&service.definition.digest)
        }
        Condition::Log(pattern) => {
            (is_up(service) || service.completed()) && service.matched.contains(&LogPattern(pattern.clone()))
        }
    }
}

/// Whether it is up, is not about to be stopped, is not paused, and its state is known.
fn is_up(service: &Service) -> bool {
    service.staying_up().is_some() && service.absence.is_none()
}

/// Whether a dependency cannot be expected to hold without a new operation.
fn hopeless(dependency: &Dependency, service: &Service) -> bool {
    given_up(service) || unhealthy_for_good(service) || never_healthy(dependency, service)
}

/// Whether a dependent waits for it to be healthy although it runs without a probe.
pub(super) fn never_healthy(dependency: &Dependency, service: &Service) -> bool {
    dependency.condition == Condition::Healthy && service.staying_up().is_some_and(|up| up.probing.is_none())
}

/// Whether nothing more can be expected of a service without a new operation. For a service that crashes again and
/// again, and for one that cannot be reached, this means: not before long.
pub(super) fn given_up(service: &Service) -> bool {
    if service.is_long_unreached() {
        return true;
    }
    match &service.phase {
        Phase::Idle(_) | Phase::Adrift(_) => true,
        Phase::Pending => service.facts.stuck || service.series.overdue,
        Phase::Backoff { .. } => service.series.overdue,
        Phase::Stopping(_) => !service.wanted || service.series.overdue,
        Phase::Active(_) => !service.wanted || service.series.overdue,
    }
}

/// Whether it is unhealthy and its policy does not restart it.
pub(super) fn unhealthy_for_good(service: &Service) -> bool {
    service.definition.restart.mode == RestartMode::No
        && service.staying_up().is_some()
        && service.health() == Health::Unhealthy
}

fn is_failed(service: &Service) -> bool {
    matches!(service.phase, Phase::Idle(Rest::Failed(_)))
}

/// What is wrong with a service itself, in the words that its dependents use.
fn ailment(service: &Service, dependent_is_up: bool) -> Option<&'static str> {
    match &service.phase {
        Phase::Idle(Rest::Failed(_)) => Some("failed"),
        Phase::Idle(Rest::Completed) => None,
        Phase::Idle(Rest::Stopped | Rest::Rebooted) => Some("is stopped"),
        Phase::Backoff { .. } => Some("is restarting"),
        Phase::Adrift(_) => Some("could not be stopped"),
        Phase::Active(_) | Phase::Stopping(_) if service.absence.is_some() => Some(match service.lost() {
            Some(Lost::Paused(_)) => "is paused",
            _ => "is in an unknown state",
        }),
        Phase::Active(_) if service.health() == Health::Unhealthy => Some("is unhealthy"),
        _ if !dependent_is_up => None,
        Phase::Pending => Some("is not running"),
        Phase::Stopping(_) => Some("is stopping"),
        Phase::Active(active) if active.halt.is_some() => Some("is stopping"),
        Phase::Active(_) => None,
    }
}

//! The status of each service in an operation, and the verdict on the operation.

use std::collections::{BTreeMap, BTreeSet};

use harness_model::ServiceName;
use harness_model::spec::Dependency;

use super::Machine;
use super::advance::unhealthy;
use super::conditions::{given_up, never_healthy, unhealthy_for_good};
use super::health::Probing;
use super::operations::{Entry, Operation, OperationStage, Status};
use super::service::{Adrift, Failure, Phase, Rest, Service};
use super::types::{CONTACT_TIMEOUT, FailureCause, Lost, Outcome, RootFailure};
use super::words;

impl Machine {
    /// The status of a service, and whether the operation has stopped waiting for it.
    pub(super) fn status(&self, operation: &Operation, entry: &Entry, name: &ServiceName) -> (Status, bool) {
        let service = self.services.get(name);
        if operation.takes_down(entry) {
            let status = match service.map(|service| &service.phase) {
                None | Some(Phase::Idle(_)) => Status::Reached,
                Some(Phase::Adrift(_)) => Status::Failed,
                Some(_) if !self.may_be_reached(entry) => Status::Failed,
                Some(_) => Status::Moving,
            };
            return (status, false);
        }
        let Some(service) = service else {
            return (Status::Failed, false);
        };
        if matches!(operation.stage, OperationStage::RollingBack(_)) || service.is_reached() {
            return (Status::Reached, entry.late);
        }
        let patient = entry.deadline.is_none_or(|deadline| deadline > self.now);
        match &service.phase {
            Phase::Idle(Rest::Stopped | Rest::Rebooted) => (Status::Superseded, false),
            Phase::Idle(_) | Phase::Adrift(_) => (Status::Failed, entry.late),
            Phase::Pending => (Status::Waiting, entry.late),
            _ if service.is_unreached() && !entry.late => match self.may_be_reached(entry) {
                true => (Status::Moving, false),
                false => (Status::Failed, false),
            },
            Phase::Stopping(_) if !entry.late => (Status::Moving, false),
            Phase::Active(_) | Phase::Backoff { .. } | Phase::Stopping(_) => {
                if patient && !entry.late {
                    (Status::Moving, false)
                } else {
                    (Status::Failed, true)
                }
            }
        }
    }

    /// Whether the operation still waits for its place to be reached, if it has to.
    fn may_be_reached(&self, entry: &Entry) -> bool {
        entry.reach_by.is_none_or(|until| until > self.now)
    }

    /// Whether the operation does not wait for a service any more because it cannot be reached.
    fn is_given_up(&self, operation: &Operation, name: &ServiceName) -> bool {
        let entry = operation.entries.get(name);
        let impatient = entry.is_some_and(|entry| !self.may_be_reached(entry));
        let service = self.services.get(name);
        service.is_some_and(|service| service.is_unreached() && (impatient || service.is_long_unreached()))
    }

    /// The verdict on an operation in which nothing moves; `None` while it may still change.
    pub(super) fn verdict(&self, operation: &Operation) -> Option<Outcome> {
        let waiting: BTreeSet<&ServiceName> = with_status(operation, Status::Waiting).collect();
        if self.may_still_start(operation, &waiting) {
            return None;
        }
        let needed = |name: &ServiceName| operation.entries.get(name).is_some_and(|entry| entry.needed);
        let mut roots: BTreeMap<ServiceName, RootFailure> = BTreeMap::new();
        for name in with_status(operation, Status::Failed).filter(|name| needed(name)) {
            roots.insert(name.clone(), self.failure_of(operation, name));
        }
        let mut explained = BTreeSet::new();
        for root in roots.values_mut() {
            root.blocked = self.blocked_by(&root.service, &waiting);
            explained.extend(root.blocked.iter().cloned());
        }
        for name in waiting.iter().filter(|name| needed(name)) {
            if explained.contains(*name) {
                continue;
            }
            let Some(mut found) = self.why_blocked(operation, &waiting, name) else {
                continue;
            };
            found.blocked = self.blocked_by(&found.service, &waiting);
            explained.extend(found.blocked.iter().cloned());
            explained.insert(found.service.clone());
            explained.insert((*name).clone());
            roots.entry(found.service.clone()).or_insert(found);
        }
        if let OperationStage::RollingBack(before) = &operation.stage {
            let mut all = before.clone();
            all.extend(
                roots
                    .into_values()
                    .filter(|new| before.iter().all(|old| old.service != new.service)),
            );
            return Some(Outcome::Failed(all));
        }
        if !roots.is_empty() {
            return Some(Outcome::Failed(roots.into_values().collect()));
        }
        let superseded = with_status(operation, Status::Superseded).next().is_some();
        Some(if superseded {
            Outcome::Superseded
        } else {
            Outcome::Done
        })
    }

    /// Whether one of the waiting services can still be launched: everything that it waits for may still come to
    /// hold.
    fn may_still_start(&self, operation: &Operation, waiting: &BTreeSet<&ServiceName>) -> bool {
        let hopeful = |service: &Service| {
            service
                .definition
                .dependencies
                .iter()
                .filter(|d| !self.satisfied(d))
                .all(|d| !waiting.contains(&d.service) && self.may_come(operation, d))
        };
        waiting.iter().any(|name| {
            let patient = operation.entries.get(*name).and_then(|entry| entry.deadline);
            patient.is_none_or(|deadline| deadline > self.now)
                && self.services.get(*name).is_some_and(hopeful)
        })
    }

    /// Whether an unsatisfied dependency that does not wait in this operation itself may still come to hold.
    fn may_come(&self, operation: &Operation, dependency: &Dependency) -> bool {
        let Some(service) = self.services.get(&dependency.service) else {
            return false;
        };
        match operation.entries.get(&dependency.service) {
            // An unhealthy service may recover for as long as its dependent is waited for.
            None => !given_up(service) && !never_healthy(dependency, service),
            Some(_) if never_healthy(dependency, service) => false,
            Some(entry) => {
                let patient = entry.deadline.is_some_and(|deadline| deadline > self.now);
                entry.status == Status::Reached && service.is_staying() && patient
            }
        }
    }

    /// The waiting services that wait for `root`, directly or through each other.
    fn blocked_by(&self, root: &ServiceName, waiting: &BTreeSet<&ServiceName>) -> Vec<ServiceName> {
        let mut blocked: BTreeSet<&ServiceName> = BTreeSet::new();
        let mut open = vec![root];
        while let Some(on) = open.pop() {
            for dependent in self.dependents_of(on) {
                let waits = waiting.contains(dependent)
                    && dependent != root
                    && self.services.get(dependent).is_some_and(|service| {
                        let mut edges = service.definition.dependencies.iter();
                        edges.any(|d| d.service == *on && !self.satisfied(d))
                    });
                if waits && blocked.insert(dependent) {
                    open.push(dependent);
                }
            }
        }
        blocked.into_iter().cloned().collect()
    }

    /// The root cause that keeps `name` from starting, if no failed service of the operation explains it.
    fn why_blocked(
        &self,
        operation: &Operation,
        waiting: &BTreeSet<&ServiceName>,
        name: &ServiceName,
    ) -> Option<RootFailure> {
        let first = self.unsatisfied(name).next();
        // If a dependency waits as well, look at what it waits for itself.
        let (mut open, mut seen) = (vec![name], BTreeSet::new());
        let mut end = None;
        while let Some(asked) = open.pop() {
            end = self
                .unsatisfied(asked)
                .find(|d| !waiting.contains(&d.service))
                .map(|d| (asked, d));
            if end.is_some() {
                break;
            }
            let further = self.unsatisfied(asked).map(|d| &d.service);
            open.extend(further.filter(|on| seen.insert(*on)));
        }
        let Some(dependency) = first else {
            return Some(missing(name, name, "is not started"));
        };
        let Some((name, dependency)) = end else {
            return Some(missing(
                name,
                &dependency.service,
                "itself waits for this service",
            ));
        };
        let on = &dependency.service;
        let Some(found) = self.services.get(on) else {
            return Some(missing(name, on, "does not exist"));
        };
        match &found.phase {
            Phase::Idle(Rest::Failed(failure)) | Phase::Adrift(Adrift { failure, .. }) => {
                Some(root(on, failure.clone(), Some(found.generation)))
            }
            Phase::Idle(Rest::Completed) => Some(missing(
                name,
                on,
                &format!("completed and {}", words::unmet(&dependency.condition)),
            )),
            Phase::Idle(_) => Some(missing(name, on, "is not running")),
            Phase::Pending => Some(missing(name, on, "is not running")),
            _ if self.is_given_up(operation, on) => {
                Some(root(on, not_reached(found), Some(found.generation)))
            }
            _ if found.missed_start().is_some() => Some(root(on, unhealthy(found), Some(found.generation))),
            _ if never_healthy(dependency, found) => Some(missing(
                name,
                on,
                "has no health check, and neither has its image",
            )),
            _ if operation
                .entries
                .get(on)
                .is_some_and(|entry| entry.status == Status::Failed) =>
            {
                Some(self.failure_of(operation, on))
            }
            _ if unhealthy_for_good(found) => Some(root(on, unhealthy(found), Some(found.generation))),
            _ => {
                let within = words::brief(found.startup_timeout());
                let reason = format!("{} within {within}", words::unmet(&dependency.condition));
                let cause = FailureCause::StartupTimeout;
                Some(root(on, Failure { cause, reason }, Some(found.generation)))
            }
        }
    }

    fn unsatisfied(&self, name: &ServiceName) -> impl Iterator<Item = &Dependency> {
        let dependencies = self
            .services
            .get(name)
            .map(|service| &service.definition.dependencies);
        dependencies.into_iter().flatten().filter(|d| !self.satisfied(d))
    }

    fn failure_of(&self, operation: &Operation, name: &ServiceName) -> RootFailure {
        let Some(service) = self.services.get(name) else {
            let cause = FailureCause::MissingDependency(name.clone());
            let reason = "it does not exist".into();
            return root(name, Failure { cause, reason }, None);
        };
        let present = Some(service.generation);
        match &service.phase {
            Phase::Idle(Rest::Failed(failure)) | Phase::Adrift(Adrift { failure, .. }) => {
                root(name, failure.clone(), present)
            }
            _ if self.is_given_up(operation, name) => root(name, not_reached(service), present),
            _ if unhealthy_for_good(service) || service.missed_start().is_some() => {
                root(name, unhealthy(service), present)
            }
            _ => {
                let within = words::brief(service.startup_timeout());
                let taking_down = operation
                    .entries
                    .get(name)
                    .is_some_and(|e| operation.takes_down(e));
                let probe = service
                    .up()
                    .and_then(|up| up.probing.as_ref())
                    .and_then(Probing::last);
                let cause = FailureCause::StartupTimeout;
                // Another attempt may be going on; the reason belongs to the attempt that failed.
                let failed = Some(service.series.failed);
                let (reason, generation) = match (&service.series.failure, probe) {
                    _ if taking_down => ("it does not end".into(), present),
                    _ if service.lost().is_some() => {
                        let why = service.lost().map_or("", Lost::why);
                        (format!("not ready within {within}: {why}"), present)
                    }
                    (Some(before), _) if before.cause == cause => (before.reason.clone(), failed),
                    (Some(before), _) => (format!("not ready within {within}: {}", before.reason), failed),
                    (None, Some(answer)) => (format!("not healthy within {within}: {answer}"), present),
                    (None, None) => match service.doing() {
                        Some(doing) => (format!("not launched within {within}: {doing}"), present),
                        None => (format!("not ready within {within}"), present),
                    },
                };
                root(name, Failure { cause, reason }, generation)
            }
        }
    }
}

/// That its place could not be reached.
fn not_reached(service: &Service) -> Failure {
    let within = words::brief(CONTACT_TIMEOUT);
    let why = service.lost().map_or("", Lost::why);
    Failure {
        cause: FailureCause::NotReached,
        reason: format!("not reached for {within}: {why}"),
    }
}

fn with_status(operation: &Operation, status: Status) -> impl Iterator<Item = &ServiceName> {
    operation
        .entries
        .iter()
        .filter(move |(_, entry)| entry.status == status)
        .map(|(name, _)| name)
}

fn root(service: &ServiceName, failure: Failure, generation: Option<u64>) -> RootFailure {
    RootFailure {
        service: service.clone(),
        cause: failure.cause,
        reason: failure.reason,
        generation,
        blocked: Vec::new(),
    }
}

fn missing(service: &ServiceName, on: &ServiceName, what: &str) -> RootFailure {
    let cause = FailureCause::MissingDependency(on.clone());
    root(
        service,
        Failure {
            cause,
            reason: format!("depends on {on}, which {what}"),
        },
        None,
    )
}

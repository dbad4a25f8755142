//! How long operations wait for a service: until its start window ends, and longer while its launch reports progress.

use harness_model::ServiceName;

use super::Machine;
use super::operations::{Operation, OperationStage, Status};
use super::service::{Active, Phase, Stage};
use super::types::{OperationId, Time};

impl Machine {
    /// Operations wait for a service as if it had just begun.
    pub(super) fn be_patient(&mut self, name: &ServiceName) {
        for (id, operation) in &mut self.operations {
            let entry = operation.entries.get_mut(name);
            if let Some(deadline) = entry.and_then(|entry| entry.deadline.take()) {
                self.operation_timers.remove(&(deadline, *id, name.clone()));
            }
        }
        self.heard.insert(name.clone());
    }

    /// The same, but only while its launch goes on.
    pub(super) fn be_patient_while_launching(&mut self, name: &ServiceName) {
        for operation in self.operations.values_mut() {
            if let Some(entry) = operation.entries.get_mut(name) {
                entry.deadline_before = entry.deadline_before.or(entry.deadline);
            }
        }
        self.be_patient(name);
    }

    /// Its launch has failed, so the extra time is taken back.
    pub(super) fn be_as_patient_as_before(&mut self, name: &ServiceName) {
        let now = self.now;
        for (id, operation) in &mut self.operations {
            let Some(entry) = operation.entries.get_mut(name) else {
                continue;
            };
            let Some(before) = entry.deadline_before.take() else {
                continue;
            };
            let deadline = before.max(now);
            if let Some(extended) = entry.deadline.replace(deadline) {
                self.operation_timers.remove(&(extended, *id, name.clone()));
            }
            self.operation_timers.insert((deadline, *id, name.clone()));
        }
    }

    /// Its launch has succeeded, so it keeps the extra time.
    pub(super) fn launch_was_worth_it(&mut self, name: &ServiceName) {
        for operation in self.operations.values_mut() {
            if let Some(entry) = operation.entries.get_mut(name) {
                entry.deadline_before = None;
            }
        }
    }

    /// A service that was up and is not any more (unhealthy, restarting) gets its time once more, counted from now.
    /// This happens only once, so that an operation ends even if its services go down one after the other.
    pub(super) fn bear_a_relapse(&mut self, id: OperationId, operation: &mut Operation, name: &ServiceName) {
        let Some(service) = self.services.get(name).filter(|service| !service.is_reached()) else {
            return;
        };
        let until = self.now.after(service.startup_timeout());
        let Some(entry) = operation.entries.get_mut(name) else {
            return;
        };
        if entry.relapsed || entry.status != Status::Reached || service.is_at_rest() {
            return;
        }
        (entry.relapsed, entry.late) = (true, false);
        let former = entry.deadline;
        let deadline = former.map_or(until, |former| former.max(until));
        entry.deadline = Some(deadline);
        if let Some(former) = former {
            self.operation_timers.remove(&(former, id, name.clone()));
        }
        self.operation_timers.insert((deadline, id, name.clone()));
    }

    /// Until when an operation waits for a service; `None` before anything of the service has begun.
    pub(super) fn patience(&self, operation: &Operation, name: &ServiceName) -> Option<Time> {
        // For one that cannot be reached, another limit counts.
        let service = self
            .services
            .get(name)
            .filter(|service| !service.is_unreached())?;
        let from_now = self.now.after(service.startup_timeout());
        match (&service.phase, &operation.stage) {
            // Its hook has a time limit of its own.
            (
                Phase::Active(Active {
                    stage: Stage::Preparing { .. },
                    ..
                }),
                _,
            ) => None,
            (Phase::Active(Active { halt: None, .. }) | Phase::Backoff { .. }, _) => Some(
                service
                    .series
                    .window
                    .filter(|window| *window > self.now)
                    .unwrap_or(from_now),
            ),
            (Phase::Pending, OperationStage::Starting { no_deps: true, .. }) => Some(from_now),
            _ => None,
        }
    }
}

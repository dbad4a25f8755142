//! Operations: takes a request, and follows each of its services until the verdict is certain.
//!
//! A start ends when nothing more can change its verdict: each of its services is up, has failed for good, or waits
//! in vain for one that has failed. A service that crashes again and again, or a condition that never holds, counts
//! as failed "for good" when its `startup_timeout` has passed since the first launch that the operation saw. For a
//! service that runs but is unhealthy, the time counts from the moment when the operation first saw it unhealthy. A
//! service that was up and goes down again gets that time once more.

use std::collections::{BTreeMap, BTreeSet};

use harness_model::ServiceName;

use super::Machine;
use super::effect::Effect;
use super::plan::{Plan, StartRequest};
use super::service::{Halt, Next, Phase};
use super::types::{
    Change, Definition, OperationId, OperationOutcome, OperationRequest, Outcome, RootFailure, Time, Timing,
};

#[derive(Debug)]
pub(super) struct Operation {
    pub(super) entries: BTreeMap<ServiceName, Entry>,
    /// Entries that are [`Status::Moving`].
    pub(super) moving: usize,
    pub(super) stage: OperationStage,
}

#[derive(Debug)]
pub(super) enum OperationStage {
    Starting {
        rollback: bool,
        no_deps: bool,
    },
    Stopping,
    /// The start has failed and stops what it began.
    RollingBack(Vec<RootFailure>),
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) change: Change,
    /// Whether the operation fails if this service fails.
    pub(super) needed: bool,
    pub(super) launched: Option<Time>,
    pub(super) done: Option<Time>,
    /// Until when the operation waits for it.
    pub(super) deadline: Option<Time>,
    /// The same, without the extra time that the running launch got by reporting progress.
    pub(super) deadline_before: Option<Time>,
    /// Until when the operation waits for its place to be reached.
    pub(super) reach_by: Option<Time>,
    /// Whether the operation has stopped waiting for it once, because it was not up in time.
    pub(super) late: bool,
    /// Whether it was up once and went down again, and got more time for that.
    pub(super) relapsed: bool,
    pub(super) status: Status,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// Something is happening to it that will end by itself.
    Moving,
    /// It waits for its dependencies.
    Waiting,
    /// It is where the operation wants it.
    Reached,
    Failed,
    /// Another operation wants something else for it.
    Superseded,
}

impl Entry {
    fn new(change: Change, needed: bool) -> Self {
        Self {
            change,
            needed,
            launched: None,
            done: None,
            deadline: None,
            deadline_before: None,
            reach_by: None,
            late: false,
            relapsed: false,
            status: Status::Moving,
        }
    }
}

impl Operation {
    fn new(plan: &Plan, stage: OperationStage) -> Self {
        let entry = |(name, change): (&ServiceName, &Change)| {
            let needed = plan.needed.contains(name) || *change == Change::Stop;
            (name.clone(), Entry::new(*change, needed))
        };
        let entries: BTreeMap<_, _> = plan.changes.iter().map(entry).collect();
        Self {
            moving: entries.len(),
            entries,
            stage,
        }
    }

    /// Whether the operation wants this service down.
    pub(super) fn takes_down(&self, entry: &Entry) -> bool {
        match self.stage {
            OperationStage::Stopping => true,
            OperationStage::Starting { .. } => entry.change == Change::Stop,
            OperationStage::RollingBack(_) => entry.change != Change::Unchanged,
        }
    }

    pub(super) fn set_status(&mut self, name: &ServiceName, status: Status, now: Time) {
        if let Some(entry) = self.entries.get_mut(name)
            && entry.status != status
        {
            match (entry.status, status) {
                (Status::Moving, _) => self.moving = self.moving.saturating_sub(1),
                (_, Status::Moving) => self.moving += 1,
                _ => {}
            }
            entry.status = status;
            entry.done = (status == Status::Reached).then_some(now);
        }
    }

    pub(super) fn finished(self, operation: OperationId, outcome: Outcome) -> Effect {
        let timing = |(name, entry): (ServiceName, Entry)| {
            (
                name,
                Timing {
                    change: entry.change,
                    launched: entry.launched,
                    done: entry.done,
                },
            )
        };
        let timings = self.entries.into_iter().map(timing).collect();
        Effect::Finished {
            operation,
            outcome: OperationOutcome { outcome, timings },
        }
    }
}

impl Machine {
    pub(super) fn submit(&mut self, operation: OperationId, request: OperationRequest) {
        if self.operations.contains_key(&operation) {
            return;
        }
        match request {
            OperationRequest::Start {
                definitions,
                targets,
                no_deps,
                restart,
                unchosen,
                prune,
                rollback,
            } => {
                let request = StartRequest {
                    definitions: &definitions,
                    targets: targets.as_ref(),
                    no_deps,
                    restart,
                    unchosen: &unchosen,
                    prune,
                };
                let plan = self.plan_start(request);
                self.planned(operation, &plan);
                self.take_definitions(definitions, &unchosen, &plan.redefined);
                for (name, change) in &plan.changes {
                    self.carry_out(name, *change);
                }
                self.start_takes_over(&plan);
                self.stop_takes_over(&plan);
                let stage = OperationStage::Starting { rollback, no_deps };
                self.operations.insert(operation, Operation::new(&plan, stage));
                self.follow_new_dependencies();
            }
            OperationRequest::Stop { targets } => {
                let plan = self.plan_stop(targets.as_ref());
                self.planned(operation, &plan);
                for name in plan.changes.keys() {
                    self.release(name);
                }
                self.stop_takes_over(&plan);
                self.operations
                    .insert(operation, Operation::new(&plan, OperationStage::Stopping));
            }
        }
    }

    /// Nobody waits for the operation any more. What it began goes on, so nothing is rolled back.
    pub(super) fn abandon(&mut self, operation: OperationId) {
        if let Some(gone) = self.operations.remove(&operation) {
            self.drop_timers(operation, &gone);
        }
    }

    fn planned(&mut self, operation: OperationId, plan: &Plan) {
        self.planned.push(Effect::Planned {
            operation,
            steps: plan.steps.clone(),
        });
        self.heard.extend(plan.changes.keys().cloned());
    }

    /// Makes the definitions of the file the desired ones: at once for the services that the start concerns, and for
    /// the others as soon as they are at rest.
    fn take_definitions(
        &mut self,
        definitions: BTreeMap<ServiceName, Definition>,
        unchosen: &BTreeSet<ServiceName>,
        redefined: &BTreeSet<ServiceName>,
    ) {
        let known: Vec<ServiceName> = self.services.keys().cloned().collect();
        for name in known {
            let defined = definitions.contains_key(&name) || unchosen.contains(&name);
            if let Some(service) = self.services.get_mut(&name)
                && service.defined != defined
            {
                service.defined = defined;
                if !defined && service.is_at_rest() && !redefined.contains(&name) {
                    service.wanted = false;
                }
                self.dirty.insert(name);
            }
        }
        for (name, definition) in definitions {
            let at_rest = self
                .services
                .get(&name)
                .is_none_or(|service| service.is_at_rest());
            if at_rest || redefined.contains(&name) {
                self.define(&name, definition);
            }
        }
    }

    /// Makes a service wanted, in the way that was planned.
    fn carry_out(&mut self, name: &ServiceName, change: Change) {
        self.dirty.insert(name.clone());
        if change == Change::Stop {
            return self.release(name);
        }
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        service.wanted = true;
        match (&mut service.phase, change) {
            (Phase::Idle(_), Change::Unchanged) => {}
            (Phase::Idle(_) | Phase::Pending, _)
            | (Phase::Backoff { .. }, Change::Start | Change::Restart) => {
                service.begin_series();
            }
            (Phase::Backoff { .. }, _) => {}
            (Phase::Stopping(_), Change::Unchanged) => {}
            (Phase::Stopping(stopping), _) => stopping.next = Next::Asked,
            (Phase::Adrift(_), _) => self.kill_again(name),
            (Phase::Active(active), Change::Unchanged) => {
                if active.halt.take().is_some() {
                    service.note("its stop was cancelled");
                }
            }
            (Phase::Active(_), Change::Replace) => {
                self.halt(name, Halt::Asked, "replacing it: its spec changed")
            }
            (Phase::Active(_), _) => self.halt(name, Halt::Asked, "restarting"),
        }
    }

    /// A service that an earlier start waits for may get a new definition, with dependencies that the start does not
    /// know. The start follows these from now on, so that it waits for them too.
    fn follow_new_dependencies(&mut self) {
        for operation in self.operations.values_mut() {
            let OperationStage::Starting { no_deps: false, .. } = operation.stage else {
                continue;
            };
            let mut open: Vec<ServiceName> = operation
                .entries
                .iter()
                .filter(|(_, entry)| !operation.takes_down(entry))
                .map(|(name, _)| name.clone())
                .collect();
            while let Some(name) = open.pop() {
                let Some(service) = self.services.get(&name) else {
                    continue;
                };
                for on in service.definition.dependencies.iter().map(|d| &d.service) {
                    let wanted = self.services.get(on).is_some_and(|found| found.wanted);
                    if wanted && !operation.entries.contains_key(on) {
                        operation
                            .entries
                            .insert(on.clone(), Entry::new(Change::Unchanged, false));
                        operation.moving += 1;
                        self.heard.insert(on.clone());
                        open.push(on.clone());
                    }
                }
            }
        }
    }

    /// A start wants services up that stops (or prunes, or rollbacks) were stopping.
    fn start_takes_over(&mut self, plan: &Plan) {
        let now = self.now;
        for operation in self.operations.values_mut() {
            for name in plan
                .changes
                .iter()
                .filter(|(_, c)| **c != Change::Stop)
                .map(|(name, _)| name)
            {
                let taken = operation.entries.get(name).is_some_and(|entry| {
                    operation.takes_down(entry) && !matches!(entry.status, Status::Reached)
                });
                if taken {
                    operation.set_status(name, Status::Superseded, now);
                }
            }
        }
    }

    /// A stop preempts every start that wants one of its services up.
    fn stop_takes_over(&mut self, plan: &Plan) {
        let preempted = |operation: &Operation| {
            matches!(operation.stage, OperationStage::Starting { .. })
                && operation.entries.iter().any(|(name, entry)| {
                    let goes_down = plan
                        .changes
                        .get(name)
                        .is_some_and(|change| plan.takes_down(*change));
                    entry.change != Change::Stop && goes_down
                })
        };
        let ids: Vec<OperationId> = self
            .operations
            .iter()
            .filter(|(_, o)| preempted(o))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            if let Some(operation) = self.operations.remove(&id) {
                self.drop_timers(id, &operation);
                self.finished.push(operation.finished(id, Outcome::Superseded));
            }
        }
    }

    pub(super) fn operations_saw_launch(&mut self, name: &ServiceName) {
        let now = self.now;
        for operation in self.operations.values_mut() {
            if let Some(entry) = operation.entries.get_mut(name) {
                entry.launched.get_or_insert(now);
            }
        }
    }

    pub(super) fn drop_timers(&mut self, id: OperationId, operation: &Operation) {
        for (name, entry) in &operation.entries {
            for deadline in entry.deadline.into_iter().chain(entry.reach_by) {
                self.operation_timers.remove(&(deadline, id, name.clone()));
            }
        }
    }

    /// Tells every operation what changed. Returns `true` if one of them changed something in turn.
    pub(super) fn follow_operations(&mut self) -> bool {
        let heard = std::mem::take(&mut self.heard);
        let mut verdicts = Vec::new();
        for id in self.operations.keys().copied().collect::<Vec<_>>() {
            let Some(mut operation) = self.operations.remove(&id) else {
                continue;
            };
            for name in &heard {
                self.follow(id, &mut operation, name);
            }
            if operation.moving == 0
                && let Some(verdict) = self.verdict(&operation)
            {
                verdicts.push((id, verdict));
            }
            self.operations.insert(id, operation);
        }
        // A service that one operation stops again does not count as up for another operation.
        let failed = verdicts.iter().filter_map(|(id, verdict)| match verdict {
            Outcome::Failed(roots) => Some((*id, roots.clone())),
            Outcome::Done | Outcome::Superseded => None,
        });
        let mut again = false;
        for (id, roots) in failed.collect::<Vec<_>>() {
            if let Some(mut operation) = self.operations.remove(&id) {
                if matches!(operation.stage, OperationStage::Starting { rollback: true, .. }) {
                    operation.stage = OperationStage::RollingBack(roots);
                    self.roll_back(&mut operation);
                    again = true;
                }
                self.operations.insert(id, operation);
            }
        }
        if again {
            self.heard.extend(heard);
            return true;
        }
        for (id, outcome) in verdicts {
            if let Some(operation) = self.operations.remove(&id) {
                self.drop_timers(id, &operation);
                self.finished.push(operation.finished(id, outcome));
            }
        }
        false
    }

    fn roll_back(&mut self, operation: &mut Operation) {
        let now = self.now;
        for name in operation.entries.keys().cloned().collect::<Vec<_>>() {
            let Some(entry) = operation.entries.get(&name) else {
                continue;
            };
            if operation.takes_down(entry) && entry.status != Status::Superseded {
                operation.set_status(&name, Status::Moving, now);
                self.release(&name);
            }
            self.heard.insert(name);
        }
    }

    fn follow(&mut self, id: OperationId, operation: &mut Operation, name: &ServiceName) {
        let now = self.now;
        let Some(entry) = operation.entries.get(name) else {
            return;
        };
        // A service that was gone once counts as done, whoever starts it again.
        let gone = operation.takes_down(entry) && entry.status == Status::Reached;
        if gone || entry.status == Status::Superseded {
            return;
        }
        if entry.deadline.is_none()
            && !operation.takes_down(entry)
            && let Some(deadline) = self.patience(operation, name)
            && let Some(entry) = operation.entries.get_mut(name)
        {
            entry.deadline = Some(deadline);
            self.operation_timers.insert((deadline, id, name.clone()));
        }
        self.bear_a_relapse(id, operation, name);
        self.wait_for_contact(id, operation, name);
        let Some(entry) = operation.entries.get(name) else {
            return;
        };
        let (status, late) = self.status(operation, entry, name);
        operation.set_status(name, status, now);
        if let Some(entry) = operation.entries.get_mut(name) {
            entry.late = late;
        }
    }
}

//! Takes an order to start. Everything that can be refused is refused here, before anything changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_channel::Receiver;
use harness_model::{ProjectName, ProjectSpec, ServiceName, WallTime};
use service_registry::address::{Attached, ServiceAddresses};
use service_registry::record::ProjectRecord;

use super::OperationEvent;
use super::driver::{Driver, Last, Prepared, Project, Service};
use super::images::Exposed;
use super::orders::{Operation, OrderError, PlannedChange, StartOrder};
use super::prepare::definition;
use crate::machine::{
    Change, Definition, Effect, Event, Machine, OperationId, OperationRequest, PlannedStep,
};

/// An order that can be carried out, unless somebody else holds its ports.
pub(super) struct PlannedStart {
    pub(super) order: StartOrder,
    request: OperationRequest,
    pub(super) prepared: BTreeMap<ServiceName, Prepared>,
    pub(super) steps: Vec<PlannedStep>,
}

impl Driver {
    /// Plans an order, before anything changes.
    pub(super) fn plan_start(
        &self,
        order: StartOrder,
        exposed: &Exposed,
    ) -> Result<PlannedStart, OrderError> {
        let name = order.project.name.clone();
        self.check_name(&order)?;
        let closure = closure(&order)?;
        self.check_types(&order.project, &closure)?;
        let prepared = self.prepare(&order, &closure, exposed)?;
        let definitions: BTreeMap<ServiceName, Definition> = prepared
            .iter()
            .map(|(service, prepared)| (service.clone(), definition(prepared)))
            .collect();
        let request = OperationRequest::Start {
            definitions,
            targets: order.targets.clone(),
            no_deps: order.no_deps,
            restart: order.restart,
            unchosen: order.unchosen(),
            prune: order.prune,
            rollback: order.rollback,
        };
        let steps = match self.projects.get(&name) {
            Some(state) => state.machine.plan(&request),
            None => Machine::new(0).plan(&request),
        };
        Ok(PlannedStart {
            order,
            request,
            prepared,
            steps,
        })
    }

    /// Begins what was planned. Nothing can refuse it any more.
    pub(super) fn accept_start(&mut self, planned: PlannedStart) -> Operation {
        let PlannedStart {
            order,
            request,
            prepared,
            steps,
        } = planned;
        let name = order.project.name.clone();
        let not_in_file = self.not_in_file(&name, &order);
        if order.dry_run {
            let (_, events) = async_channel::bounded(1);
            return Operation {
                id: None,
                steps: self.planned(&name, steps, &prepared),
                project: name,
                not_in_file,
                events,
            };
        }
        self.record_project(&order);
        self.projects
            .entry(name.clone())
            .or_insert_with(|| new_project(&name));
        let (id, events) = self.watch_operation(&name);
        let steps = self.submit(&name, id, request, prepared);
        Operation {
            id: Some(id),
            project: name,
            steps,
            not_in_file,
            events,
        }
    }

    /// Steps the machine, and stores what the machine accepted before its effects are performed. Returns its plan,
    /// which may differ from the one that was checked: things may have happened since.
    pub(super) fn submit(
        &mut self,
        project: &ProjectName,
        operation: OperationId,
        request: OperationRequest,
        prepared: BTreeMap<ServiceName, Prepared>,
    ) -> Vec<PlannedChange> {
        let now = self.now();
        let Some(state) = self.projects.get_mut(project) else {
            return Vec::new();
        };
        let effects = state.machine.step(Event::Submit { operation, request }, now);
        let steps = self.planned(project, plan_in(&effects), &prepared);
        let Some(state) = self.projects.get_mut(project) else {
            return Vec::new();
        };
        let mut accepted_specs = Vec::new();
        for (service, prepared) in prepared {
            let accepted = state
                .machine
                .definition(&service)
                .is_some_and(|d| d.digest == prepared.digest);
            if !accepted {
                continue;
            }
            accepted_specs.push((service.clone(), Arc::clone(&prepared.spec)));
            match state.services.get_mut(&service) {
                Some(entry) => entry.prepared = prepared,
                None => {
                    let entry = Service {
                        prepared,
                        live: None,
                        hooks: None,
                        last: Last::default(),
                    };
                    state.services.insert(service, entry);
                }
            }
        }
        self.perform_all(project, effects);
        // A service that keeps running may have other secrets now.
        for (service, spec) in accepted_specs {
            let record = self.registry.service(project, &service);
            if record.is_some_and(|record| record.spec != spec) {
                self.changed(project, &service, "its file changed".to_owned());
            }
        }
        steps
    }

    /// Records the project as it is now, unless the same file was recorded already.
    fn record_project(&self, order: &StartOrder) {
        let spec = &order.project;
        let known = self.registry.project(&spec.name);
        let (created_at, message) = match &known {
            Some(known) => (known.created_at, "its file changed"),
            None => (WallTime::now(), "started for the first time"),
        };
        let same_file = known.as_ref().filter(|known| known.source == spec.source);
        let record = ProjectRecord {
            name: spec.name.clone(),
            source: spec.source.clone(),
            spec: spec.clone(),
            created_at,
            folder: order.folder.or(same_file.and_then(|known| known.folder)),
            earlier_files: order.earlier_files.clone(),
        };
        if known.is_some_and(|known| *known == record) {
            return;
        }
        self.keep_project(&record);
        self.registry.upsert_project(record, message);
    }

    fn check_name(&self, order: &StartOrder) -> Result<(), OrderError> {
        let name = &order.project.name;
        match self.registry.project(name) {
            Some(known) if known.source != order.project.source && !order.take_over => {
                Err(OrderError::NameTaken {
                    name: name.clone(),
                    known: known.source.clone(),
                    given: order.project.source.clone(),
                })
            }
            _ => Ok(()),
        }
    }

    fn check_types(&self, project: &ProjectSpec, closure: &BTreeSet<ServiceName>) -> Result<(), OrderError> {
        let refused: Vec<_> = closure
            .iter()
            .filter_map(|name| Some((name, project.services.get(name)?)))
            .filter_map(|(name, spec)| {
                self.executors
                    .check(spec)
                    .err()
                    .map(|error| (name.clone(), error))
            })
            .collect();
        if refused.is_empty() {
            Ok(())
        } else {
            Err(OrderError::Unsupported(refused))
        }
    }

    fn not_in_file(&self, name: &ProjectName, order: &StartOrder) -> Vec<ServiceName> {
        if order.prune {
            // They are stopped.
            return Vec::new();
        }
        let (records, unchosen) = (self.registry.services(name), order.unchosen());
        let of_project =
            |name: &ServiceName| order.project.services.contains_key(name) || unchosen.contains(name);
        let gone = records
            .iter()
            .filter(|r| r.state.is_live() && !of_project(&r.name));
        gone.map(|record| record.name.clone()).collect()
    }

    /// The steps of the plan, with what changed in the services that are replaced.
    pub(super) fn planned(
        &self,
        project: &ProjectName,
        steps: Vec<PlannedStep>,
        prepared: &BTreeMap<ServiceName, Prepared>,
    ) -> Vec<PlannedChange> {
        let differences = |step: &PlannedStep| -> Vec<String> {
            let Some(new) = prepared.get(&step.service) else {
                return Vec::new();
            };
            match self.registry.service(project, &step.service) {
                Some(old) if step.change == Change::Replace => {
                    let mut differences = new.spec.changes_since(&old.spec);
                    differences.extend(moved(&old.addresses, &new.addresses));
                    differences
                }
                _ => Vec::new(),
            }
        };
        steps
            .into_iter()
            .map(|step| PlannedChange {
                differences: differences(&step),
                service: step.service,
                change: step.change,
                after: step.after,
            })
            .collect()
    }

    /// A new operation of a project, and the receiver for its events.
    pub(super) fn watch_operation(
        &mut self,
        project: &ProjectName,
    ) -> (OperationId, Receiver<OperationEvent>) {
        let id = self.next_operation();
        let (sender, events) = async_channel::unbounded();
        if let Some(state) = self.projects.get_mut(project) {
            state.watchers.insert(id, sender);
        }
        (id, events)
    }
}

/// The plan among the effects of a submit.
pub(super) fn plan_in(effects: &[Effect]) -> Vec<PlannedStep> {
    let plan = effects.iter().find_map(|effect| match effect {
        Effect::Planned { steps, .. } => Some(steps.clone()),
        _ => None,
    });
    plan.unwrap_or_default()
}

/// Whether a step of a plan launches its service.
pub(super) fn begins(change: Change) -> bool {
    matches!(change, Change::Start | Change::Replace | Change::Restart)
}

/// An empty project. The seed of its jitter is its name, so that two projects that fail together do not retry
/// together.
pub(super) fn new_project(name: &ProjectName) -> Project {
    let seed = name
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    Project {
        machine: Machine::new(seed),
        services: BTreeMap::new(),
        watchers: BTreeMap::new(),
    }
}

/// The targets and everything that they depend on.
pub(super) fn closure(order: &StartOrder) -> Result<BTreeSet<ServiceName>, OrderError> {
    let services = &order.project.services;
    let Some(targets) = &order.targets else {
        return Ok(services.keys().cloned().collect());
    };
    let mut open: Vec<&ServiceName> = targets.iter().collect();
    let mut closure = BTreeSet::new();
    while let Some(name) = open.pop() {
        let Some(spec) = services.get(name) else {
            // A missing dependency is found when the file is read. A missing target is found only here.
            if targets.contains(name) {
                let project = order.project.name.clone();
                return Err(OrderError::NoSuchService {
                    project,
                    service: name.clone(),
                });
            }
            continue;
        };
        if closure.insert(name.clone()) && !order.no_deps {
            open.extend(spec.dependencies.iter().map(|d| &d.service));
        }
    }
    Ok(closure)
}

/// The networks of a container that have other addresses now, as text for people.
fn moved(before: &ServiceAddresses, now: &ServiceAddresses) -> Vec<String> {
    let other = |at: &Attached| {
        let then = before.networks().find(|then| then.network == at.network)?;
        let (network, from, to) = (&at.network, then.subnet, at.subnet);
        (from != to).then(|| format!("subnet of {network} changed from {from} to {to}"))
    };
    now.networks().filter_map(other).collect()
}

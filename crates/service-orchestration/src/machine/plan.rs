//! What a request would do. It is pure: the same plan answers a dry run and is carried out by a real request.

use std::collections::{BTreeMap, BTreeSet};

use harness_model::ServiceName;
use harness_model::spec::Condition;

use super::Machine;
use super::graph::order;
use super::service::{Active, Next, Phase, Rest, Service, Stopping};
use super::types::{Change, Definition, OperationRequest, PlannedStep};

/// A plan: what to do, before any of it is done.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Whether this is the plan of a stop.
    pub(super) stop: bool,
    pub(super) changes: BTreeMap<ServiceName, Change>,
    /// If one of these services fails, the request fails: the targets, and what they require.
    pub(super) needed: BTreeSet<ServiceName>,
    /// Services that use the new definitions from now on.
    pub(super) redefined: BTreeSet<ServiceName>,
    pub(super) steps: Vec<PlannedStep>,
}

impl Plan {
    /// Whether a service with this change will be down in the end.
    pub(super) fn takes_down(&self, change: Change) -> bool {
        self.stop || change == Change::Stop
    }
}

/// The parts of a start request that decide what it does.
#[derive(Debug, Clone, Copy)]
pub(super) struct StartRequest<'a> {
    pub(super) definitions: &'a BTreeMap<ServiceName, Definition>,
    pub(super) targets: Option<&'a BTreeSet<ServiceName>>,
    pub(super) no_deps: bool,
    pub(super) restart: bool,
    pub(super) unchosen: &'a BTreeSet<ServiceName>,
    pub(super) prune: bool,
}

impl Machine {
    /// What a request would do. Does nothing.
    pub fn plan(&self, request: &OperationRequest) -> Vec<PlannedStep> {
        match request {
            OperationRequest::Start {
                definitions,
                targets,
                no_deps,
                restart,
                unchosen,
                prune,
                ..
            } => {
                let request = StartRequest {
                    definitions,
                    targets: targets.as_ref(),
                    no_deps: *no_deps,
                    restart: *restart,
                    unchosen,
                    prune: *prune,
                };
                self.plan_start(request).steps
            }
            OperationRequest::Stop { targets } => self.plan_stop(targets.as_ref()).steps,
        }
    }

    pub(super) fn plan_start(&self, request: StartRequest<'_>) -> Plan {
        let definition = |name: &ServiceName| {
            let new = request.definitions.get(name);
            new.or_else(|| self.services.get(name).map(|service| &service.definition))
        };
        let targets: BTreeSet<ServiceName> = match request.targets {
            Some(targets) => targets.clone(),
            None => request.definitions.keys().cloned().collect(),
        };
        let reach = |all: bool| {
            let mut reached = targets.clone();
            let mut open: Vec<ServiceName> = targets.iter().cloned().collect();
            while let Some(name) = open.pop().filter(|_| !request.no_deps) {
                for d in definition(&name).into_iter().flat_map(|def| &def.dependencies) {
                    let wanted = d.condition != Condition::None && (all || d.required);
                    let there = d.required || definition(&d.service).is_some();
                    if wanted && there && reached.insert(d.service.clone()) {
                        open.push(d.service.clone());
                    }
                }
            }
            reached
        };
        let closure = reach(true);
        let mut plan = Plan {
            needed: reach(false),
            ..Plan::default()
        };
        for name in &closure {
            let forced = request.restart && targets.contains(name);
            let change = match (self.services.get(name), definition(name)) {
                (Some(service), Some(definition)) => change_of(service, definition, forced),
                _ => Change::Start,
            };
            plan.changes.insert(name.clone(), change);
        }
        plan.redefined = closure;
        self.restart_dependents(&mut plan, request.definitions);
        if request.prune {
            let of_project = |name: &ServiceName| {
                request.definitions.contains_key(name) || request.unchosen.contains(name)
            };
            let extra = |name: &ServiceName, service: &Service| {
                !service.is_at_rest() && !of_project(name) && !targets.contains(name)
            };
            for (name, _) in self
                .services
                .iter()
                .filter(|(name, service)| extra(name, service))
            {
                plan.changes.insert(name.clone(), Change::Stop);
            }
        }
        let (sorted, _) = order(
            plan.changes
                .keys()
                .filter_map(|name| Some((name, definition(name)?)))
                .collect(),
        );
        let unknown = plan.changes.keys().filter(|name| definition(name).is_none());
        for name in unknown.chain(&sorted) {
            let after = definition(name).into_iter().flat_map(|d| &d.dependencies);
            let after = after
                .filter(|d| d.condition != Condition::None)
                .map(|d| d.service.clone());
            let change = plan.changes.get(name).copied().unwrap_or(Change::Unchanged);
            let after = if change == Change::Stop {
                Vec::new()
            } else {
                after.collect()
            };
            plan.steps.push(PlannedStep {
                service: name.clone(),
                change,
                after,
            });
        }
        plan
    }

    /// Adds the running services that restart together with something that is replaced, restarted or started again.
    fn restart_dependents(&self, plan: &mut Plan, definitions: &BTreeMap<ServiceName, Definition>) {
        let mut with: BTreeMap<&ServiceName, Vec<&ServiceName>> = BTreeMap::new();
        for (name, service) in self.services.iter().filter(|(_, service)| service.is_staying()) {
            let new = definitions.get(name).filter(|_| plan.redefined.contains(name));
            for d in &new.unwrap_or(&service.definition).dependencies {
                if d.restart && d.condition != Condition::None {
                    with.entry(&d.service).or_default().push(name);
                }
            }
        }
        let anew = |name: &ServiceName, change: Change| match change {
            Change::Replace | Change::Restart => true,
            Change::Start => self
                .services
                .get(name)
                .is_some_and(|service| service.generation > 0),
            Change::Unchanged | Change::Stop => false,
        };
        let begun = plan.changes.iter().filter(|(name, change)| anew(name, **change));
        let mut open: Vec<ServiceName> = begun.map(|(name, _)| name.clone()).collect();
        while let Some(name) = open.pop() {
            for dependent in with.get(&name).into_iter().flatten() {
                let change = plan
                    .changes
                    .entry((*dependent).clone())
                    .or_insert(Change::Unchanged);
                if *change == Change::Unchanged {
                    *change = Change::Restart;
                    open.push((*dependent).clone());
                }
            }
        }
    }

    pub(super) fn plan_stop(&self, targets: Option<&BTreeSet<ServiceName>>) -> Plan {
        let mut plan = Plan {
            stop: true,
            ..Plan::default()
        };
        let chosen = |name: &ServiceName| targets.is_none_or(|targets| targets.contains(name));
        for (name, service) in self.services.iter().filter(|(name, _)| chosen(name)) {
            let change = if service.is_at_rest() {
                Change::Unchanged
            } else {
                Change::Stop
            };
            plan.changes.insert(name.clone(), change);
        }
        let chosen = self.services.iter().filter(|(name, _)| chosen(name));
        let (mut sorted, _) = order(
            chosen
                .map(|(name, service)| (name, &service.definition))
                .collect(),
        );
        sorted.reverse();
        for service in sorted {
            let change = plan.changes.get(&service).copied().unwrap_or(Change::Unchanged);
            let stopped_too = |d: &&ServiceName| plan.changes.get(*d) == Some(&Change::Stop);
            let after = match change {
                Change::Stop => self
                    .dependents_of(&service)
                    .filter(stopped_too)
                    .cloned()
                    .collect(),
                _ => Vec::new(),
            };
            plan.steps.push(PlannedStep {
                service,
                change,
                after,
            });
        }
        plan.needed = plan.changes.keys().cloned().collect();
        plan
    }
}

fn change_of(service: &Service, definition: &Definition, forced: bool) -> Change {
    let same = service.digest.as_ref() == Some(&definition.digest);
    match &service.phase {
        Phase::Idle(Rest::Completed) if definition.oneshot && same && !forced => Change::Unchanged,
        // Only its hooks still run.
        Phase::Stopping(Stopping {
            next: Next::Over(None) | Next::Rest(Rest::Completed),
            ..
        }) if definition.oneshot && same && !forced && service.wanted => Change::Unchanged,
        Phase::Idle(_) | Phase::Pending | Phase::Stopping(_) | Phase::Adrift(_) => Change::Start,
        Phase::Backoff { .. } if forced => Change::Restart,
        Phase::Backoff { .. } if same => Change::Unchanged,
        Phase::Backoff { .. } => Change::Start,
        Phase::Active(_) if !same => Change::Replace,
        Phase::Active(_) if forced => Change::Restart,
        // Somebody asked for a restart by the same spec, and it has not happened yet.
        Phase::Active(Active { halt: Some(_), .. })
            if service.wanted && service.digest.as_ref() == Some(&service.definition.digest) =>
        {
            Change::Restart
        }
        Phase::Active(_) => Change::Unchanged,
    }
}

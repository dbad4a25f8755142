//! Who depends on whom: the reverse index, the patterns that are waited for, and an order that works even with
//! cycles.
//!
//! A file has no cycles. But services that still use an older file may form one together with newer services. The
//! edges that close a cycle are *loose*: a stop does not wait along them, so that it cannot wait for itself.

use std::collections::{BTreeMap, BTreeSet};

use harness_model::ServiceName;
use harness_model::spec::Condition;

use super::Machine;
use super::service::Service;
use super::types::{Definition, LogPattern};

/// An edge from a dependent to its dependency.
pub(super) type Edge = (ServiceName, ServiceName);

impl Machine {
    pub(super) fn dependents_of(&self, name: &ServiceName) -> impl Iterator<Item = &ServiceName> {
        self.dependents.get(name).into_iter().flatten()
    }

    /// Makes `definition` the desired one of a service, whether the service is known or new.
    pub(super) fn define(&mut self, name: &ServiceName, definition: Definition) {
        if let Some(service) = self.services.get_mut(name) {
            if service.definition == definition {
                return;
            }
            let old = std::mem::replace(&mut service.definition, definition.clone());
            self.unlink(name, &old);
        } else {
            let mut service = Service::new(definition.clone());
            service.generation = self.retired.remove(name).unwrap_or(0);
            self.services.insert(name.clone(), service);
        }
        self.dirty.insert(name.clone());
        self.graph_stale = true;
        for dependency in &definition.dependencies {
            let on = &dependency.service;
            self.dependents
                .entry(on.clone())
                .or_default()
                .insert(name.clone());
            if let Condition::Log(pattern) = &dependency.condition {
                let patterns = self.patterns.entry(on.clone()).or_default();
                if patterns.insert(LogPattern(pattern.clone())) {
                    self.dirty.insert(on.clone());
                }
            }
        }
        self.dirty
            .extend(self.dependents.get(name).into_iter().flatten().cloned());
    }

    /// Removes a service with this definition from the indexes.
    pub(super) fn unlink(&mut self, name: &ServiceName, definition: &Definition) {
        self.graph_stale = true;
        for dependency in &definition.dependencies {
            let on = &dependency.service;
            // The dependency may have been waiting until this dependent is gone.
            self.dirty.insert(on.clone());
            if let Some(dependents) = self.dependents.get_mut(on) {
                dependents.remove(name);
                if dependents.is_empty() {
                    self.dependents.remove(on);
                }
            }
            if matches!(dependency.condition, Condition::Log(_)) {
                self.collect_patterns(on);
            }
        }
    }

    fn collect_patterns(&mut self, on: &ServiceName) {
        let dependencies = self
            .dependents_of(on)
            .filter_map(|dependent| self.services.get(dependent))
            .flat_map(|service| &service.definition.dependencies);
        let patterns: BTreeSet<LogPattern> = dependencies
            .filter(|d| d.service == *on)
            .filter_map(|d| match &d.condition {
                Condition::Log(pattern) => Some(LogPattern(pattern.clone())),
                _ => None,
            })
            .collect();
        if patterns.is_empty() {
            self.patterns.remove(on);
        } else {
            self.patterns.insert(on.clone(), patterns);
        }
    }

    /// Finds the loose edges again if a definition has changed.
    pub(super) fn refresh_graph(&mut self) {
        if std::mem::take(&mut self.graph_stale) {
            let definitions = self
                .services
                .iter()
                .map(|(name, service)| (name, &service.definition));
            self.loose_edges = order(definitions.collect()).1;
        }
    }
}

/// The services with dependencies before dependents, and the edges that had to be ignored to get that order.
pub(super) fn order(definitions: BTreeMap<&ServiceName, &Definition>) -> (Vec<ServiceName>, BTreeSet<Edge>) {
    let mut sorted = Vec::with_capacity(definitions.len());
    let mut loose = BTreeSet::new();
    let mut done: BTreeMap<&ServiceName, bool> = BTreeMap::new();
    for (root, definition) in &definitions {
        if done.contains_key(*root) {
            continue;
        }
        done.insert(*root, false);
        let mut path = vec![(*root, definition.dependencies.iter())];
        while let Some((name, rest)) = path.last_mut() {
            let name = *name;
            let Some(dependency) = rest.next() else {
                done.insert(name, true);
                sorted.push(name.clone());
                path.pop();
                continue;
            };
            let Some((next, definition)) = definitions.get_key_value(&dependency.service) else {
                continue;
            };
            if dependency.condition == Condition::None {
                continue;
            }
            match done.get(*next) {
                Some(true) => {}
                Some(false) => {
                    loose.insert((name.clone(), (*next).clone()));
                }
                None => {
                    done.insert(*next, false);
                    path.push((*next, definition.dependencies.iter()));
                }
            }
        }
    }
    (sorted, loose)
}

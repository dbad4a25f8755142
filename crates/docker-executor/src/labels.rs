//! The labels that mark containers, networks and volumes as ours.

use std::collections::HashMap;
use std::path::Path;

use harness_model::{ProjectName, ServiceName};
use service_orchestration::executor::Order;

/// The label with the home of the daemon.
pub(crate) const HOME: &str = "harness.home";
/// The label with the name of the project.
pub(crate) const PROJECT: &str = "harness.project";
/// The label with the name of the service.
pub(crate) const SERVICE: &str = "harness.service";
/// The label with the number of the service's start.
pub(crate) const GENERATION: &str = "harness.generation";
/// The label with the id of this very launch.
pub(crate) const RUN: &str = "harness.run";
/// The label with the name of the network.
pub(crate) const NETWORK: &str = "harness.network";

/// The prefix of all our labels.
pub(crate) const PREFIX: &str = "harness.";

/// The daemon that owns something: its home.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    home: String,
}

impl Owner {
    pub(crate) fn new(home: &Path) -> Self {
        Self {
            home: home.display().to_string(),
        }
    }

    /// The labels of what belongs to a whole project.
    pub(crate) fn of_project(&self, project: &ProjectName) -> HashMap<String, String> {
        HashMap::from([
            (HOME.to_owned(), self.home.clone()),
            (PROJECT.to_owned(), project.as_str().to_owned()),
        ])
    }

    /// The labels of the containers of a service.
    pub(crate) fn of_service(&self, project: &ProjectName, service: &ServiceName) -> HashMap<String, String> {
        let mut labels = self.of_project(project);
        labels.insert(SERVICE.to_owned(), service.as_str().to_owned());
        labels
    }

    /// The labels of the container of an order.
    pub(crate) fn of_container(&self, order: &Order, run: &str) -> HashMap<String, String> {
        let mut labels = self.of_service(&order.project, &order.service);
        labels.insert(GENERATION.to_owned(), order.generation.to_string());
        labels.insert(RUN.to_owned(), run.to_owned());
        labels
    }
}

/// The filter that finds everything with all of these labels.
pub(crate) fn filter(labels: &HashMap<String, String>) -> HashMap<String, Vec<String>> {
    let label = labels.iter().map(|(name, value)| format!("{name}={value}"));
    HashMap::from([("label".to_owned(), label.collect())])
}

/// Whether something has all of these labels.
pub(crate) fn has(labels: Option<&HashMap<String, String>>, wanted: &HashMap<String, String>) -> bool {
    labels.is_some_and(|labels| wanted.iter().all(|(name, value)| labels.get(name) == Some(value)))
}

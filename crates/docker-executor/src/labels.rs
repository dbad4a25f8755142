//! The labels by which containers, networks and volumes are ours.

use std::collections::HashMap;
use std::path::Path;

use harness_model::{ProjectName, ServiceName};
use service_orchestration::executor::Order;

/// The home of the daemon.
pub(crate) const HOME: &str = "harness.home";
/// The project.
pub(crate) const PROJECT: &str = "harness.project";
/// The service.
pub(crate) const SERVICE: &str = "harness.service";
/// Which start of it.
pub(crate) const GENERATION: &str = "harness.generation";
/// This very launch.
pub(crate) const RUN: &str = "harness.run";
/// The network of the project.
pub(crate) const NETWORK: &str = "harness.network";

/// Beginning of every label of ours.
pub(crate) const PREFIX: &str = "harness.";

/// Whose daemon this is.
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

    /// Of what belongs to a project as a whole.
    pub(crate) fn of_project(&self, project: &ProjectName) -> HashMap<String, String> {
        HashMap::from([
            (HOME.to_owned(), self.home.clone()),
            (PROJECT.to_owned(), project.as_str().to_owned()),
        ])
    }

    /// Of the containers of a service.
    pub(crate) fn of_service(&self, project: &ProjectName, service: &ServiceName) -> HashMap<String, String> {
        let mut labels = self.of_project(project);
        labels.insert(SERVICE.to_owned(), service.as_str().to_owned());
        labels
    }

    /// Of the container of an order.
    pub(crate) fn of_container(&self, order: &Order, run: &str) -> HashMap<String, String> {
        let mut labels = self.of_service(&order.project, &order.service);
        labels.insert(GENERATION.to_owned(), order.generation.to_string());
        labels.insert(RUN.to_owned(), run.to_owned());
        labels
    }
}

/// The filter that finds what has all of these labels.
pub(crate) fn filter(labels: &HashMap<String, String>) -> HashMap<String, Vec<String>> {
    let label = labels.iter().map(|(name, value)| format!("{name}={value}"));
    HashMap::from([("label".to_owned(), label.collect())])
}

/// Whether something has all of these labels.
pub(crate) fn has(labels: Option<&HashMap<String, String>>, wanted: &HashMap<String, String>) -> bool {
    labels.is_some_and(|labels| wanted.iter().all(|(name, value)| labels.get(name) == Some(value)))
}

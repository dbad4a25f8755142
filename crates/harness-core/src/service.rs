//! Services that are built into a daemon, instead of coming from a file.
//!
//! A daemon for one purpose (for example a test network) registers a stack of them. The same orchestrator runs them,
//! and they appear as their own project.

use std::path::Path;

use harness_model::{ProjectName, ProjectSpec, ServiceName, ServiceSpec};

use crate::action::Actions;

/// A service that is built into a daemon.
pub trait Service: Send + Sync + 'static {
    /// Its name in the stack.
    fn name(&self) -> ServiceName;

    /// Its specification. `home` is the daemon's home, for the service's own files.
    fn spec(&self, home: &Path) -> ServiceSpec;

    /// Registers its actions. Their names begin with its own name: `anvil.mine`.
    fn actions(&self, actions: &mut Actions) {
        let _ = actions;
    }
}

/// The services of a daemon, as one project.
pub struct ServiceStack {
    name: ProjectName,
    services: Vec<Box<dyn Service>>,
}

impl ServiceStack {
    /// An empty stack. Its name is the name of the project.
    pub fn new(name: ProjectName) -> Self {
        Self {
            name,
            services: Vec::new(),
        }
    }

    /// Adds a service.
    #[must_use]
    pub fn with(mut self, service: impl Service) -> Self {
        self.services.push(Box::new(service));
        self
    }

    /// Registers the actions of all its services.
    pub fn register_actions(&self, actions: &mut Actions) {
        for service in &self.services {
            service.actions(actions);
        }
    }

    /// The stack as a project.
    pub fn project(&self, home: &Path) -> ProjectSpec {
        let source = home.join(self.name.as_str());
        ProjectSpec {
            services: self.services.iter().map(|s| (s.name(), s.spec(home))).collect(),
            ..ProjectSpec::new(self.name.clone(), source, home.to_owned())
        }
    }
}

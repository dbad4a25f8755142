//! Services that a daemon brings along itself, rather than reading them from somebody's file.
//!
//! A daemon for one purpose (a test network, say) registers a stack of them. They are run by the same
//! orchestrator as everything else and show up as a project of their own.

use std::path::Path;

use harness_model::{ProjectName, ProjectSpec, ServiceName, ServiceSpec};

use crate::action::Actions;

/// A service that a daemon brings along.
pub trait Service: Send + Sync + 'static {
    /// Its name in the stack.
    fn name(&self) -> ServiceName;

    /// What it is. `home` is the daemon's, for files of its own.
    fn spec(&self, home: &Path) -> ServiceSpec;

    /// Registers what can be done with it, by names that begin with its own: `anvil.mine`.
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
    /// An empty stack; its name is the project's.
    pub fn new(name: ProjectName) -> Self {
        Self {
            name,
            services: Vec::new(),
        }
    }

    /// With this service too.
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

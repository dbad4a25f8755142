//! Builds a daemon.

use std::path::PathBuf;
use std::sync::Arc;

use service_orchestration::executor::{Executor, ProbeKind};

use crate::action::{Action, Actions};
use crate::home::Home;
use crate::lifecycle::{self, DaemonError};
use crate::service::ServiceStack;
use crate::{DEFAULT_PORT, VERSION};

/// A daemon before it runs.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use harness_core::{DaemonBuilder, Home};
/// let daemon = DaemonBuilder::new("my-daemon", Home::from_environment()?);
/// smol::block_on(daemon.run())?;
/// # Ok(())
/// # }
/// ```
pub struct DaemonBuilder {
    pub(crate) program: String,
    pub(crate) version: String,
    pub(crate) home: Home,
    pub(crate) port: u16,
    pub(crate) shim: Option<PathBuf>,
    pub(crate) background: bool,
    pub(crate) stop_services: bool,
    pub(crate) actions: Actions,
    pub(crate) executors: Vec<Arc<dyn Executor>>,
    pub(crate) probes: Vec<Arc<dyn ProbeKind>>,
    pub(crate) stacks: Vec<ServiceStack>,
}

impl DaemonBuilder {
    /// A daemon called `program`, at this home.
    pub fn new(program: impl Into<String>, home: Home) -> Self {
        Self {
            program: program.into(),
            version: VERSION.to_owned(),
            home,
            port: DEFAULT_PORT,
            shim: None,
            background: false,
            stop_services: false,
            actions: Actions::default(),
            executors: Vec::new(),
            probes: Vec::new(),
            stacks: Vec::new(),
        }
    }

    /// Listens on this port of 127.0.0.1; 0 selects a free one. Default: [`DEFAULT_PORT`].
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// The `harness-shim` that supervises local services. Default: the one next to the daemon's own binary.
    #[must_use]
    pub fn shim(mut self, path: impl Into<PathBuf>) -> Self {
        self.shim = Some(path.into());
        self
    }

    /// Whether it was started by [`crate::background`]. Then it detaches itself, and reports once on stdout when it
    /// is ready.
    #[must_use]
    pub fn background(mut self, background: bool) -> Self {
        self.background = background;
        self
    }

    /// Stops everything that an earlier daemon left running, and starts none of it again first.
    #[must_use]
    pub fn stop_services(mut self, stop: bool) -> Self {
        self.stop_services = stop;
        self
    }

    /// Adds an action.
    #[must_use]
    pub fn action<A: Action>(mut self, action: A) -> Self {
        self.actions.register(action);
        self
    }

    /// Adds an executor for more types of services. Local processes are always supported.
    #[must_use]
    pub fn executor(mut self, executor: Arc<dyn Executor>) -> Self {
        self.executors.push(executor);
        self
    }

    /// Adds a kind of probe for health checks.
    #[must_use]
    pub fn probe(mut self, kind: Arc<dyn ProbeKind>) -> Self {
        self.probes.push(kind);
        self
    }

    /// Adds a stack of services, which is started when the daemon is up.
    #[must_use]
    pub fn stack(mut self, stack: ServiceStack) -> Self {
        stack.register_actions(&mut self.actions);
        self.stacks.push(stack);
        self
    }

    /// Runs the daemon until it is asked to end (SIGTERM, SIGINT or a client). Services keep running.
    ///
    /// # Errors
    /// When it cannot start: another daemon has the home, the port is in use, or a file is unusable.
    pub async fn run(self) -> Result<(), DaemonError> {
        lifecycle::run(self).await
    }
}

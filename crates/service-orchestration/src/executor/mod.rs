//! How services of a type are run: one executor for each `type`, registered by name.
//!
//! The actor knows only these traits. A new type is a new executor, and another machine is a new
//! [`Host`](command_executor::Host); the core does not change.

mod environment;
mod error;
mod fate;
mod kind;
mod link;
mod probe_kind;
mod process;
mod program;
mod rest;
mod session;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use command_executor::HostError;
use command_executor::host::{ConnectError, Connection, Endpoint};
use command_executor::local;
use harness_model::secret::MIN_REDACTED_LEN;
use harness_model::spec::{HealthCheck, InheritEnv, Kind, Limits, Place, ProcessSpec};
use harness_model::{
    ExitStatus, ProjectName, SecretString, ServiceName, ServiceSpec, Template, Umask, WallTime,
};
use service_registry::address::ServiceAddresses;
pub use service_registry::record::RunTrace;

pub use environment::compose as compose_environment;
pub use error::{CommandFailure, LaunchError};
pub use fate::{Fate, Known};
pub use kind::{Description, KindOf, LeftOpen};
pub use link::{LaunchLink, Link, OrderLink};
pub use probe_kind::ProbeKind;
pub use process::ProcessExecutor;
pub use program::find as find_program;
pub use rest::Rest;

use crate::machine::{Ended, Hook, Lost};
use crate::mirror::{Destination, LogLimits};
use crate::secrets::Secrets;
use crate::words::chain;
use probe_kind::ProbeKinds;

/// Everything needed to launch one generation of a service, or to run a command in the service's place.
#[derive(Debug, Clone)]
pub struct Order {
    /// The name of the project.
    pub project: ProjectName,
    /// The name of the service.
    pub service: ServiceName,
    /// The number of the start, counted from 1.
    pub generation: u64,
    /// Its specification, with all references resolved.
    pub spec: Arc<ServiceSpec>,
    /// The environment that it inherits from whoever started it.
    pub inherited: Arc<BTreeMap<String, SecretString>>,
    /// Its umask: its own, else that of whoever started it; `None`: not known.
    pub umask: Option<Umask>,
    /// The addresses of its dependencies, `HARNESS_<SERVICE>_IP` and so on.
    pub addresses: BTreeMap<String, String>,
    /// The addresses under which others reach this service.
    pub own: ServiceAddresses,
    /// The folder for the output and the records of this generation: see [`Executor`] for what has to be there.
    pub run_dir: PathBuf,
    /// The files that the project is read from. A rendered file must not replace one of them. Empty if the service
    /// renders no files.
    pub project_files: Vec<PathBuf>,
    /// Hides its secrets in the output of its commands and its engine.
    pub secrets: Secrets,
    /// Carries the progress of its launch, and tells whether the launch is still wanted.
    pub link: LaunchLink,
    /// Whether a health check or a dependent waits for a line of its output.
    pub output_is_awaited: bool,
}

impl Order {
    /// An error in words. Programs, folders, files and images that contain a secret appear in redacted form, as the
    /// file may be shown.
    pub fn words(&self, error: &(dyn std::error::Error + 'static)) -> String {
        let mut words = chain(error);
        for template in self.spec.places() {
            if template.has_secret()
                && let Some(value) = template.expose()
                && value.len() >= MIN_REDACTED_LEN
            {
                words = words.replace(&value, &template.to_string());
            }
        }
        words
    }

    /// Where the output of this generation has to be mirrored to.
    pub fn output(&self) -> Destination {
        Destination {
            run_dir: self.run_dir.clone(),
            limits: LogLimits {
                max_size: self.spec.logs.max_size,
                max_files: self.spec.logs.max_files,
            },
        }
    }

    /// The order for commands on this machine. Variables that every program needs (PATH, HOME and so on) are this
    /// machine's own there, whatever the service has.
    fn on_host(&self, folder: &Path) -> Self {
        let mut spec = ServiceSpec::clone(&self.spec);
        spec.env.retain(|name, _| !InheritEnv::Minimal.takes(name));
        spec.place = Place::Here;
        spec.kind = Kind::Process(ProcessSpec {
            binary: Template::from(""),
            args: Vec::new(),
            working_dir: Some(Template::from(folder.display().to_string())),
            user: None,
            limits: Limits::default(),
        });
        Self {
            spec: Arc::new(spec),
            ..self.clone()
        }
    }
}

/// A command to run in the place of a service.
#[derive(Debug, Clone)]
pub struct PlaceCommand {
    /// Program and arguments.
    pub words: Vec<String>,
    /// Environment variables on top of the service's own.
    pub env: BTreeMap<String, SecretString>,
    /// The user to run it as, if not the service's.
    pub user: Option<String>,
    /// The folder to run it in, if not the service's.
    pub working_dir: Option<String>,
    /// Run it on a terminal with this many columns and rows, instead of pipes.
    pub terminal: Option<(u16, u16)>,
    /// Whether it gets stdin; otherwise it reads end of file at once.
    pub stdin: bool,
}

impl PlaceCommand {
    /// Runs these words, without stdin or terminal.
    pub fn new(words: Vec<String>) -> Self {
        Self {
            words,
            env: BTreeMap::new(),
            user: None,
            working_dir: None,
            terminal: None,
            stdin: false,
        }
    }
}

/// The result of a command that was run to its end.
#[derive(Debug)]
pub struct CommandAnswer {
    /// How it ended; `None` if it was killed because it ran out of time.
    pub exit: Option<ExitStatus>,
    /// The end of its output, both streams.
    pub tail: String,
    /// Processes that it left in the background.
    pub rest: Rest,
}

/// Limits how long a command may run: done when the timeout has passed, or when something else ends it.
pub type Expiry<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// An event of a session with a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionEvent {
    /// Bytes from its stdout or its terminal.
    Stdout(Vec<u8>),
    /// Bytes from its stderr.
    Stderr(Vec<u8>),
    /// It has ended. This is the last event.
    Exited(ExitStatus),
}

/// Why a session could not be written to or controlled.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {source}")]
pub struct SessionError {
    /// The operation.
    pub operation: &'static str,
    /// The error of the system.
    pub source: std::io::Error,
}

/// A command that runs in the place of a service, with its streams. Dropping it kills the command.
#[async_trait]
pub trait Session: Send {
    /// Its stdin, to be written while the events are read; `None` if it has none or if it was taken already.
    fn take_stdin(&mut self) -> Option<Box<dyn SessionStdin>>;
    /// The next event; `None` after the exit. Cancelling the future loses nothing.
    async fn next(&mut self) -> Option<SessionEvent>;
    /// Changes the size of its terminal.
    ///
    /// # Errors
    /// When the system refuses.
    fn resize(&self, columns: u16, rows: u16) -> Result<(), SessionError>;
    /// Sends it a signal.
    ///
    /// # Errors
    /// When the system refuses.
    fn signal(&self, signal: i32) -> Result<(), SessionError>;
}

/// The stdin of a [`Session`]. Dropping it closes the stdin.
#[async_trait]
pub trait SessionStdin: Send {
    /// Writes the bytes, and waits while the command does not read.
    ///
    /// # Errors
    /// When nobody reads any more.
    async fn write(&mut self, bytes: &[u8]) -> Result<(), SessionError>;
}

/// One running generation of a service.
///
/// As long as it exists, its output is mirrored into the run directory of its order, as [`Executor`] says. When
/// [`wait`](Self::wait) returns, everything that it has printed is there.
#[async_trait]
pub trait Instance: Send + Sync {
    /// The pid of its main process, if it has one on this machine.
    fn pid(&self) -> Option<u32>;
    /// The process that all its other processes descend from, if there is one on this machine.
    fn root_pid(&self) -> Option<u32>;
    /// When it started.
    fn started_at(&self) -> WallTime;
    /// The same, as the time since the machine booted, if that is known.
    fn started_after_boot(&self) -> Option<Duration> {
        None
    }
    /// Whether it was found without its run directory. Then its output and its end cannot be recorded, and it has to be
    /// stopped.
    fn is_homeless(&self) -> bool {
        false
    }
    /// The trace by which it is found if its run directory does not lead to it any more.
    fn trace(&self) -> Option<RunTrace> {
        None
    }
    /// Whether its run directory is in its place. Blocks on the disk.
    fn is_in_place(&self) -> bool {
        true
    }
    /// The health check that its image or package declares. It counts only if its specification has none.
    fn declared_health(&self) -> Option<HealthCheck> {
        None
    }
    /// Waits until it becomes unknown, or known again, whether the service still runs: returns the reason, or `None`
    /// when it is known again. It may become unknown at any time, also while the service is being stopped. Never returns if that is always known. Cancelling the future loses nothing.
    async fn contact(&self) -> Option<Lost> {
        futures_lite::future::pending().await
    }
    /// Waits until everything of it is gone.
    async fn wait(&self) -> Ended;
    /// Asks it to end: signal, grace period, SIGKILL. Returns when that has begun; `wait` reports the end. This is asked
    /// once more when contact was lost meanwhile: if it has arrived, nothing is to be done.
    async fn stop(&self);
    /// Kills everything of it, by every means.
    async fn kill(&self);
    /// Writes to its stdin, and waits while it does not read.
    ///
    /// # Errors
    /// When it has no open stdin.
    async fn write_stdin(&self, bytes: &[u8]) -> Result<(), SessionError>;
    /// Closes its stdin.
    async fn close_stdin(&self);
    /// Changes the size of its terminal.
    async fn resize(&self, columns: u16, rows: u16);
    /// Sends its main process a signal.
    ///
    /// # Errors
    /// When it is gone or the system refuses.
    async fn signal(&self, signal: i32) -> Result<(), SessionError>;
}

/// Something that runs for this home but belongs to no known service. It is being ended.
pub struct Stray {
    /// Describes it for people: `shop/db (pid 812)`.
    pub what: String,
    /// Completes when nothing of it is left.
    pub ended: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Where a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookPlace {
    /// In the place of its service, as probes and `exec` do.
    Service,
    /// On this machine, in the folder of the project's file: the service's own place does not exist then.
    Host,
}

/// Runs services of one or more types.
///
/// # Output
/// Whoever runs a service mirrors its output into `log/` of [`Order::run_dir`] here, wherever the service runs, and holds
/// the lock of that directory while more may come. Each record is there once and in the order of the source, whatever
/// dies meanwhile; what is missing is a gap with its count. Nobody else is asked for output: logs, attach, failure
/// reports and log probes read only that directory. The shim of a local process does all this by itself; an executor
/// whose services print elsewhere uses a [`Mirror`](crate::mirror::Mirror) with [`Order::output`], and goes on with it
/// when it adopts.
#[async_trait]
pub trait Executor: KindOf {
    /// Ends the commands (probes, hooks, execs) that a former daemon left running. Called once, before anything is
    /// adopted or launched: the same hook must not run twice at a time.
    async fn end_leftover_commands(&self) {}
    /// Looks for everything that former daemons of this home left running. Called once, before anything is adopted.
    async fn survey(&self) {}
    /// Returns what the survey found and nothing has adopted since. Called once, when everything has been adopted and
    /// before anything is launched.
    async fn strays(&self) -> Vec<Stray> {
        Vec::new()
    }
    /// Launches a generation, and says what became of it. If it takes long, for example to pull an image, the launch
    /// reports progress on the order's link. If the launch is given up there, it soon ends with [`Known::Never`].
    async fn launch(&self, order: &Order) -> Fate;
    /// Finds out what became of a generation that a former daemon launched. `trace` is what that daemon remembered of
    /// it. A place that does not answer may answer late: the daemon does not wait for it.
    async fn adopt(&self, order: &Order, trace: Option<&RunTrace>) -> Fate;
    /// Where a hook of its services runs.
    fn hook_place(&self, _hook: Hook) -> HookPlace {
        HookPlace::Service
    }
    /// Connects to an address as the service's place sees it.
    ///
    /// # Errors
    /// When nobody accepts there, or the place is not reached.
    async fn connect(&self, to: Endpoint) -> Result<Box<dyn Connection>, HostError<ConnectError>> {
        local::connect(&to).await.map_err(HostError::Failed)
    }
    /// Opens a session with a command in the service's place.
    ///
    /// # Errors
    /// When it could not be started.
    async fn exec(&self, order: &Order, command: &PlaceCommand) -> Result<Box<dyn Session>, LaunchError>;
    /// Runs a command in the service's place until it ends, or at most until `expiry` completes. After an expiry,
    /// everything of the command on this machine is gone when this returns. Dropping the future also kills it, but
    /// does not wait.
    ///
    /// # Errors
    /// When it could not be started.
    async fn run(
        &self,
        order: &Order,
        command: &PlaceCommand,
        expiry: Expiry<'_>,
    ) -> Result<CommandAnswer, LaunchError>;
}

/// The executors of a daemon, by type name, and the probes that its program adds.
#[derive(Clone, Default)]
pub struct Executors {
    by_type: BTreeMap<&'static str, Arc<dyn Executor>>,
    probes: ProbeKinds,
}

impl std::fmt::Debug for Executors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.by_type.keys()).finish()
    }
}

impl Executors {
    /// Adds this executor for each of its types.
    #[must_use]
    pub fn with(mut self, executor: Arc<dyn Executor>) -> Self {
        for type_name in executor.types() {
            self.by_type.insert(type_name, Arc::clone(&executor));
        }
        self
    }

    /// Adds this probe.
    #[must_use]
    pub fn with_probe(mut self, kind: Arc<dyn ProbeKind>) -> Self {
        self.probes.add(kind);
        self
    }

    /// The probe of this name.
    ///
    /// # Errors
    /// When none is registered.
    pub(crate) fn probe(&self, name: &str) -> Result<&Arc<dyn ProbeKind>, LaunchError> {
        self.probes.of(name)
    }

    /// Every executor, once for each of its types.
    pub fn all(&self) -> impl Iterator<Item = &Arc<dyn Executor>> {
        self.by_type.values()
    }

    /// Checks that a service can be run.
    ///
    /// # Errors
    /// When no executor is registered for its type, it is to run on a node, its probe is not registered, or the
    /// executor or the probe refuses it.
    pub fn check(&self, spec: &ServiceSpec) -> Result<(), LaunchError> {
        let executor = self.of(spec)?;
        if spec.place != Place::Here {
            return Err(LaunchError::NotOnNode {
                type_name: spec.type_name().to_owned(),
            });
        }
        executor.check(spec)?;
        self.probes.check(spec)
    }

    /// The executor that runs a hook, and the order to run it with. `folder` is the folder of the project's file.
    ///
    /// # Errors
    /// When there is no executor for that place.
    pub(crate) fn of_hook(
        &self,
        order: &Arc<Order>,
        hook: Hook,
        folder: &Path,
    ) -> Result<(Arc<dyn Executor>, Arc<Order>), LaunchError> {
        let executor = self.of(&order.spec)?;
        if executor.hook_place(hook) == HookPlace::Service {
            return Ok((Arc::clone(executor), Arc::clone(order)));
        }
        let order = Arc::new(order.on_host(folder));
        Ok((Arc::clone(self.of(&order.spec)?), order))
    }

    /// The executor of a service.
    ///
    /// # Errors
    /// When none is registered for its type.
    pub fn of(&self, spec: &ServiceSpec) -> Result<&Arc<dyn Executor>, LaunchError> {
        let type_name = spec.type_name();
        self.by_type
            .get(type_name)
            .ok_or_else(|| LaunchError::NoExecutor {
                type_name: type_name.to_owned(),
            })
    }
}

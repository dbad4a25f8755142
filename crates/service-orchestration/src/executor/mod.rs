//! How services of a type are run: one executor per `type`, registered by name.
//!
//! The actor knows only these traits. A new kind of place is a new executor here, not a change in the core.

mod capacity;
mod environment;
mod files;
mod link;
mod local;
mod process;
mod program;
mod refusal;
mod rest;
mod session;
mod strays;
mod unreached;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use harness_model::secret::MIN_REDACTED_LEN;
use harness_model::spec::{HealthCheck, InheritEnv, Limits, ProcessSpec, ServiceKind};
use harness_model::{
    ExitStatus, ProjectName, SecretString, ServiceName, ServiceSpec, Template, Umask, WallTime,
};
use service_registry::address::ServiceAddresses;
pub use service_registry::record::RunTrace;

pub use environment::compose as compose_environment;
pub use link::{LaunchLink, Link, OrderLink};
pub use process::ProcessExecutor;
pub use rest::Rest;
pub use session::CommandSession;

use crate::machine::{Ended, Hook, Lost};
use crate::secrets::Secrets;
use crate::words::chain;

/// Everything needed to launch one generation of a service, or to run a command in its place.
#[derive(Debug, Clone)]
pub struct Order {
    /// The project.
    pub project: ProjectName,
    /// The service.
    pub service: ServiceName,
    /// Which start of it.
    pub generation: u64,
    /// Its specification, without references.
    pub spec: Arc<ServiceSpec>,
    /// What it inherits from whoever started it.
    pub inherited: Arc<BTreeMap<String, SecretString>>,
    /// Its umask: its own, else that of whoever started it; `None`: not known.
    pub umask: Option<Umask>,
    /// The addresses of its dependencies, `HARNESS_<SERVICE>_IP` and so on.
    pub addresses: BTreeMap<String, String>,
    /// Where it is reached itself.
    pub own: ServiceAddresses,
    /// The folder of this generation's logs and records.
    pub run_dir: PathBuf,
    /// The files that the project is read from, which nothing that is rendered may replace. Empty if it renders nothing.
    pub project_files: Vec<PathBuf>,
    /// Hides its secrets in what its commands and its engine say.
    pub secrets: Secrets,
    /// What its launch says, and whether it is still wanted.
    pub link: LaunchLink,
    /// Whether a line of its output is waited for: by its health check, or by a dependent.
    pub output_is_awaited: bool,
}

impl Order {
    /// An error in words. What the file says with a secret in it stands there as the file may be shown: programs, folders,
    /// files, images.
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

    /// The same for commands on this machine. What every program needs (PATH, HOME, …) is this machine's there, whatever
    /// the service has.
    fn on_host(&self, folder: &Path) -> Self {
        let mut spec = ServiceSpec::clone(&self.spec);
        spec.env.retain(|name, _| !InheritEnv::Minimal.takes(name));
        spec.kind = ServiceKind::Process(ProcessSpec {
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

/// Why a service could not be launched.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// No executor is registered for the type.
    #[error("services of type `{type_name}` cannot be run yet")]
    NoExecutor {
        /// The type.
        type_name: &'static str,
    },
    /// Nothing is launched in a home that is gone, or that another daemon may have.
    #[error(transparent)]
    HomeGone(#[from] crate::layout::HomeGone),
    /// Its program is in none of the folders of its PATH.
    #[error("{}", not_in_path(program, path))]
    NotInPath {
        /// The program.
        program: String,
        /// The PATH searched.
        path: String,
    },
    /// Its program, a folder or a file of it is not there or not usable.
    #[error("{what} {}: {source}", path.display())]
    Path {
        /// What was wanted of the path: `binary`, `working_dir`, …
        what: &'static str,
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Its program is a script for a program that is not there.
    #[error("binary {} is a script for {interpreter}, which is not there", script.display())]
    NoInterpreter {
        /// The script.
        script: PathBuf,
        /// What stands after `#!`.
        interpreter: String,
    },
    /// Its program is a script with the line ends of another system, which belong to the name of its interpreter here.
    #[error("binary {} has Windows line ends (CRLF), so its `#!` line names a program that does not exist: run `sed -i 's/\\r$//'` on it", script.display())]
    LineEnds {
        /// The script.
        script: PathBuf,
    },
    /// What the file asks for cannot be had on this machine.
    #[error("{why}")]
    Refused {
        /// What, and why not.
        why: String,
    },
    /// It asks for something that services of its type do not have. It is refused rather than passed over.
    #[error("`{key}` {why}")]
    NotForType {
        /// The key of the file.
        key: &'static str,
        /// Why not, and what to do.
        why: String,
    },
    /// What an executor of another crate says.
    #[error(transparent)]
    Place(Box<dyn std::error::Error + Send + Sync>),
    /// A reference was left in the specification; it should have been resolved before.
    #[error("`{text}` is not resolved")]
    Unresolved {
        /// The template, redacted.
        text: String,
    },
    /// What it runs in did not get here.
    #[error("its image was not here within {}s{}", within.as_secs_f32(), doing.as_ref().map(|doing| format!(": {doing}")).unwrap_or_default())]
    NotHere {
        /// The time that passed since anything was heard of it.
        within: Duration,
        /// What that was.
        doing: Option<String>,
    },
    /// As many services run as the open files of this process allow.
    #[error(
        "the daemon may have {limit} files open (RLIMIT_NOFILE), which is enough for {services} services: raise it \
         (ulimit -n, or LimitNOFILE in its unit), then `harness daemon restart`"
    )]
    NoRoom {
        /// The limit.
        limit: u64,
        /// How many services that is enough for.
        services: usize,
    },
    /// The supervisor could not be started, or said why it could not start the program.
    #[error(transparent)]
    Supervisor(#[from] command_executor::supervised::LaunchError),
    /// A command in the service's place could not be run.
    #[error("cannot run `{program}`: {source}")]
    Command {
        /// Its program.
        program: String,
        /// Why.
        source: command_executor::process::SpawnError,
    },
    /// A command in the service's place could not be followed to its end.
    #[error("lost `{program}`: {source}")]
    Run {
        /// Its program.
        program: String,
        /// Why.
        source: Box<command_executor::executor::RunError>,
    },
}

/// The PATH names each folder once here: that of a shell often has one several times.
fn not_in_path(program: &str, path: &str) -> String {
    let mut folders: Vec<&str> = Vec::new();
    for folder in path.split(':').filter(|folder| !folder.is_empty()) {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    let remedy = if program.contains(char::is_whitespace) {
        "; arguments belong in `args`"
    } else {
        ""
    };
    format!(
        "`{program}` was not found in PATH ({}){remedy}",
        folders.join(":")
    )
}

/// A command to run in the place of a service.
#[derive(Debug, Clone)]
pub struct PlaceCommand {
    /// Program and arguments.
    pub words: Vec<String>,
    /// Environment on top of the service's.
    pub env: BTreeMap<String, SecretString>,
    /// Another user than the service's.
    pub user: Option<String>,
    /// Another folder than the service's.
    pub working_dir: Option<String>,
    /// A terminal of so many columns and rows instead of pipes.
    pub terminal: Option<(u16, u16)>,
    /// Whether stdin will come; otherwise it reads end of file.
    pub stdin: bool,
}

impl PlaceCommand {
    /// These words, without stdin or terminal.
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

/// The answer of a command that was run to its end.
#[derive(Debug)]
pub struct CommandAnswer {
    /// How it ended; `None` when it was killed because its time was over.
    pub exit: Option<ExitStatus>,
    /// The end of its output, both streams.
    pub tail: String,
    /// What it left in the background.
    pub rest: Rest,
}

/// How long a command may run: its timeout, or whatever else ends it.
pub type Expiry<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// What a session with a command says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionEvent {
    /// Bytes from its stdout, or from its terminal.
    Stdout(Vec<u8>),
    /// Bytes from its stderr.
    Stderr(Vec<u8>),
    /// It has ended; last.
    Exited(ExitStatus),
}

/// Why a session could not be written to or told something.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {source}")]
pub struct SessionError {
    /// What was tried.
    pub operation: &'static str,
    /// What the system said.
    pub source: std::io::Error,
}

/// A command running in the place of a service, with its streams. Dropping it kills the command.
#[async_trait]
pub trait Session: Send {
    /// Its stdin, to be written beside reading the events; `None` if it has none or it was taken.
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

/// The stdin of a [`Session`]. Dropping it ends it.
#[async_trait]
pub trait SessionStdin: Send {
    /// Writes; waits while the command does not read.
    ///
    /// # Errors
    /// When nobody reads any more.
    async fn write(&mut self, bytes: &[u8]) -> Result<(), SessionError>;
}

/// One running generation of a service.
#[async_trait]
pub trait Instance: Send + Sync {
    /// Its main process, where it has one on this machine.
    fn pid(&self) -> Option<u32>;
    /// The process that everything of it descends from, where there is one on this machine.
    fn root_pid(&self) -> Option<u32>;
    /// When it started.
    fn started_at(&self) -> WallTime;
    /// The same as the time since the machine's boot, where that is known.
    fn started_after_boot(&self) -> Option<Duration> {
        None
    }
    /// By what it is found where its run directory does not lead to it any more.
    fn trace(&self) -> Option<RunTrace> {
        None
    }
    /// Whether its run directory is where it was. Blocks on the disk.
    fn is_in_place(&self) -> bool {
        true
    }
    /// How what it runs in (its image) says to tell whether it is healthy; counts where its specification says nothing.
    fn image_health(&self) -> Option<HealthCheck> {
        None
    }
    /// Waits for the next change of whether it can be counted on: why it cannot any more, or `None` when it can again.
    /// Never comes where that is always known. Cancelling it loses nothing.
    async fn contact(&self) -> Option<Lost> {
        futures_lite::future::pending().await
    }
    /// Waits until everything of it is gone.
    async fn wait(&self) -> Ended;
    /// Asks it to end: signal, grace, SIGKILL. Returns when that is under way; `wait` tells the end.
    async fn stop(&self);
    /// Kills everything of it by every means.
    async fn kill(&self);
    /// Writes to its stdin; waits while it does not read.
    ///
    /// # Errors
    /// When it has no open stdin.
    async fn write_stdin(&self, bytes: &[u8]) -> Result<(), SessionError>;
    /// Ends its stdin.
    async fn close_stdin(&self);
    /// Changes the size of its terminal.
    async fn resize(&self, columns: u16, rows: u16);
    /// Sends its main process a signal.
    ///
    /// # Errors
    /// When it is gone or the system refuses.
    async fn signal(&self, signal: i32) -> Result<(), SessionError>;
}

/// What a new daemon finds in the place of a generation.
pub enum Found {
    /// It runs and is managed again.
    Running(Arc<dyn Instance>),
    /// It runs, but its run directory is gone, and with it its output and its record: it has to be stopped.
    Homeless(Arc<dyn Instance>),
    /// A former daemon launched it and did not see the answer, and there is none yet. What it has come to is told
    /// when that is known, which may take long: whatever it waits for may be stuck.
    Launching(Pin<Box<dyn Future<Output = Arc<dyn Instance>> + Send>>),
    /// It has ended.
    Ended {
        /// How.
        ended: Ended,
        /// When, if known.
        at: Option<WallTime>,
    },
    /// The machine was rebooted since.
    Rebooted,
    /// It never came to run.
    NeverStarted,
}

/// Something that runs for this home and belongs to no service that is known. It is being ended.
pub struct Stray {
    /// What it is, for people: `shop/db (pid 812)`.
    pub what: String,
    /// Comes when nothing of it is left.
    pub ended: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Where a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookPlace {
    /// In the place of its service, as probes and `exec` do.
    Service,
    /// On this machine, in the folder of the project's file: the service's own place is not there then.
    Host,
}

/// Runs services of some types.
#[async_trait]
pub trait Executor: Send + Sync {
    /// The types it runs, as written after `type:`.
    fn types(&self) -> &'static [&'static str];
    /// Refuses what it cannot do of a service, before anything is changed.
    ///
    /// # Errors
    /// The first such key.
    fn check(&self, _spec: &ServiceSpec) -> Result<(), LaunchError> {
        Ok(())
    }
    /// Ends the commands (probes, hooks, execs) that a former daemon left running. Called once, before anything is
    /// adopted or launched: a hook must not run twice at a time.
    async fn end_leftover_commands(&self) {}
    /// Looks for everything that former daemons of this home left running. Called once, before anything is adopted.
    async fn survey(&self) {}
    /// What was found by that and belongs to nothing that was adopted since. Called once, when everything was, and before
    /// anything is launched.
    async fn strays(&self) -> Vec<Stray> {
        Vec::new()
    }
    /// The ports that what a service runs in (its image) declares, each once. With a line for it, an image that is not
    /// there is fetched or built, which tells so there and ends when this is dropped. What others say of it is told without
    /// these secrets.
    ///
    /// # Errors
    /// When that cannot be told.
    async fn exposed_ports(
        &self,
        _project: &ProjectName,
        _service: &ServiceName,
        _spec: &ServiceSpec,
        _secrets: &Secrets,
        _fetch: Option<&LaunchLink>,
    ) -> Result<Vec<u16>, LaunchError> {
        Ok(Vec::new())
    }
    /// Launches a generation. What takes long (an image is pulled, say) tells so on the order's link, and ends with an
    /// error soon after that was given up.
    ///
    /// # Errors
    /// When nothing of it runs.
    async fn launch(&self, order: &Order) -> Result<Arc<dyn Instance>, LaunchError>;
    /// Removes what the services of a project keep beyond their ends: the named volumes of containers. The names of what
    /// was removed. Nothing of the project runs meanwhile.
    ///
    /// # Errors
    /// When something of it cannot be removed.
    async fn remove_volumes(&self, _project: &ProjectName) -> Result<Vec<String>, LaunchError> {
        Ok(Vec::new())
    }
    /// Finds what a former daemon left of a generation. `trace` is what it remembered of it.
    async fn adopt(&self, order: &Order, trace: Option<&RunTrace>) -> Found;
    /// Where a hook of its services runs.
    fn hook_place(&self, _hook: Hook) -> HookPlace {
        HookPlace::Service
    }
    /// Opens a session with a command in the service's place.
    ///
    /// # Errors
    /// When it could not be started.
    async fn exec(&self, order: &Order, command: &PlaceCommand) -> Result<Box<dyn Session>, LaunchError>;
    /// Runs a command in the service's place to its end, at most until `expiry`: then everything of it on this machine is
    /// gone when this returns. Dropping the future has it killed, too, without waiting.
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

/// The executors of a daemon, by type name.
#[derive(Clone, Default)]
pub struct Executors(BTreeMap<&'static str, Arc<dyn Executor>>);

impl std::fmt::Debug for Executors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Executors {
    /// With this executor for each of its types.
    #[must_use]
    pub fn with(mut self, executor: Arc<dyn Executor>) -> Self {
        for type_name in executor.types() {
            self.0.insert(type_name, Arc::clone(&executor));
        }
        self
    }

    /// Every executor, once for each of its types.
    pub fn all(&self) -> impl Iterator<Item = &Arc<dyn Executor>> {
        self.0.values()
    }

    /// Whether a service can be run.
    ///
    /// # Errors
    /// When there is no executor for its type, or that one refuses it.
    pub fn check(&self, spec: &ServiceSpec) -> Result<(), LaunchError> {
        self.of(spec)?.check(spec)
    }

    /// Where a hook is run, and the order to run it by. `folder` is that of the project's file.
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
        let type_name = spec.kind.type_name();
        self.0.get(type_name).ok_or(LaunchError::NoExecutor { type_name })
    }
}

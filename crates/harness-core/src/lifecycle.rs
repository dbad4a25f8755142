//! The one daemon lifecycle, from start to end.
//!
//! ```text
//! home ─▶ lock ─▶ log ─▶ certificates ─▶ shim ─▶ registry ─▶ listen ─▶ take over ─▶ daemon.json ─▶ serve ─▶ end
//! ```
//!
//! Every step before `daemon.json` can fail. The error names the place and the remedy, and nothing is left behind.
//! Services keep running after the end, and the next daemon takes them over.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_executor::Executor as Tasks;
use async_io::Async;
use async_signal::{Signal, Signals};
use blocking::unblock;
use command_executor::{Local, shim_binary};
use futures_lite::{FutureExt, StreamExt};
use harness_model::WallTime;
use harness_wire::tls::{TlsDir, TlsError};
use rustix::process::DumpableBehavior;
use service_orchestration::Orchestrator;
use service_orchestration::actor::{NewerRecord, StartOrder, refuse_newer_records};
use service_orchestration::executor::{Executor, Executors, ProcessExecutor};
use service_orchestration::layout::Layout;
use service_orchestration::ports;
use service_orchestration::words::chain;
use service_registry::Registry;
use service_registry::store::StoreError;

use crate::background::Announcement;
use crate::builder::DaemonBuilder;
use crate::daemon_info::{DaemonInfo, DaemonInfoError, boot_id};
use crate::handlers::{self, Context};
use crate::home::{self, Home, HomeError};
use crate::home_watch::{HomeWatch, Lost};
use crate::lock::DaemonLock;
use crate::{background, log_file, open_files, server};

/// Threads for operations that block: files, `/proc`, spawning. Each keeps its stack and its own heap forever, so
/// there are just enough to keep a disk busy.
const BLOCKING_THREADS: NonZeroUsize = NonZeroUsize::new(8).expect("8 is not zero");

/// How long a daemon waits for a lock that a client may be examining.
const LOCK_PATIENCE: Duration = Duration::from_millis(200);

/// How long a daemon in the background waits for another one to get ready or to end. Less than its client waits.
const OTHER_PATIENCE: Duration = Duration::from_secs(25);

/// Why a daemon could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Its home is unusable.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Another daemon has the home.
    #[error("a daemon is already running for {}{}", home.display(), describe(.running))]
    AlreadyRunning {
        /// The home.
        home: PathBuf,
        /// What it says about itself, if it got that far.
        running: Option<DaemonInfo>,
    },
    /// The lock file cannot be used.
    #[error("cannot lock {}: {source}", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The log cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Keys or certificates are unusable.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The shim cannot be installed.
    #[error("cannot install the supervisor of services")]
    Shim(#[from] shim_binary::InstallError),
    /// The path of the daemon's own binary is unknown.
    #[error("cannot find the path of this program: {0}")]
    OwnPath(#[source] io::Error),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The port is in use.
    #[error("port {port} is held by {holder}: choose another with --port or HARNESS_PORT, or stop it")]
    PortTaken {
        /// The port.
        port: u16,
        /// The process that holds it.
        holder: String,
    },
    /// The port cannot be listened on.
    #[error("cannot listen on 127.0.0.1:{port}: {source}")]
    Listen {
        /// The port.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// The boot id cannot be read.
    #[error("cannot read the boot id: {0}")]
    BootId(#[source] io::Error),
    /// `daemon.json` cannot be written.
    #[error(transparent)]
    Info(#[from] DaemonInfoError),
    /// A newer version wrote the record of a service.
    #[error(transparent)]
    NewerRecord(#[from] NewerRecord),
    /// The home was removed or moved away while the daemon ran.
    #[error("{} was removed or moved away: every service was stopped, and the daemon ended", home.display())]
    HomeGone {
        /// Where it was.
        home: PathBuf,
    },
    /// Everything in the home was removed.
    #[error("{} was emptied: every service was stopped, and the daemon ended", home.display())]
    HomeEmptied {
        /// The home.
        home: PathBuf,
    },
    /// The lock was removed.
    #[error(
        "{} was removed: the daemon ended, services keep running, and the next daemon takes them over",
        path.display()
    )]
    LockGone {
        /// Where it was.
        path: PathBuf,
    },
    /// Signals cannot be received.
    #[error("cannot listen for signals: {0}")]
    Signals(#[source] io::Error),
}

impl DaemonError {
    /// What to do about the error, if its text does not say so: for example when the disk is full or read-only.
    pub fn remedy(&self) -> Option<String> {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<io::Error>() {
                return home::remedy(error);
            }
            cause = error.source();
        }
        None
    }
}

fn describe(running: &Option<DaemonInfo>) -> String {
    running
        .as_ref()
        .map(|info| format!(" (pid {}, port {})", info.pid, info.port))
        .unwrap_or_default()
}

/// Runs a daemon to its end.
pub(crate) async fn run(builder: DaemonBuilder) -> Result<(), DaemonError> {
    blocking::set_max_blocking_threads(BLOCKING_THREADS);
    let announcement = if builder.background {
        Announcement::to_starter()
    } else {
        Announcement::none()
    };
    match start(builder).await {
        Ok(daemon) => {
            announcement.ready(&daemon.context.info);
            daemon.serve().await
        }
        Err(DaemonError::AlreadyRunning { running, .. }) if announcement.is_awaited() => {
            // Two clients started a daemon at the same time. The one that lost uses the other's.
            match running {
                Some(info) => announcement.ready(&info),
                None => announcement.failed(
                    "another daemon has the home but does not get ready".to_owned(),
                    None,
                ),
            }
            Ok(())
        }
        Err(error) => {
            announcement.failed(chain(&error), error.remedy());
            Err(error)
        }
    }
}

/// A daemon that is ready to serve.
struct Running {
    watch: HomeWatch,
    context: Arc<Context>,
    listener: Async<TcpListener>,
    signals: Signals,
    shutdown: async_channel::Receiver<()>,
    tasks: Arc<Tasks<'static>>,
    /// The executor of the commands (probes, hooks, execs) that end with the daemon.
    commands: Arc<ProcessExecutor>,
    program: String,
    /// The limit of open files that the daemon was started with, if it has raised it.
    open_files: Option<u64>,
}

async fn start(builder: DaemonBuilder) -> Result<Running, DaemonError> {
    let home = builder.home;
    home.ensure()?;
    let lock = lock(&home, builder.background).await?;
    DaemonInfo::remove_stale(&home)?;
    let log = home.daemon_log();
    log_file::init(&log).map_err(|source| DaemonError::Log { path: log, source })?;
    tracing::info!(program = builder.program, version = builder.version, home = %home.path().display(), "starting");
    let before = open_files::raise();
    forbid_core_dumps();
    let tls = TlsDir::new(home.tls());
    tls.ensure(SystemTime::now())?;
    let shim = match builder.shim {
        Some(path) => path,
        None => std::env::current_exe()
            .map_err(DaemonError::OwnPath)?
            .with_file_name("harness-shim"),
    };
    let shim = shim_binary::install(&shim, &home.bin())?;
    let listener = listen(builder.port)?;
    let port = listener
        .get_ref()
        .local_addr()
        .map_or(builder.port, |address| address.port());
    let opened = Registry::open(home.state()).await?;
    if let Some(path) = &opened.set_aside {
        tracing::error!(path = %path.display(), "the store was damaged and has been set aside");
    }
    let registry = opened.registry;
    let layout = Layout::new(home.path());
    let (beside, known) = (layout.clone(), registry.clone());
    unblock(move || refuse_newer_records(&beside, &known)).await?;
    let (bin, current) = (home.bin(), shim.path().to_owned());
    let mut here = Local::new(shim, home.path());
    if let Some(before) = before {
        here = here.with_open_files(before);
    }
    let process = Arc::new(ProcessExecutor::new(Arc::new(here), home.path()));
    let commands = Arc::clone(&process);
    let executors = builder
        .executors
        .into_iter()
        .fold(Executors::default().with(process), Executors::with);
    let executors = builder.probes.into_iter().fold(executors, Executors::with_probe);
    let tasks = Arc::new(Tasks::new());
    let (registry_there, layout_there) = (registry.clone(), layout.clone());
    let orchestrator = if builder.stop_services {
        let (orchestrator, driver) = Orchestrator::stopping(registry_there, executors, layout_there);
        tasks.spawn(driver).detach();
        orchestrator
    } else {
        let (orchestrator, driver) = Orchestrator::new(registry_there, executors, layout_there);
        tasks.spawn(driver).detach();
        orchestrator
    };
    // The orchestrator answers its first message after it has taken over the services that were left running.
    tasks.run(orchestrator.ready()).await;
    let info = DaemonInfo {
        pid: std::process::id(),
        port,
        version: builder.version,
        boot_id: boot_id().map_err(DaemonError::BootId)?,
        started_at: WallTime::now(),
    };
    // Before the file exists: from then on, the end of the daemon must remove it.
    let signals = Signals::new([Signal::Term, Signal::Int]).map_err(DaemonError::Signals)?;
    info.write(&home)?;
    let watch = HomeWatch::new(home.clone(), lock, info.clone(), registry.clone(), layout.clone());
    tasks
        .spawn(async move {
            match unblock(move || shim_binary::remove_unused(&bin, &current)).await {
                0 => {}
                removed => tracing::info!(removed, "removed copies of the shim that nothing runs under"),
            }
        })
        .detach();
    let (shutdown_sender, shutdown) = async_channel::bounded(1);
    let actions = builder.actions;
    let context = Arc::new(Context {
        home: home.clone(),
        info,
        tls,
        registry,
        orchestrator,
        layout,
        actions,
        shutdown: shutdown_sender,
        successor: Mutex::default(),
    });
    for stack in builder.stacks {
        let order = StartOrder::whole(stack.project(home.path()));
        if let Err(error) = tasks.run(context.orchestrator.start(order)).await {
            tracing::error!(
                error = chain(&error),
                "the daemon's own services cannot be started"
            );
        }
    }
    Ok(Running {
        watch,
        context,
        listener,
        signals,
        shutdown,
        tasks,
        commands,
        program: builder.program,
        open_files: before,
    })
}

/// A core dump would contain the secrets of every service. Programs that the daemon executes can still be dumped.
fn forbid_core_dumps() {
    if let Err(error) = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "cannot forbid core dumps of the daemon");
    }
}

/// Takes the lock. In the background, a client waits for any daemon that gets ready. So if another daemon has the
/// lock, wait until it says where it is, or ends.
async fn lock(home: &Home, background: bool) -> Result<DaemonLock, DaemonError> {
    let began = std::time::Instant::now();
    loop {
        let taken = DaemonLock::take(home).map_err(|source| DaemonError::Lock {
            path: home.daemon_lock(),
            source,
        })?;
        if let Some(lock) = taken {
            return Ok(lock);
        }
        if began.elapsed() > LOCK_PATIENCE {
            let running = if background {
                other_daemon(home)
            } else {
                DaemonInfo::read(home)?
            };
            if !background || running.is_some() || began.elapsed() > OTHER_PATIENCE {
                return Err(DaemonError::AlreadyRunning {
                    home: home.path().to_owned(),
                    running,
                });
            }
        }
        async_io::Timer::after(Duration::from_millis(10)).await;
    }
}

/// What the daemon that has the lock says about itself, if it is ready.
fn other_daemon(home: &Home) -> Option<DaemonInfo> {
    let info = DaemonInfo::read(home).ok().flatten()?;
    let here = boot_id().is_ok_and(|boot| boot == info.boot_id);
    let listens = || std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, info.port)).is_ok();
    (here && listens()).then_some(info)
}

fn listen(port: u16) -> Result<Async<TcpListener>, DaemonError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    Async::<TcpListener>::bind(address).map_err(|source| {
        if source.kind() != io::ErrorKind::AddrInUse {
            return DaemonError::Listen { port, source };
        }
        let asked = [(address.ip(), port, harness_model::spec::Protocol::Tcp)];
        match ports::holders(&asked)
            .ok()
            .and_then(|holders| holders.into_iter().next())
        {
            Some(holder) => DaemonError::PortTaken {
                port,
                holder: holder.to_string(),
            },
            None => DaemonError::Listen { port, source },
        }
    })
}

impl Running {
    async fn serve(mut self) -> Result<(), DaemonError> {
        let serve = async {
            server::serve(&self.context, &self.listener, &self.tasks, &self.program).await;
            None
        };
        let signalled = async {
            match self.signals.next().await {
                Some(Ok(signal)) => tracing::info!(?signal, "ending; services keep running"),
                _ => tracing::warn!("signals can no longer be received, ending"),
            }
            None
        };
        let asked = async {
            match self.shutdown.recv().await {
                Ok(()) => tracing::info!("asked to end"),
                Err(_) => tracing::warn!("can no longer be asked to end, ending"),
            }
            None
        };
        let look = || self.context.orchestrator.look_at_places();
        let lost = async { Some(self.watch.until_lost(look).await) };
        let lost = self.tasks.run(serve.or(signalled).or(asked).or(lost)).await;
        let home = self.context.home.path().to_owned();
        let ended = match lost {
            None => Ok(()),
            Some(Lost::Lock) => Err(DaemonError::LockGone {
                path: self.context.home.daemon_lock(),
            }),
            Some(lost @ (Lost::Home | Lost::Contents)) => {
                tracing::error!(home = %home.display(), ?lost, "the home is gone, stopping every service");
                self.tasks.run(handlers::stop_services(&self.context)).await;
                match lost {
                    Lost::Contents => Err(DaemonError::HomeEmptied { home }),
                    _ => Err(DaemonError::HomeGone { home }),
                }
            }
        };
        if let Err(error) = &ended {
            tracing::error!(error = chain(error), "ending");
        }
        self.commands.end_leftover_commands().await;
        // Remove the file before the lock is released, so that nobody reads it and then finds no daemon.
        DaemonInfo::remove(&self.context.home);
        if let Err(error) = self.context.registry.close().await {
            tracing::error!(error = chain(&error), "the last state could not be written");
        }
        tracing::info!("ended");
        if let Some(successor) = handlers::successor(&self.context)
            && ended.is_ok()
        {
            // Release the port and the home before the successor needs them.
            drop(self.listener);
            drop(self.watch);
            match background::start_successor(&self.context.home, &successor, self.open_files) {
                Ok(()) => tracing::info!(program = %successor.program.display(), "the next daemon starts"),
                Err(error) => tracing::error!(error = chain(&error), "the next daemon cannot be started"),
            }
        }
        ended
    }
}

//! The one daemon lifecycle, from the first line to the last.
//!
//! ```text
//! home ─▶ lock ─▶ log ─▶ certificates ─▶ shim ─▶ registry ─▶ listen ─▶ take over ─▶ daemon.json ─▶ serve ─▶ end
//! ```
//!
//! Every step before `daemon.json` can fail; the error names the place and the remedy, and nothing is left
//! behind. The end leaves services running: the next daemon takes them over.

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
use command_executor::{Supervisor, shim_binary};
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

/// Threads for what would block: files, `/proc`, spawning. Each keeps its stack and a heap of its own for good, so
/// there are enough to keep a disk busy, and no more.
const BLOCKING_THREADS: NonZeroUsize = NonZeroUsize::new(8).expect("8 is not zero");

/// How long a daemon waits for a lock that a client may be looking at.
const LOCK_PATIENCE: Duration = Duration::from_millis(200);

/// How long a daemon in the background waits for another one to get ready or to end. Less than its client waits.
const OTHER_PATIENCE: Duration = Duration::from_secs(25);

/// Why a daemon could not start, or not go on.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Its home is unusable.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Another daemon has the home.
    #[error("a daemon runs already for {}{}", home.display(), describe(.running))]
    AlreadyRunning {
        /// The home.
        home: PathBuf,
        /// What it says of itself, if it has come that far.
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
    /// The shim is not where it should be.
    #[error("cannot install the supervisor of services")]
    Shim(#[from] shim_binary::InstallError),
    /// The daemon does not know where its own binary is.
    #[error("cannot tell where this program is: {0}")]
    OwnPath(#[source] io::Error),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The port is taken.
    #[error("port {port} is held by {holder}: choose another with --port or HARNESS_PORT, or stop it")]
    PortTaken {
        /// The port.
        port: u16,
        /// Who holds it.
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
    /// The kernel does not tell the boot id.
    #[error("cannot read the boot id: {0}")]
    BootId(#[source] io::Error),
    /// `daemon.json` cannot be written.
    #[error(transparent)]
    Info(#[from] DaemonInfoError),
    /// Only a newer version knows what was run.
    #[error(transparent)]
    NewerRecord(#[from] NewerRecord),
    /// The home was taken from under the daemon.
    #[error("{} was removed or moved away: every service was stopped, and the daemon ended", home.display())]
    HomeGone {
        /// Where it was.
        home: PathBuf,
    },
    /// Everything in the home was.
    #[error("{} was emptied: every service was stopped, and the daemon ended", home.display())]
    HomeEmptied {
        /// The home.
        home: PathBuf,
    },
    /// The lock was.
    #[error("{} was removed: the daemon ended, services run on, and the next one takes them over", path.display())]
    LockGone {
        /// Where it was.
        path: PathBuf,
    },
    /// Signals cannot be received.
    #[error("cannot listen for signals: {0}")]
    Signals(#[source] io::Error),
}

impl DaemonError {
    /// What to do about it, where that is not in the error: the disk is full, or may not be written.
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
            // Two clients started a daemon at once: the one that lost is content with the other's.
            match running {
                Some(info) => announcement.ready(&info),
                None => announcement.failed(
                    "another daemon has the home and does not get ready".to_owned(),
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
    /// Whose commands (probes, hooks, execs) end with the daemon.
    commands: Arc<ProcessExecutor>,
    program: String,
    /// The limit of open files that it was started with, if it has raised that.
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
    let mut process = ProcessExecutor::new(Supervisor::new(shim), home.path());
    if let Some(before) = before {
        process = process.with_open_files(before);
    }
    let process = Arc::new(process);
    let commands = Arc::clone(&process);
    let executors = builder
        .executors
        .into_iter()
        .fold(Executors::default().with(process), Executors::with);
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
    // The orchestrator answers its first message after it has taken over what was left.
    tasks.run(orchestrator.ready()).await;
    let info = DaemonInfo {
        pid: std::process::id(),
        port,
        version: builder.version,
        boot_id: boot_id().map_err(DaemonError::BootId)?,
        started_at: WallTime::now(),
    };
    // Before the file is there: from then on the daemon's end removes it again.
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

/// A core dump would hold the secrets of every service. What the daemon executes is dumped as ever.
fn forbid_core_dumps() {
    if let Err(error) = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "cannot forbid core dumps of the daemon");
    }
}

/// Takes the lock. In the background, where a client waits for whichever daemon gets ready, another one that has
/// it is given the time to say where it is, or to end.
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

/// What the daemon that has the lock says of itself, if it is ready.
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
                Some(Ok(signal)) => tracing::info!(?signal, "ending, services run on"),
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
        // Gone before the lock is, so that nobody reads it and finds no daemon.
        DaemonInfo::remove(&self.context.home);
        if let Err(error) = self.context.registry.close().await {
            tracing::error!(error = chain(&error), "the last state could not be written");
        }
        tracing::info!("ended");
        if let Some(successor) = handlers::successor(&self.context)
            && ended.is_ok()
        {
            // The port and the home are free before it asks for them.
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

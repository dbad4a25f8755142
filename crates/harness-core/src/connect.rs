//! Finds the daemon of a home and connects to it, or starts one if that is wanted.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::time::{Duration, Instant};

use command_executor::supervised::ProcessId;
use harness_wire::client::{self, Client};
use harness_wire::tls::TlsDir;

use crate::VERSION;
use crate::background::{self, StartError, StartOptions};
use crate::daemon_info::{DaemonInfo, DaemonInfoError};
use crate::home::{Home, HomeError};
use crate::lock::DaemonLock;

/// How long to wait for a daemon that has the lock but does not listen or answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long to wait for a daemon that accepts connections and drops them: it is ending, or will not recover.
const ENDING: Duration = Duration::from_secs(2);

/// How long the information file of an ended daemon may still be there after the next one has the lock.
const STALE: Duration = Duration::from_millis(500);

/// How often to start a daemon if it ends before we can connect to it.
const STARTS: u32 = 3;

/// How to connect.
pub struct ConnectOptions {
    /// The home of the daemon.
    pub home: Home,
    /// The port for a daemon that is started. A running daemon says its own port.
    pub port: Option<u16>,
    /// Whether to start a daemon if none runs.
    pub autostart: bool,
    /// Called with a message for people before a daemon is started.
    pub on_autostart: Box<dyn Fn(&str) + Send + Sync>,
}

/// A connection to a daemon.
pub struct Session {
    /// Sends requests to the daemon.
    pub client: Client,
    /// What the daemon says about itself.
    pub daemon: DaemonInfo,
    /// Must be polled for the client to work, at the same time as the code that uses the client.
    pub driver: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No daemon runs, and none was to be started.
    #[error("no daemon runs for {}", home.display())]
    NotRunning {
        /// The home.
        home: PathBuf,
    },
    /// The daemon has the lock but does not listen or answer.
    #[error("the daemon{} for {} does not answer; see {}", with_pid(*pid), home.display(), log.display())]
    NotAnswering {
        /// The home.
        home: PathBuf,
        /// Its process, if the daemon got far enough to report it.
        pid: Option<u32>,
        /// Its log.
        log: PathBuf,
    },
    /// The daemon is stopped by SIGSTOP or a debugger, so it answers nobody.
    #[error("the daemon (pid {pid}) is stopped by SIGSTOP or a debugger; services keep running")]
    Stopped {
        /// Its process.
        pid: u32,
    },
    /// The home is unusable.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// `daemon.json` cannot be read.
    #[error(transparent)]
    Info(#[from] DaemonInfoError),
    /// The lock cannot be examined.
    #[error("cannot examine {}: {source}", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No daemon could be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Something listens there, but refuses us or is not our daemon.
    #[error("cannot talk to the daemon on port {port}: {source}")]
    Client {
        /// Its port.
        port: u16,
        /// Its process.
        pid: u32,
        /// Why.
        source: client::ConnectError,
    },
}

fn with_pid(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}

/// Connects to the daemon of a home.
///
/// # Errors
/// When none runs and none may be started, or it cannot be reached.
pub async fn connect(options: &ConnectOptions) -> Result<Session, ConnectError> {
    let home = &options.home;
    let began = Instant::now();
    let mut starts = 0;
    let mut refused_since = None;
    loop {
        // Look at the lock first. If it is free, `daemon.json` is from a killed daemon, and something else may listen
        // on that port now.
        let held = DaemonLock::is_held(home).map_err(|source| ConnectError::Lock {
            path: home.daemon_lock(),
            source,
        })?;
        if !held {
            if !options.autostart {
                return Err(ConnectError::NotRunning {
                    home: home.path().to_owned(),
                });
            }
            home.ensure()?;
            (options.on_autostart)("no daemon runs, starting one");
            let start = StartOptions {
                port: options.port,
                ..StartOptions::default()
            };
            let daemon = background::start(home, start).await?;
            starts += 1;
            match try_connect(home, daemon).await {
                // The daemon was asked to end, or killed, in the meantime.
                Err(error) if error.may_get_better() && starts < STARTS => continue,
                connected => return connected,
            }
        }
        let (pid, lost) = match DaemonInfo::read(home)? {
            Some(daemon) => {
                let pid = daemon.pid;
                match try_connect(home, daemon).await {
                    Ok(session) => return Ok(session),
                    Err(error) => (Some(pid), Some(error)),
                }
            }
            None => (None, None),
        };
        if let Some(pid) = pid.filter(|pid| is_stopped(*pid)) {
            return Err(ConnectError::Stopped { pid });
        }
        // The daemon may be starting, ending, or overloaded. Other errors will not go away.
        match lost {
            Some(error) if error.was_dropped() && began.elapsed() > ENDING => return Err(error),
            Some(error) if !error.may_get_better() => {
                let since = *refused_since.get_or_insert_with(Instant::now);
                // A daemon that has just taken the lock will remove the file of its predecessor soon.
                if since.elapsed() > STALE {
                    return Err(error);
                }
            }
            _ if began.elapsed() > PATIENCE => {
                return Err(ConnectError::NotAnswering {
                    home: home.path().to_owned(),
                    pid,
                    log: home.daemon_log(),
                });
            }
            _ => {}
        }
        async_io::Timer::after(Duration::from_millis(20)).await;
    }
}

/// Whether a process is stopped by SIGSTOP or a debugger.
pub fn is_stopped(pid: u32) -> bool {
    ProcessId::of(pid).is_ok_and(|process| process.is_stopped())
}

async fn try_connect(home: &Home, daemon: DaemonInfo) -> Result<Session, ConnectError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, daemon.port));
    let tls = TlsDir::new(home.tls());
    let program = format!("harness {VERSION}");
    let (client, driver) =
        client::connect(address, &tls, &program)
            .await
            .map_err(|source| ConnectError::Client {
                port: daemon.port,
                pid: daemon.pid,
                source,
            })?;
    Ok(Session {
        client,
        daemon,
        driver: Box::pin(driver),
    })
}

impl ConnectError {
    fn may_get_better(&self) -> bool {
        use client::ConnectError::{Refused, Timeout};
        let waits =
            matches!(self, Self::Client { source, .. } if matches!(source, Refused { .. } | Timeout { .. }));
        waits || self.was_dropped()
    }

    fn was_dropped(&self) -> bool {
        matches!(self, Self::Client { source, .. } if source.was_dropped())
    }
}

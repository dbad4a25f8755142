//! Finding the daemon of a home and connecting to it; starting one where that is wanted.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::time::{Duration, Instant};

use harness_wire::client::{self, Client};
use harness_wire::tls::TlsDir;

use crate::VERSION;
use crate::background::{self, StartError};
use crate::daemon_info::{DaemonInfo, DaemonInfoError};
use crate::home::{Home, HomeError};
use crate::lock::DaemonLock;

/// How long a daemon that has the lock but does not listen yet is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// How to connect.
pub struct ConnectOptions {
    /// Whose daemon.
    pub home: Home,
    /// The port for a daemon that is started; a running one says itself where it is.
    pub port: Option<u16>,
    /// Whether one is started if none runs.
    pub autostart: bool,
    /// Told, in words for people, before one is started.
    pub on_autostart: Box<dyn Fn(&str) + Send + Sync>,
}

/// A connection to a daemon.
pub struct Session {
    /// Asks it.
    pub client: Client,
    /// What it says of itself.
    pub daemon: DaemonInfo,
    /// Must be polled for the client to work, beside whoever uses it.
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
    /// It has the lock and does not listen.
    #[error("the daemon for {} does not answer; see {}", home.display(), log.display())]
    NotAnswering {
        /// The home.
        home: PathBuf,
        /// Its log.
        log: PathBuf,
    },
    /// The home is unusable.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// `daemon.json` cannot be read.
    #[error(transparent)]
    Info(#[from] DaemonInfoError),
    /// The lock cannot be looked at.
    #[error("cannot look at {}: {source}", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It is there but does not let us in, or is no daemon of ours.
    #[error("cannot talk to the daemon on port {port}: {source}")]
    Client {
        /// Its port.
        port: u16,
        /// Why.
        source: client::ConnectError,
    },
}

/// Connects to the daemon of a home.
///
/// # Errors
/// When none runs and none may be started, or it cannot be reached.
pub async fn connect(options: &ConnectOptions) -> Result<Session, ConnectError> {
    let home = &options.home;
    let deadline = Instant::now() + PATIENCE;
    loop {
        // A file without a daemon behind it is stale; the lock tells, whoever listens on that port now.
        let lost = match DaemonInfo::read(home)? {
            Some(daemon) => match try_connect(home, daemon).await {
                Ok(session) => return Ok(session),
                Err(error) => Some(error),
            },
            None => None,
        };
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
            let daemon = background::start(home, options.port).await?;
            return try_connect(home, daemon).await;
        }
        // Just starting, or just ending: anything else will not get better.
        match lost {
            Some(error) if !error.nobody_listens() => return Err(error),
            _ if Instant::now() > deadline => {
                return Err(ConnectError::NotAnswering {
                    home: home.path().to_owned(),
                    log: home.daemon_log(),
                });
            }
            _ => async_io::Timer::after(Duration::from_millis(20)).await,
        };
    }
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
                source,
            })?;
    Ok(Session {
        client,
        daemon,
        driver: Box::pin(driver),
    })
}

impl ConnectError {
    fn nobody_listens(&self) -> bool {
        matches!(
            self,
            Self::Client {
                source: client::ConnectError::Refused { .. },
                ..
            }
        )
    }
}

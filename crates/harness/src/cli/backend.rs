//! What the verbs use: the daemon's client, the configuration, the daemon's lifecycle.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::FutureExt;
use harness_wire::message::{DaemonStopReport, DaemonStopRequest, Request, Response};

use super::context::Daemon;

pub(crate) use harness_config::{LoadError, LoadOptions, Loaded};
pub(crate) use harness_core::background::{StartError, StartOptions, start as start_daemon};
pub(crate) use harness_core::connect::{ConnectError, ConnectOptions, Session, connect, is_stopped};
pub(crate) use harness_core::daemon_info::DaemonInfo;
pub(crate) use harness_core::home::{Home, HomeError};
pub(crate) use harness_core::lock::DaemonLock;
pub(crate) use harness_core::{DEFAULT_PORT, VERSION};
pub(crate) use harness_wire::client::{Call, CallHandle, Client, ClientError, Item};

/// How long a daemon may take to end after it agreed to.
const ENDING: Duration = Duration::from_secs(30);

/// How long the home may be without a daemon before we give up on the successor.
const VACANT: Duration = Duration::from_secs(2);

/// How often we look at a daemon that takes long.
const LOOK: Duration = Duration::from_secs(1);

/// Why a daemon could not be stopped or replaced.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StopError {
    /// The daemon refused, or the connection broke.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The daemon's lock cannot be examined.
    #[error("cannot examine {}", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The daemon was asked to end and leave the services alone, and has not answered.
    #[error("the daemon has not answered within {}s", ENDING.as_secs())]
    NoAnswer,
    /// The daemon process is stopped, so it cannot end.
    #[error(
        "the daemon (pid {pid}) is stopped by SIGSTOP or a debugger, and does nothing until it is continued"
    )]
    Stopped {
        /// Its process.
        pid: u32,
    },
    /// The daemon was to stop services, and ended without saying that it had stopped them.
    #[error("the daemon was lost while it stopped services: some may still be running")]
    Lost,
    /// The daemon agreed to end and still runs.
    #[error("the daemon agreed to stop but still runs after {}s", ENDING.as_secs())]
    StillThere,
    /// No new daemon could be started to take over.
    #[error(transparent)]
    Start(#[from] Box<StartError>),
}

/// Ends a daemon, and returns when it is gone. The result says what the daemon stopped first, if it was to
/// stop services and is new enough to report it.
///
/// # Errors
/// When the daemon refuses, does not end, or is lost before its services are stopped.
pub(crate) async fn stop_daemon(
    home: &Home,
    daemon: &Daemon,
    services: bool,
) -> Result<Option<DaemonStopReport>, StopError> {
    let request = DaemonStopRequest {
        services,
        successor: None,
    };
    let report = ask_to_end(daemon, request).await?;
    let deadline = Instant::now() + ENDING;
    while is_held(home)? {
        still_ending(daemon, deadline)?;
        Timer::after(Duration::from_millis(10)).await;
    }
    Ok(report)
}

/// Replaces this daemon with a new one, and returns when the new one is ready. The old daemon starts the new
/// one, so that it comes up even if the caller ends together with the old daemon.
///
/// # Errors
/// When the old daemon does not end, or no new one gets ready.
pub(crate) async fn replace_daemon(home: &Home, daemon: &Daemon, port: u16) -> Result<DaemonInfo, StopError> {
    let successor = harness_core::background::successor(port).map_err(Box::new)?;
    let request = DaemonStopRequest {
        services: false,
        successor: Some(successor),
    };
    ask_to_end(daemon, request).await?;
    let deadline = Instant::now() + ENDING;
    let mut vacant = None;
    loop {
        let held = is_held(home)?;
        let info = DaemonInfo::read(home).ok().flatten();
        match info {
            Some(info) if held && info != daemon.info => return Ok(info),
            _ if held && vacant.is_none() => still_ending(daemon, deadline)?,
            // The successor is getting ready, or it has ended and left the old daemon's information file.
            _ if !held => {
                let since = *vacant.get_or_insert_with(Instant::now);
                if since.elapsed() > VACANT {
                    break;
                }
            }
            _ if Instant::now() > deadline + ENDING => break,
            _ => {}
        }
        Timer::after(Duration::from_millis(10)).await;
    }
    // The old daemon cannot start a successor, or its successor failed. Start one here, which says why if it
    // fails.
    let options = StartOptions {
        port: Some(port),
        ..StartOptions::default()
    };
    Ok(start_daemon(home, options).await.map_err(Box::new)?)
}

/// Sends the request, and waits for the answer.
async fn ask_to_end(
    daemon: &Daemon,
    request: DaemonStopRequest,
) -> Result<Option<DaemonStopReport>, StopError> {
    let services = request.services;
    let answer = async { Ok(daemon.client.request(Request::DaemonStop(request)).await) };
    let late = async {
        let began = Instant::now();
        loop {
            Timer::after(LOOK).await;
            if is_stopped(daemon.info.pid) {
                return Err(StopError::Stopped { pid: daemon.info.pid });
            }
            // Services have their own time to end in.
            if !services && began.elapsed() > ENDING {
                return Err(StopError::NoAnswer);
            }
        }
    };
    match answer.or(late).await? {
        Ok(Response::DaemonStop(report)) => Ok(Some(report)),
        Ok(_) => Ok(None),
        Err(ClientError::Disconnected(_)) if services => Err(StopError::Lost),
        // The daemon may be gone before its answer arrives.
        Err(ClientError::Disconnected(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn is_held(home: &Home) -> Result<bool, StopError> {
    DaemonLock::is_held(home).map_err(|source| StopError::Lock {
        path: home.daemon_lock(),
        source,
    })
}

/// Fails when the time for a daemon that agreed to end is over.
fn still_ending(daemon: &Daemon, deadline: Instant) -> Result<(), StopError> {
    if Instant::now() <= deadline {
        return Ok(());
    }
    match is_stopped(daemon.info.pid) {
        true => Err(StopError::Stopped { pid: daemon.info.pid }),
        false => Err(StopError::StillThere),
    }
}

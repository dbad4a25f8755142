//! What the verbs stand on: the daemon's client, the configuration, the daemon's lifecycle.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::{FutureExt, future};
use harness_wire::message::{DaemonStopRequest, Request};

pub(crate) use harness_config::{LoadError, LoadOptions, Loaded};
pub(crate) use harness_core::background::{StartError, start as start_daemon};
pub(crate) use harness_core::connect::{ConnectError, ConnectOptions, Session, connect};
pub(crate) use harness_core::daemon_info::DaemonInfo;
pub(crate) use harness_core::home::{Home, HomeError};
pub(crate) use harness_core::lock::DaemonLock;
pub(crate) use harness_core::{DEFAULT_PORT, VERSION};
pub(crate) use harness_wire::client::{Call, CallHandle, Client, ClientError, Item};

/// How long a daemon may take to end once it has agreed to.
const ENDING: Duration = Duration::from_secs(30);

/// Why a daemon could not be stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StopError {
    /// It refused, or was lost on the way.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Its lock cannot be looked at.
    #[error("cannot look at {}", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It was asked to end and leave services alone, and says nothing.
    #[error("the daemon has not answered within {}s", ENDING.as_secs())]
    NoAnswer,
    /// It agreed and is still there.
    #[error("the daemon agreed to stop and still runs after {}s", ENDING.as_secs())]
    StillThere,
}

/// Ends a daemon, and comes back when it is gone.
///
/// # Errors
/// When it refuses, or does not end.
pub(crate) async fn stop_daemon(home: &Home, client: &Client, services: bool) -> Result<(), StopError> {
    let request = Request::DaemonStop(DaemonStopRequest { services });
    let late = async {
        if services {
            // They have their own time to end in.
            future::pending::<()>().await;
        }
        Timer::after(ENDING).await;
        None
    };
    let answer = async { Some(client.request(request).await) };
    match answer.or(late).await.ok_or(StopError::NoAnswer)? {
        // It may be gone before its answer has come through.
        Ok(_) | Err(ClientError::Disconnected(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let deadline = Instant::now() + ENDING;
    loop {
        let held = DaemonLock::is_held(home).map_err(|source| StopError::Lock {
            path: home.daemon_lock(),
            source,
        })?;
        if !held {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(StopError::StillThere);
        }
        Timer::after(Duration::from_millis(10)).await;
    }
}

//! The connection to the engine, and its error messages.

pub(crate) mod address;
pub(crate) mod bridge;
pub(crate) mod events;
pub(crate) mod stamp;

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_channel::Receiver;
use async_io::Timer;
use async_lock::{Mutex, OnceCell};
use blocking::unblock;
use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, Docker};
use futures_lite::FutureExt;

use service_orchestration::executor::LaunchError;

use crate::engine::address::{Address, AddressError, Environment};
use crate::engine::events::{Connect, Events};

/// How long the engine may take to report its version.
const HELLO: Duration = Duration::from_secs(10);

/// How long the engine may take to begin an answer, in seconds. Starting many containers at once takes a while.
const ANSWER_SECONDS: u64 = 120;

/// Why a request to the engine failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// The socket does not exist.
    #[error(
        "no Docker engine: there is no {} (install or start one, or set DOCKER_HOST to another one and run \
         `harness daemon restart`)",
        socket.display()
    )]
    NoSocket { socket: PathBuf },
    /// The socket belongs to others.
    #[error(
        "no permission to use the Docker engine at {}: join its group (often `docker`), log in again, and run \
         `harness daemon restart`",
        socket.display()
    )]
    NoPermission { socket: PathBuf },
    /// Nobody listens on the socket.
    #[error("the Docker engine at {} is not running ({source}): start it (often `systemctl start docker`)", socket.display())]
    NotRunning { socket: PathBuf, source: io::Error },
    /// Its address is unknown.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// It does not answer, or the connection breaks.
    #[error("the Docker engine at {address} does not answer ({operation})")]
    NoAnswer {
        address: String,
        operation: &'static str,
        #[source]
        source: Box<Error>,
    },
    /// It took too long to answer.
    #[error("the Docker engine at {address} did not answer within {}s", HELLO.as_secs())]
    Silent { address: String },
    /// It refuses the request.
    #[error("cannot {operation} {what}: {message}")]
    Refused {
        operation: &'static str,
        what: String,
        status: u16,
        message: String,
    },
}

impl From<EngineError> for LaunchError {
    fn from(error: EngineError) -> Self {
        Self::Place(Box::new(error))
    }
}

impl EngineError {
    /// Whether there is no such container, network and so on.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// Whether such a thing already exists, or is in another state.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { status: 409, .. })
    }

    /// Whether the request failed in the engine, although it may be possible.
    pub(crate) fn is_fault(&self) -> bool {
        matches!(self, Self::Refused { status: 500.., .. })
    }

    /// Whether its answer contains unknown values.
    pub(crate) fn is_strange(&self) -> bool {
        matches!(self, Self::NoAnswer { source, .. } if matches!(**source, Error::JsonDataError { .. }))
    }

    /// Whether the engine answered at all.
    pub(crate) fn is_answer(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}

/// An engine: the one of this daemon, or another one on which a former daemon launched containers.
#[derive(Debug)]
pub(crate) struct Engine {
    environment: Environment,
    /// Kept once it is known: what was started there must be found there again.
    address: OnceCell<Address>,
    connection: Mutex<Option<Docker>>,
    events: Events,
}

impl Engine {
    /// The engine of an environment. It is not read before the engine is needed.
    pub(crate) fn of(environment: Environment) -> Self {
        Self {
            environment,
            address: OnceCell::new(),
            connection: Mutex::new(None),
            events: Events::default(),
        }
    }

    /// The engine at this address.
    pub(crate) fn at(address: Address) -> Self {
        Self {
            environment: Environment::default(),
            address: OnceCell::from(address),
            connection: Mutex::new(None),
            events: Events::default(),
        }
    }

    /// The address of the engine.
    pub(crate) async fn address(&self) -> Result<&Address, EngineError> {
        let environment = self.environment.clone();
        let found = self
            .address
            .get_or_try_init(|| unblock(move || environment.address()));
        Ok(found.await?)
    }

    /// The same as text, if it has been needed before.
    pub(crate) fn known_address(&self) -> Option<String> {
        self.address.get().map(Address::to_string)
    }

    fn shown(&self) -> String {
        self.known_address().unwrap_or_default()
    }

    /// The folder in which the docker program keeps its files.
    pub(crate) fn docker_files(&self) -> Option<&Path> {
        self.environment.config()
    }

    /// A client of the engine. Each request makes a new connection, so the client keeps working when the engine
    /// restarts.
    pub(crate) async fn docker(&self) -> Result<Docker, EngineError> {
        let mut connection = self.connection.lock().await;
        if let Some(docker) = &*connection {
            return Ok(docker.clone());
        }
        let failed = |source| EngineError::NoAnswer {
            address: self.shown(),
            operation: "connect",
            source: Box::new(source),
        };
        let docker = match self.address().await? {
            Address::Socket(path) => {
                reachable(path).await?;
                Docker::connect_with_unix(&path.to_string_lossy(), ANSWER_SECONDS, API_DEFAULT_VERSION)
            }
            Address::Tcp(host) => Docker::connect_with_http(host, ANSWER_SECONDS, API_DEFAULT_VERSION),
        };
        let docker = docker.map_err(failed)?;
        let hello = async { bridge::within(docker.negotiate_version()).await.map_err(failed) };
        let late = async {
            Timer::after(HELLO).await;
            Err(EngineError::Silent {
                address: self.shown(),
            })
        };
        let docker = hello.or(late).await?;
        *connection = Some(docker.clone());
        Ok(docker)
    }

    /// A number that changes when the engine ends, which may not be noticed in another way.
    pub(crate) fn life(self: &Arc<Self>) -> u64 {
        self.events.lives(self)
    }

    /// Receives a message whenever something happened to a container that is not its end. The container should be
    /// looked at then.
    pub(crate) fn news_of(self: &Arc<Self>, container: &str) -> Receiver<()> {
        self.events.news_of(self, container)
    }

    /// Tells whoever follows a container to look at it.
    pub(crate) fn look_at(&self, container: &str) {
        self.events.look_at(container);
    }

    /// Whether its containers keep running without it (`live-restore`).
    pub(crate) async fn keeps_containers(&self) -> bool {
        let info = self.ask("read", "the state of the engine", |docker| async move {
            docker.info().await
        });
        info.await
            .is_ok_and(|info| info.live_restore_enabled == Some(true))
    }

    /// Asks the engine. `operation` and `what` describe the request in words: "start", "container shop-db".
    pub(crate) async fn ask<T, F: Future<Output = Result<T, Error>>>(
        &self,
        operation: &'static str,
        what: &str,
        request: impl FnOnce(Docker) -> F,
    ) -> Result<T, EngineError> {
        let docker = self.docker().await?;
        match bridge::within(request(docker)).await {
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.error(operation, what, error).await),
        }
    }

    /// Turns an error of bollard into one of ours.
    pub(crate) async fn error(&self, operation: &'static str, what: &str, error: Error) -> EngineError {
        let refused = |status, message: String| EngineError::Refused {
            operation,
            what: what.to_owned(),
            status,
            message: explained(message.trim()),
        };
        match error {
            Error::DockerResponseServerError { status_code, message } => refused(status_code, message),
            Error::DockerStreamError { error } => refused(500, error),
            source => {
                if let Some(Address::Socket(path)) = self.address.get()
                    && let Err(error) = reachable(path).await
                {
                    return error;
                }
                EngineError::NoAnswer {
                    address: self.shown(),
                    operation,
                    source: Box::new(source),
                }
            }
        }
    }
}

impl Connect for Engine {
    async fn connect(&self) -> Option<Docker> {
        self.docker().await.ok()
    }
}

/// An engine's message about a failure, with an explanation if the message does not explain itself.
pub(crate) fn explained(message: &str) -> String {
    if message.contains("no space left on device") {
        return format!(
            "{message} (the disk of the Docker engine seems to be full: `docker system df` shows what uses it)"
        );
    }
    message.to_owned()
}

/// Checks that somebody listens on a socket.
async fn reachable(socket: &Path) -> Result<(), EngineError> {
    let path = socket.to_owned();
    let connected = unblock(move || std::os::unix::net::UnixStream::connect(path)).await;
    let socket = socket.to_owned();
    match connected {
        Ok(_) => Ok(()),
        Err(error) => Err(match error.kind() {
            io::ErrorKind::NotFound => EngineError::NoSocket { socket },
            io::ErrorKind::PermissionDenied => EngineError::NoPermission { socket },
            _ => EngineError::NotRunning {
                socket,
                source: error,
            },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_is_not_there_is_explained() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("docker.sock");
        let ask = || {
            let engine = Engine::at(Address::Socket(socket.clone()));
            let error = futures_lite::future::block_on(engine.docker()).unwrap_err();
            error.to_string()
        };
        assert!(ask().contains("there is no "), "{}", ask());
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        assert!(ask().contains("is not running"), "{}", ask());
    }
}

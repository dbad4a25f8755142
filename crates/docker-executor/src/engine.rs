//! The connection to the engine, and what it says when it refuses.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_io::Timer;
use async_lock::Mutex;
use blocking::unblock;
use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, Docker};
use futures_lite::FutureExt;

use crate::bridge;

/// Where the engine listens unless something else is said.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// How long the engine may take to say its version.
const HELLO: Duration = Duration::from_secs(10);

/// How long it may take to begin an answer, in seconds. Starting many containers at once takes its time.
const ANSWER_SECONDS: u64 = 120;

/// Why nothing could be had from the engine.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// There is no socket.
    #[error("no Docker engine: there is no {} (install and start one, or set DOCKER_HOST for the daemon)", socket.display())]
    NoSocket { socket: PathBuf },
    /// It belongs to others.
    #[error(
        "no permission to use the Docker engine at {}: its group (often `docker`) may; after joining it, log in again and `harness daemon restart`",
        socket.display()
    )]
    NoPermission { socket: PathBuf },
    /// Nobody listens.
    #[error("the Docker engine at {} is not running: {source}", socket.display())]
    NotRunning { socket: PathBuf, source: io::Error },
    /// A way to reach it that is not supported.
    #[error("DOCKER_HOST `{host}` is not supported: unix:// and tcp:// are")]
    UnknownHost { host: String },
    /// It does not answer, or breaks off.
    #[error("the Docker engine at {address} does not answer ({operation})")]
    NoAnswer {
        address: String,
        operation: &'static str,
        #[source]
        source: Box<Error>,
    },
    /// It took too long.
    #[error("the Docker engine at {address} did not answer within {}s", HELLO.as_secs())]
    Silent { address: String },
    /// It refuses.
    #[error("cannot {operation} {what}: {message}")]
    Refused {
        operation: &'static str,
        what: String,
        status: u16,
        message: String,
    },
}

impl EngineError {
    /// Whether there is no such container, network, …
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// Whether something of the kind is there already, or is in another state.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { status: 409, .. })
    }

    /// Whether the engine answered at all.
    pub(crate) fn is_answer(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}

/// The engine of this daemon.
#[derive(Debug)]
pub(crate) struct Engine {
    address: Address,
    connection: Mutex<Option<Docker>>,
}

#[derive(Debug)]
enum Address {
    Socket(PathBuf),
    Tcp(String),
    Unknown(String),
}

impl Engine {
    /// The one of this process's environment (`DOCKER_HOST`), else the one of this machine.
    pub(crate) fn of_environment() -> Self {
        let host = std::env::var("DOCKER_HOST").unwrap_or_default();
        Self::at(&host)
    }

    fn at(host: &str) -> Self {
        let address = match host.split_once("://") {
            None if host.is_empty() => Address::Socket(DEFAULT_SOCKET.into()),
            Some(("unix", path)) => Address::Socket(path.into()),
            Some(("tcp" | "http", _)) => Address::Tcp(host.to_owned()),
            _ => Address::Unknown(host.to_owned()),
        };
        Self {
            address,
            connection: Mutex::new(None),
        }
    }

    /// Where it is, for people.
    fn shown(&self) -> String {
        match &self.address {
            Address::Socket(path) => path.display().to_string(),
            Address::Tcp(host) | Address::Unknown(host) => host.clone(),
        }
    }

    /// What speaks to the engine. Each request connects anew, so that it outlives a restart of the engine.
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
        let docker = match &self.address {
            Address::Socket(path) => {
                reachable(path).await?;
                Docker::connect_with_unix(&path.to_string_lossy(), ANSWER_SECONDS, API_DEFAULT_VERSION)
            }
            Address::Tcp(host) => Docker::connect_with_http(host, ANSWER_SECONDS, API_DEFAULT_VERSION),
            Address::Unknown(host) => return Err(EngineError::UnknownHost { host: host.clone() }),
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

    /// Asks the engine; `operation` and `what` tell it in words: "start", "container shop-db".
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

    /// What an error of bollard's means.
    pub(crate) async fn error(&self, operation: &'static str, what: &str, error: Error) -> EngineError {
        let refused = |status, message: String| EngineError::Refused {
            operation,
            what: what.to_owned(),
            status,
            message: message.trim().to_owned(),
        };
        match error {
            Error::DockerResponseServerError { status_code, message } => refused(status_code, message),
            Error::DockerStreamError { error } => refused(500, error),
            source => {
                if let Address::Socket(path) = &self.address
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

/// Whether somebody listens on a socket, and why not.
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
        let ask = |host: &str| {
            let error = futures_lite::future::block_on(Engine::at(host).docker()).unwrap_err();
            error.to_string()
        };
        let host = format!("unix://{}", socket.display());
        assert!(ask(&host).contains("there is no "), "{}", ask(&host));
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        assert!(ask(&host).contains("is not running"), "{}", ask(&host));
        assert!(ask("ssh://host").contains("`ssh://host` is not supported"));
    }
}

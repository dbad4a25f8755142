//! A running container, as the orchestrator uses it.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use async_channel::Receiver;
use async_io::Timer;
use async_lock::{Mutex, OnceCell};
use async_trait::async_trait;
use bollard::models::{ContainerInspectResponse, ContainerState};
use bollard::query_parameters::{
    AttachContainerOptions, InspectContainerOptions, RemoveContainerOptions, ResizeContainerTTYOptions,
};
use futures_lite::{AsyncWrite, AsyncWriteExt};
use harness_model::spec::HealthCheck;
use harness_model::{ProjectName, WallTime};
use harness_shim::run_dir::LogLimits;
use service_orchestration::executor::{Instance, SessionError};
use service_orchestration::machine::{Ended, Lost};

use crate::container::contact::Contact;
use crate::container::stop::StopPolicy;
use crate::engine::bridge::{self, Task};
use crate::engine::{Engine, EngineError};
use crate::labels::Owner;
use crate::network::Networks;
use crate::output::prompt::Attached;

/// How many times to ask again if an answer makes no sense, and the pause before each time.
const STRANGE_ATTEMPTS: u32 = 100;
const STRANGE: Duration = Duration::from_millis(50);

/// How many times to try again when the engine fails to remove a container, and the pause before each time.
const REMOVE_ATTEMPTS: u32 = 10;
const REMOVE: Duration = Duration::from_millis(100);

/// Keys that nobody types one after the other.
const NO_KEYS: &str = "ctrl-^,ctrl-@,ctrl-^,ctrl-@";

/// The byte that ends the input of a terminal.
const END_OF_INPUT: u8 = 4;

/// What is known of a running container.
pub(crate) struct Container {
    pub(crate) engine: Arc<Engine>,
    pub(crate) networks: Arc<Networks>,
    pub(crate) owner: Owner,
    pub(crate) project: ProjectName,
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) run_dir: PathBuf,
    pub(crate) log_limits: LogLimits,
    pub(crate) stop: StopPolicy,
    /// Whether it has a terminal.
    pub(crate) terminal: bool,
    /// For how long its prompts are shown before they are whole lines; `None` if not at all.
    pub(crate) prompts: Option<Duration>,
    /// Its output from its start on, until somebody follows it.
    pub(crate) attached: std::sync::Mutex<Option<Attached>>,
    /// The health check of its image.
    pub(crate) image_health: Option<HealthCheck>,
    /// Whether its state is known.
    pub(crate) contact: Contact,
    /// Whether it was asked to end. That is done once, and surely: see [`Self::stop`].
    pub(crate) is_stopping: AtomicBool,
    /// Receives a message when the engine has reported something about it.
    pub(crate) news: Receiver<()>,
    /// How it ended, once everything of it is gone.
    pub(crate) ended: OnceCell<Ended>,
}

impl Container {
    /// Its current state.
    pub(crate) async fn inspect(&self) -> Result<ContainerState, EngineError> {
        Ok(self.inspect_whole().await?.state.unwrap_or_default())
    }

    pub(crate) async fn inspect_whole(&self) -> Result<ContainerInspectResponse, EngineError> {
        inspect(&self.engine, &self.id, &self.what()).await
    }

    pub(crate) fn what(&self) -> String {
        format!("container {}", self.name)
    }

    /// Removes it with its anonymous volumes, even if it runs. It is fine if it is gone already.
    pub(crate) async fn remove(&self) -> Result<(), EngineError> {
        remove(&self.engine, &self.id, &self.name).await
    }

    /// Changes the size of its terminal, if it has one.
    pub(crate) async fn resize(&self, columns: u16, rows: u16) {
        if !self.terminal {
            return;
        }
        let options = ResizeContainerTTYOptions {
            w: i32::from(columns),
            h: i32::from(rows),
        };
        let what = self.what();
        let resized = self.engine.ask("resize", &what, |docker| async move {
            docker.resize_container_tty(&self.id, options).await
        });
        if let Err(error) = resized.await {
            tracing::debug!(container = self.name, %error, "cannot resize the terminal of a container");
        }
    }
}

/// What the engine knows of a container. Between running and exited, Podman reports a state that Docker does not
/// have. This waits until that moment is over.
pub(crate) async fn inspect(
    engine: &Engine,
    id: &str,
    what: &str,
) -> Result<ContainerInspectResponse, EngineError> {
    let mut attempts = 1..=STRANGE_ATTEMPTS;
    loop {
        let inspected = engine
            .ask("inspect", what, |docker| async move {
                docker
                    .inspect_container(id, None::<InspectContainerOptions>)
                    .await
            })
            .await;
        match inspected {
            Err(error) if error.is_strange() && attempts.next().is_some() => Timer::after(STRANGE).await,
            other => return other,
        };
    }
}

/// Removes a container and its anonymous volumes. It is fine if it is gone already. If the container is just ending,
/// an engine may fail (Podman: "container state improper"); then this asks again.
pub(crate) async fn remove(engine: &Engine, id: &str, name: &str) -> Result<(), EngineError> {
    let mut attempts = 1..=REMOVE_ATTEMPTS;
    loop {
        match try_to_remove(engine, id, name).await {
            Err(error) if error.is_fault() && attempts.next().is_some() => Timer::after(REMOVE).await,
            other => return other,
        };
    }
}

async fn try_to_remove(engine: &Engine, id: &str, name: &str) -> Result<(), EngineError> {
    let options = RemoveContainerOptions {
        force: true,
        v: true,
        ..RemoveContainerOptions::default()
    };
    let what = format!("container {name}");
    let removed = engine.ask("remove", &what, |docker| async move {
        docker.remove_container(id, Some(options)).await
    });
    match removed.await {
        // A conflict means that it is being removed already.
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
        other => other,
    }
}

type Stdin = Pin<Box<dyn AsyncWrite + Send>>;

/// A running container that is followed.
pub(crate) struct ContainerInstance {
    container: Arc<Container>,
    pid: Option<u32>,
    started_at: WallTime,
    stdin: Mutex<Option<Stdin>>,
}

impl ContainerInstance {
    pub(crate) fn new(container: Arc<Container>, pid: Option<u32>, started_at: WallTime) -> Self {
        Self {
            container,
            pid,
            started_at,
            stdin: Mutex::new(None),
        }
    }

    async fn attach(&self) -> Result<Stdin, EngineError> {
        let options = AttachContainerOptions {
            stdin: true,
            stream: true,
            // An engine detaches at certain keys, and holds back every key that may be the first of them.
            detach_keys: Some(NO_KEYS.to_owned()),
            ..AttachContainerOptions::default()
        };
        let container = &self.container;
        let attached = container
            .engine
            .ask("attach to", &container.what(), |docker| async move {
                docker.attach_container(&container.id, Some(options)).await
            })
            .await?;
        Ok(Box::pin(bridge::writer(attached.input)))
    }
}

fn session_error(operation: &'static str, error: EngineError) -> SessionError {
    SessionError {
        operation,
        source: std::io::Error::other(error),
    }
}

#[async_trait]
impl Instance for ContainerInstance {
    fn pid(&self) -> Option<u32> {
        self.pid
    }

    fn root_pid(&self) -> Option<u32> {
        self.pid
    }

    fn started_at(&self) -> WallTime {
        self.started_at
    }

    fn declared_health(&self) -> Option<HealthCheck> {
        self.container.image_health.clone()
    }

    async fn contact(&self) -> Option<Lost> {
        self.container.contact.next().await
    }

    async fn wait(&self) -> Ended {
        self.container.ended.wait().await.clone()
    }

    async fn stop(&self) {
        let container = Arc::clone(&self.container);
        Task::spawn(async move { container.stop().await });
    }

    async fn kill(&self) {
        let container = Arc::clone(&self.container);
        Task::spawn(async move { container.kill().await });
    }

    async fn write_stdin(&self, bytes: &[u8]) -> Result<(), SessionError> {
        const OPERATION: &str = "write to stdin";
        let mut stdin = self.stdin.lock().await;
        if stdin.is_none() {
            let attached = self
                .attach()
                .await
                .map_err(|error| session_error(OPERATION, error))?;
            *stdin = Some(attached);
        }
        let Some(open) = stdin.as_mut() else { return Ok(()) };
        let written = bridge::within(async {
            open.write_all(bytes).await?;
            open.flush().await
        });
        if let Err(source) = written.await {
            *stdin = None;
            return Err(SessionError {
                operation: OPERATION,
                source,
            });
        }
        Ok(())
    }

    async fn close_stdin(&self) {
        if self.container.terminal {
            if let Err(error) = self.write_stdin(&[END_OF_INPUT]).await {
                tracing::debug!(container = self.container.name, %error, "cannot end the input of a terminal");
            }
            return;
        }
        // The engine keeps stdin open for whoever attaches next, so that the end of a daemon does not end a stdin.
        *self.stdin.lock().await = None;
    }

    async fn resize(&self, columns: u16, rows: u16) {
        self.container.resize(columns, rows).await;
    }

    async fn signal(&self, signal: i32) -> Result<(), SessionError> {
        let sent = self.container.send(signal).await;
        sent.map_err(|error| session_error("send the signal", error))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::engine::address::Address;

    const IMPROPER: (u16, &str) = (500, r#"{"message": "container state improper: stopped"}"#);
    const DONE: (u16, &str) = (204, "");

    /// An engine that gives these answers to removals. The last one is repeated forever.
    fn engine(dir: &tempfile::TempDir, removals: &'static [(u16, &'static str)]) -> Engine {
        let socket = dir.path().join("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        std::thread::spawn(move || {
            let mut asked = 0;
            for mut stream in listener.incoming().map_while(Result::ok) {
                let lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                let (status, body) = match head.first() {
                    // This connection only checks whether anybody is there.
                    None => continue,
                    Some(request) if request.starts_with("DELETE") => {
                        asked += 1;
                        removals[asked.min(removals.len()) - 1]
                    }
                    Some(_) => (200, r#"{"ApiVersion": "1.41"}"#),
                };
                let length = body.len();
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status} It\r\ncontent-type: application/json\r\nconnection: close\r\n\
                     content-length: {length}\r\n\r\n{body}"
                );
            }
        });
        Engine::at(Address::Socket(socket))
    }

    fn removal(removals: &'static [(u16, &'static str)]) -> Result<(), EngineError> {
        let dir = tempfile::tempdir().unwrap();
        let engine = engine(&dir, removals);
        futures_lite::future::block_on(remove(&engine, "c0", "shop-db"))
    }

    #[test]
    fn a_container_at_which_the_engine_stumbles_is_removed_all_the_same() {
        removal(&[IMPROPER, IMPROPER, DONE]).unwrap();
        removal(&[IMPROPER, (404, r#"{"message": "gone"}"#)]).unwrap();
    }

    #[test]
    fn an_engine_that_goes_on_stumbling_is_quoted() {
        let error = removal(&[IMPROPER]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot remove container shop-db: container state improper: stopped"
        );
    }

    #[test]
    fn a_removal_that_is_refused_is_not_asked_for_again() {
        let error = removal(&[(403, r#"{"message": "not yours"}"#), DONE]).unwrap_err();
        assert!(error.to_string().ends_with("not yours"), "{error}");
    }
}

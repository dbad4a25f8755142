//! What is known of a container, and what an engine is asked about it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use async_channel::Receiver;
use async_io::Timer;
use async_lock::OnceCell;
use bollard::models::{ContainerInspectResponse, ContainerState, ContainerStateStatusEnum};
use bollard::query_parameters::{InspectContainerOptions, RemoveContainerOptions, ResizeContainerTTYOptions};
use harness_model::ProjectName;
use harness_model::spec::HealthCheck;
use service_orchestration::machine::{Ended, Lost};
use service_orchestration::mirror::Destination;

use crate::container::contact::Contact;
use crate::container::stop_policy::StopPolicy;
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

/// What is known of a running container.
pub(crate) struct Container {
    pub(crate) engine: Arc<Engine>,
    pub(crate) networks: Arc<Networks>,
    pub(crate) owner: Owner,
    pub(crate) project: ProjectName,
    pub(crate) id: String,
    pub(crate) name: String,
    /// Where its output goes: its run directory.
    pub(crate) output: Destination,
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

    /// The engine says that the container runs, and in which state.
    pub(crate) fn found(&self, state: &ContainerState) {
        let paused = state.status == Some(ContainerStateStatusEnum::PAUSED);
        let lost = paused.then(|| {
            let name = &self.name;
            Lost::Paused(format!(
                "paused in the engine; resume it with `docker unpause {name}`"
            ))
        });
        if self.contact.change(lost) {
            tracing::info!(
                container = self.name,
                paused,
                "the state of a running container changed"
            );
        }
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

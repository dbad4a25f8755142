//! A running container, as the orchestrator uses it.

use std::pin::Pin;
use std::sync::Arc;

use async_lock::Mutex;
use async_trait::async_trait;
use bollard::query_parameters::AttachContainerOptions;
use futures_lite::{AsyncWrite, AsyncWriteExt};
use harness_model::WallTime;
use harness_model::spec::HealthCheck;
use service_orchestration::executor::{Instance, SessionError};
use service_orchestration::machine::{Ended, Lost};

use crate::container::running::Container;
use crate::engine::EngineError;
use crate::engine::bridge::{self, Task};

/// Keys that nobody types one after the other.
const NO_KEYS: &str = "ctrl-^,ctrl-@,ctrl-^,ctrl-@";

/// The byte that ends the input of a terminal.
const END_OF_INPUT: u8 = 4;

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

//! A session with a command at a host.

use async_trait::async_trait;
use command_executor::host::Input;
use command_executor::{HostError, Managed, ProcessEvent, WindowSize};
use futures_lite::AsyncWriteExt;
use harness_model::ExitStatus;

use super::{Session, SessionError, SessionEvent, SessionStdin};

/// A command of the daemon, with its streams.
pub(super) struct CommandSession {
    /// Taken only by `drop`.
    running: Option<Box<dyn Managed>>,
    ended: bool,
}

impl CommandSession {
    /// A session with this command. Dropping it kills everything of the command. But if the command has ended and
    /// left something in the background, as a shell may do, that stays until the daemon ends.
    pub(super) fn new(running: Box<dyn Managed>) -> Self {
        Self {
            running: Some(running),
            ended: false,
        }
    }

    fn tell(
        &self,
        operation: &'static str,
        how: impl FnOnce(&dyn Managed) -> Result<(), HostError<std::io::Error>>,
    ) -> Result<(), SessionError> {
        let told = self.running.as_deref().map_or(Ok(()), how);
        told.map_err(|error| SessionError {
            operation,
            source: match error {
                HostError::Failed(source) => source,
                error => std::io::Error::other(error),
            },
        })
    }
}

impl Drop for CommandSession {
    fn drop(&mut self) {
        if self.ended
            && let Some(running) = self.running.take()
        {
            running.detach();
        }
    }
}

#[async_trait]
impl Session for CommandSession {
    fn take_stdin(&mut self) -> Option<Box<dyn SessionStdin>> {
        let stdin = self.running.as_mut()?.take_stdin()?;
        Some(Box::new(CommandStdin(stdin)))
    }

    async fn next(&mut self) -> Option<SessionEvent> {
        Some(match self.running.as_mut()?.next_event().await {
            Ok(Some(ProcessEvent::Stdout(bytes))) => SessionEvent::Stdout(bytes),
            Ok(Some(ProcessEvent::Stderr(bytes))) => SessionEvent::Stderr(bytes),
            Ok(Some(ProcessEvent::Exited(status))) => {
                self.ended = true;
                SessionEvent::Exited(exit_status(status))
            }
            Ok(None) => return None,
            Err(error) => {
                tracing::warn!(%error, "lost track of a command");
                return None;
            }
        })
    }

    fn resize(&self, columns: u16, rows: u16) -> Result<(), SessionError> {
        let size = WindowSize { cols: columns, rows };
        self.tell("resize the terminal", |running| running.resize(size))
    }

    fn signal(&self, signal: i32) -> Result<(), SessionError> {
        self.tell("send the signal", |running| running.signal_group(signal))
    }
}

struct CommandStdin(Input);

#[async_trait]
impl SessionStdin for CommandStdin {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), SessionError> {
        self.0.write_all(bytes).await.map_err(|source| SessionError {
            operation: "write to stdin",
            source,
        })
    }
}

/// Converts the standard library's status into ours.
pub(super) fn exit_status(status: std::process::ExitStatus) -> ExitStatus {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => ExitStatus::Code(code),
        (None, Some(signal)) => ExitStatus::Signal(signal),
        // Neither means stopped or continued, which waiting for an end never reports.
        (None, None) => ExitStatus::Code(-1),
    }
}

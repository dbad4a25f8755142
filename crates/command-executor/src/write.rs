//! Uses the shim to write a file with the rights of a service's user.

use std::path::Path;
use std::time::Duration;

use futures_lite::{AsyncWriteExt, future};

pub(crate) use harness_shim::write::Options;

use crate::command::{Command, StdinMode};
use crate::local::Local;
use crate::patience::pass;
use crate::process::{ProcessEvent, SpawnError};

/// How long one file may take. Its folder may be on a file system that does not answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// How much is kept of the shim's messages.
const WORDS: usize = 4096;

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The shim could not be started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// The shim could not be followed to its end.
    #[error("cannot follow the process that writes it")]
    Follow(#[source] std::io::Error),
    /// It did not end in time.
    #[error("it was not written within {}s", .0.as_secs())]
    Late(Duration),
    /// The reason that the shim gives.
    #[error("{0}")]
    Refused(String),
}

/// Writes a file for a user, as `harness-shim write` does; see [`harness_shim::write`].
///
/// # Errors
/// When it could not be written.
pub(crate) async fn write(
    host: &Local,
    options: &Options,
    target: &Path,
    content: &[u8],
) -> Result<(), WriteError> {
    let command = Command::new(host.shim())
        .args(options.arguments())
        .clear_env()
        .cwd("/")
        .stdin(StdinMode::Piped);
    let mut running = host.spawn(command)?;
    let stdin = running.take_stdin();
    let message = harness_shim::write::message(target, content);
    let send = async {
        if let Some(mut stdin) = stdin {
            // If it has ended, it has said why.
            let _ = stdin.write_all(&message).await;
        }
        future::pending().await
    };
    let ended = async {
        let mut said = Vec::new();
        loop {
            match running.next_event().await.map_err(WriteError::Follow)? {
                Some(ProcessEvent::Stderr(bytes)) if said.len() < WORDS => said.extend(bytes),
                Some(ProcessEvent::Exited(status)) if status.success() => return Ok(()),
                Some(ProcessEvent::Exited(status)) => {
                    let said = String::from_utf8_lossy(&said).trim().to_owned();
                    let why = match said.is_empty() {
                        true => format!("the process that writes it ended with {status}"),
                        false => said,
                    };
                    return Err(WriteError::Refused(why));
                }
                Some(_) => {}
                None => {
                    return Err(WriteError::Refused(
                        "the process that writes it is gone".to_owned(),
                    ));
                }
            }
        }
    };
    let late = async {
        pass(PATIENCE).await;
        Err(WriteError::Late(PATIENCE))
    };
    // Dropping the command kills what is still there.
    future::or(future::or(ended, send), late).await
}

//! Lines that are not complete yet, such as prompts: the engine's log has a line only when it is complete, its attached
//! stream has it at once.
//!
//! ```text
//!  attached ──▶ unfinished line ──(quiet, and the log has all lines before it)──▶ Pump::show
//!  log      ──▶ the whole line ──▶ what of it was not shown
//! ```
//!
//! The log stays the truth: what is attached to is lost with each daemon. Only services that are typed to are attached
//! to, and those of which somebody waits for a line, while they start: an engine holds a program up whose attached
//! stream nobody reads.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use blocking::unblock;
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::query_parameters::AttachContainerOptions;
use futures_lite::{FutureExt, StreamExt};
use harness_shim::log::Stream;

use crate::output::Output;

/// How long an unfinished line waits for more of it, or for the log.
const QUIET: Duration = Duration::from_millis(60);

/// The longest line that is shown unfinished; the engine passes on longer ones in pieces.
pub(crate) const LONGEST: usize = 8 << 10;

/// What was seen of a stream.
#[derive(Default)]
struct Seen {
    /// The line that is not complete.
    line: Vec<u8>,
    /// The last one that was.
    before: Vec<u8>,
    /// Lines completed; `None` until it is known where in the log this is.
    completed: Option<u64>,
}

/// What a container says, as it says it.
pub(crate) type Attached = Pin<Box<dyn futures_lite::Stream<Item = Result<LogOutput, Error>> + Send>>;

/// Attaches to a container, which may have to be started yet.
pub(crate) async fn attach(docker: &Docker, id: &str) -> Result<Attached, Error> {
    let options = AttachContainerOptions {
        stdout: true,
        stderr: true,
        stream: true,
        ..AttachContainerOptions::default()
    };
    Ok(docker.attach_container(id, Some(options)).await?.output)
}

/// Shows unfinished lines until the stream ends. `from_start` tells that nothing was said before.
pub(crate) async fn follow(output: &Arc<Output>, mut attached: Attached, from_start: bool) {
    let new = || Seen {
        completed: from_start.then_some(0),
        ..Seen::default()
    };
    let mut seen = [(Stream::Stdout, new()), (Stream::Stderr, new())];
    loop {
        let waiting = seen.iter().any(|(_, seen)| seen.is_waiting());
        let piece = async { Some(attached.next().await) };
        let quiet = async {
            if !waiting {
                return futures_lite::future::pending().await;
            }
            Timer::after(QUIET).await;
            None
        };
        match piece.or(quiet).await {
            Some(Some(Ok(piece))) => {
                let (at, bytes) = match piece {
                    LogOutput::StdErr { message } => (1, message),
                    LogOutput::StdOut { message } | LogOutput::Console { message } => (0, message),
                    LogOutput::StdIn { .. } => continue,
                };
                seen[at].1.take(&bytes);
            }
            Some(_) => return,
            None => {
                for (stream, seen) in &mut seen {
                    let (output, stream) = (Arc::clone(output), *stream);
                    let (line, before, completed) = (seen.line.clone(), seen.before.clone(), seen.completed);
                    seen.completed =
                        unblock(move || output.with(|pump| pump.show(stream, &line, &before, completed)))
                            .await;
                }
            }
        }
    }
}

impl Seen {
    fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.line.len() <= LONGEST {
                self.line.extend_from_slice(piece);
            }
            if piece.ends_with(b"\n") {
                self.before = std::mem::take(&mut self.line);
                self.completed = self.completed.map(|completed| completed + 1);
            }
        }
    }

    /// Whether there may be something to show.
    fn is_waiting(&self) -> bool {
        !self.line.is_empty() && self.line.len() <= LONGEST
    }
}

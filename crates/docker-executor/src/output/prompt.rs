//! Lines that are not complete yet, such as prompts. The engine's log has a line only when it is complete; the
//! attached stream has it at once.
//!
//! ```text
//!  attached ──▶ unfinished line ──(quiet, and the log has all lines before it)──▶ Timed::show
//!  log      ──▶ the whole line ──▶ the part that was not shown
//! ```
//!
//! The log is the truth, because the attached stream ends with each daemon. A stream is attached only for services
//! that people type to and, while they start, for services with a line that somebody waits for: if nobody reads an
//! attached stream, the engine blocks the program.

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
use service_orchestration::mirror::{LONGEST_AHEAD, Mirror, Stream, Timed};

/// How long an unfinished line waits for more text, or for the log.
const QUIET: Duration = Duration::from_millis(60);

/// What was seen of a stream.
#[derive(Default)]
struct Seen {
    /// The line that is not complete.
    line: Vec<u8>,
    /// The last complete line.
    before: Vec<u8>,
    /// The number of complete lines; `None` until the place in the log is known.
    completed: Option<u64>,
}

/// The output of a container, as it is written.
pub(crate) type Attached = Pin<Box<dyn futures_lite::Stream<Item = Result<LogOutput, Error>> + Send>>;

/// Attaches to a container, which may not have started yet.
pub(crate) async fn attach(docker: &Docker, id: &str) -> Result<Attached, Error> {
    let options = AttachContainerOptions {
        stdout: true,
        stderr: true,
        stream: true,
        ..AttachContainerOptions::default()
    };
    Ok(docker.attach_container(id, Some(options)).await?.output)
}

/// Shows unfinished lines until the stream ends. `from_start` says that there was no output before.
pub(crate) async fn follow(output: &Arc<Mirror<Timed>>, mut attached: Attached, from_start: bool) {
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
                        unblock(move || output.with(|log| log.show(stream, &line, &before, completed))).await;
                }
            }
        }
    }
}

impl Seen {
    fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.line.len() <= LONGEST_AHEAD {
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
        !self.line.is_empty() && self.line.len() <= LONGEST_AHEAD
    }
}

//! Runs a command until it ends, or something else happens.

use std::collections::VecDeque;
use std::io;
use std::process::ExitStatus;

use futures_lite::future;

use crate::host::{HostError, Managed};
use crate::process::ProcessEvent;

/// How many bytes of each stream [`run_until`] keeps: the last 256 KiB.
pub const OUTPUT_TAIL: usize = 256 * 1024;

/// Follows a command until it ends or `expired` completes; in the second case everything of it is gone when this
/// returns. Its stdin is empty, and the tail of its output is kept. Dropping this future kills everything of it.
///
/// # Errors
/// When its output cannot be read, or something of it does not end.
pub async fn run_until(
    mut running: Box<dyn Managed>,
    expired: impl Future<Output = ()>,
) -> Result<Ran, HostError<io::Error>> {
    // Nobody will write to it, so it reads end of file.
    drop(running.take_stdin());
    let mut stdout = Tail::default();
    let mut stderr = Tail::default();
    let drain = async {
        loop {
            match running.next_event().await? {
                Some(ProcessEvent::Stdout(bytes)) => stdout.push(&bytes),
                Some(ProcessEvent::Stderr(bytes)) => stderr.push(&bytes),
                Some(ProcessEvent::Exited(status)) => return Ok(Some(status)),
                // Its exit is reported before that.
                None => return Err(HostError::Failed(io::ErrorKind::UnexpectedEof.into())),
            }
        }
    };
    let expired = async {
        expired.await;
        Ok(None)
    };
    let status = future::or(drain, expired).await?;
    let rest = match status {
        Some(_) => Some(running),
        None => {
            running.end().await?;
            None
        }
    };
    Ok(Ran {
        status,
        stdout: stdout.into(),
        stderr: stderr.into(),
        rest,
    })
}

/// What became of a command that ran until it ended or something else happened.
#[derive(Debug)]
pub struct Ran {
    /// How it ended; `None` if it was killed.
    pub status: Option<ExitStatus>,
    /// What it wrote to stdout.
    pub stdout: TailBytes,
    /// What it wrote to stderr.
    pub stderr: TailBytes,
    /// What it left behind, if anything. Dropping this ends it.
    pub rest: Option<Box<dyn Managed>>,
}

/// The last bytes of a stream, at most [`OUTPUT_TAIL`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TailBytes {
    /// The bytes kept.
    pub bytes: Vec<u8>,
    /// How many bytes before them were dropped.
    pub dropped: u64,
}

impl TailBytes {
    /// The bytes as text. Invalid UTF-8 is replaced.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }
}

/// The last [`OUTPUT_TAIL`] bytes of everything that is pushed.
#[derive(Default)]
struct Tail {
    kept: VecDeque<u8>,
    dropped: u64,
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.kept.extend(bytes);
        let excess = self.kept.len().saturating_sub(OUTPUT_TAIL);
        self.kept.drain(..excess);
        self.dropped += excess as u64;
    }
}

impl From<Tail> for TailBytes {
    fn from(tail: Tail) -> Self {
        Self {
            bytes: tail.kept.into(),
            dropped: tail.dropped,
        }
    }
}

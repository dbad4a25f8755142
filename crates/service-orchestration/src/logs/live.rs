//! The output of one generation as it is written, uncut but without secrets. A prompt without a newline comes at
//! once.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use async_io::Timer;
use command_executor::logs::{FollowError, LogFrom, Read, ReadItem, RecordFollower, Stream};
use futures_lite::FutureExt;
use harness_model::{RedactingStream, Redactor};

/// How much is read at a time, in bytes.
const BATCH: usize = 64 << 10;

/// How long text that may be the beginning of a secret is held back when nothing follows.
const PAUSE: Duration = Duration::from_millis(100);

/// What a running service writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// To its stdout or terminal.
    Stdout(Vec<u8>),
    /// To its stderr.
    Stderr(Vec<u8>),
    /// Output is missing here: the reader was too slow, or the disk full.
    Gap {
        /// How many lines are missing; 0 if only a part of one is.
        lines: u64,
    },
}

/// Follows what a generation writes from now on.
#[derive(Debug)]
pub struct LiveOutput {
    records: RecordFollower,
    stdout: RedactingStream,
    stderr: RedactingStream,
    pending: VecDeque<Output>,
}

impl LiveOutput {
    /// Begins with output that is written after this returns.
    ///
    /// # Errors
    /// When the run directory cannot be watched, or its log cannot be read.
    pub async fn open(run_dir: &Path, redactor: &Redactor) -> Result<Self, FollowError> {
        let mut live = Self {
            records: RecordFollower::new(run_dir, LogFrom::End)?,
            stdout: RedactingStream::new(redactor.clone()),
            stderr: RedactingStream::new(redactor.clone()),
            pending: VecDeque::new(),
        };
        // The first read finds the current end.
        if let Read::Items(items) = live.records.read(BATCH).await? {
            live.take(items);
        }
        Ok(live)
    }

    /// The next bytes; `None` when the generation has ended and everything was returned. Cancelling the future loses
    /// nothing.
    ///
    /// # Errors
    /// When the log or the state of the run cannot be read.
    pub async fn next(&mut self) -> Result<Option<Output>, FollowError> {
        loop {
            if let Some(output) = self.pending.pop_front() {
                return Ok(Some(output));
            }
            match self.records.read(BATCH).await? {
                Read::Items(items) => self.take(items),
                Read::CaughtUp => self.changed().await,
                Read::Over => {
                    self.finish();
                    if self.pending.is_empty() {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Waits for more. After a while it shows text that was held back.
    async fn changed(&mut self) {
        if !self.stdout.is_waiting() && !self.stderr.is_waiting() {
            return self.records.changed().await;
        }
        let more = async {
            self.records.changed().await;
            true
        };
        let paused = async {
            Timer::after(PAUSE).await;
            false
        };
        if !more.or(paused).await {
            let (out, err) = (self.stdout.pause(), self.stderr.pause());
            self.tell(out, err);
        }
    }

    fn finish(&mut self) {
        let (out, err) = (self.stdout.finish(), self.stderr.finish());
        self.tell(out, err);
    }

    fn tell(&mut self, out: Vec<u8>, err: Vec<u8>) {
        let output = [Output::Stdout(out), Output::Stderr(err)];
        let said = |output: &Output| !matches!(output, Output::Stdout(b) | Output::Stderr(b) if b.is_empty());
        self.pending.extend(output.into_iter().filter(said));
    }

    fn take(&mut self, items: Vec<ReadItem>) {
        for item in items {
            match item {
                ReadItem::Record(record) => match record.stream {
                    Stream::Stdout => {
                        let out = self.stdout.push(record.data);
                        self.tell(out, Vec::new());
                    }
                    Stream::Stderr => {
                        let err = self.stderr.push(record.data);
                        self.tell(Vec::new(), err);
                    }
                },
                ReadItem::Gap { lines, .. } => {
                    self.finish();
                    self.pending.push_back(Output::Gap { lines });
                }
                ReadItem::End => {}
            }
        }
    }
}

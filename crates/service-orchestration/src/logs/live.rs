//! The output of one generation as it is written, uncut: prompts without a newline come at once.

use std::collections::VecDeque;
use std::path::Path;

use command_executor::logs::{FollowError, LogFrom, Read, ReadItem, RecordFollower, Stream};

/// How much is read at a time, in bytes.
const BATCH: usize = 64 << 10;

/// What a running service writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// To its stdout or terminal.
    Stdout(Vec<u8>),
    /// To its stderr.
    Stderr(Vec<u8>),
    /// Output is missing here: the reader was too slow, or the disk full.
    Gap {
        /// How many lines; 0 when only a part of one is.
        lines: u64,
    },
}

/// Follows what a generation writes from now on.
#[derive(Debug)]
pub struct LiveOutput {
    records: RecordFollower,
    pending: VecDeque<Output>,
}

impl LiveOutput {
    /// Begins with what is written after this returns.
    ///
    /// # Errors
    /// When the run directory cannot be watched or its log not be read.
    pub async fn open(run_dir: &Path) -> Result<Self, FollowError> {
        let mut live = Self {
            records: RecordFollower::new(run_dir, LogFrom::End)?,
            pending: VecDeque::new(),
        };
        // The first read finds the present end.
        if let Read::Items(items) = live.records.read(BATCH).await? {
            live.take(items);
        }
        Ok(live)
    }

    /// The next bytes; `None` when the generation has ended and everything was told. Cancelling the future
    /// loses nothing.
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
                Read::CaughtUp => self.records.changed().await,
                Read::Over => return Ok(None),
            }
        }
    }

    fn take(&mut self, items: Vec<ReadItem>) {
        for item in items {
            match item {
                ReadItem::Record(record) => self.pending.push_back(match record.stream {
                    Stream::Stdout => Output::Stdout(record.data),
                    Stream::Stderr => Output::Stderr(record.data),
                }),
                ReadItem::Gap { lines, .. } => self.pending.push_back(Output::Gap { lines }),
                ReadItem::End => {}
            }
        }
    }
}

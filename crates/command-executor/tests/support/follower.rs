//! Reads the log of a run line by line, as readers of the crate do.

use std::collections::VecDeque;
use std::path::PathBuf;

use command_executor::logs::{FollowError, GapCause, Line, Lines, LogFrom, Read, ReadItem, RecordFollower};

const BATCH: usize = 64 * 1024;

/// An item that a follower finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FollowItem {
    /// A line.
    Line(Line),
    /// Output is missing here.
    Gap {
        /// How many lines are missing; 0 if only a part of one is.
        lines: u64,
        /// Why they are missing.
        cause: GapCause,
    },
    /// The run is over and everything was returned. Without following: everything that existed was returned.
    End,
}

/// Reads the log of a run line by line, while it grows and rotates.
#[derive(Debug)]
pub(crate) struct LogFollower {
    records: RecordFollower,
    lines: Lines,
    pending: VecDeque<FollowItem>,
    since: u64,
    /// How many lines at the current end are wanted, until that end has been reached.
    tail: Option<u64>,
    ended: bool,
}

impl LogFollower {
    /// Follows a log from its start until the run is over.
    ///
    /// # Errors
    /// When the run directory cannot be watched.
    pub(crate) fn open(run_dir: impl Into<PathBuf>) -> Result<Self, FollowError> {
        Self::new(run_dir, LogFrom::Start)
    }

    /// Follows a log from a given point until the run is over.
    ///
    /// # Errors
    /// When the run directory cannot be watched.
    pub(crate) fn new(run_dir: impl Into<PathBuf>, from: LogFrom) -> Result<Self, FollowError> {
        Ok(Self::of(RecordFollower::new(run_dir, from)?, from))
    }

    /// Reads what exists and does not wait for more.
    pub(crate) fn existing(run_dir: impl Into<PathBuf>, from: LogFrom) -> Self {
        Self::of(RecordFollower::existing(run_dir, from), from)
    }

    fn of(records: RecordFollower, from: LogFrom) -> Self {
        let (since, tail) = match from {
            LogFrom::Start | LogFrom::Record(_) | LogFrom::End => (0, None),
            LogFrom::Tail(lines) => (0, Some(lines)),
            LogFrom::Since(time_ns) => (time_ns, None),
        };
        Self {
            records,
            lines: Lines::new(),
            pending: VecDeque::new(),
            since,
            tail,
            ended: false,
        }
    }

    /// The next line or gap, then [`FollowItem::End`] forever. Cancelling the future loses nothing.
    ///
    /// # Errors
    /// When the log or the state of the run cannot be read.
    pub(crate) async fn next(&mut self) -> Result<FollowItem, FollowError> {
        loop {
            if self.tail.is_none() {
                if let Some(item) = self.pending.pop_front() {
                    return Ok(item);
                }
                if self.ended {
                    return Ok(FollowItem::End);
                }
            }
            match self.records.read(BATCH).await? {
                Read::Items(items) => self.cut(items),
                Read::CaughtUp if self.tail.take().is_some() => {}
                Read::CaughtUp => self.records.changed().await,
                Read::Over => {
                    self.tail = None;
                    self.ended = true;
                    self.flush();
                }
            }
        }
    }

    fn cut(&mut self, items: Vec<ReadItem>) {
        for item in items {
            match item {
                ReadItem::Record(record) => self.lines.push(&record, |line| {
                    if line.time_ns >= self.since {
                        self.pending.push_back(FollowItem::Line(line));
                    }
                }),
                ReadItem::Gap { lines, cause } => {
                    self.flush();
                    self.pending.push_back(FollowItem::Gap { lines, cause });
                }
                ReadItem::End => {}
            }
        }
        if let Some(wanted) = self.tail {
            self.keep_last(wanted);
        }
    }

    /// Passes on the unfinished lines, which nothing will finish.
    fn flush(&mut self) {
        self.lines.flush(|line| {
            if line.time_ns >= self.since {
                self.pending.push_back(FollowItem::Line(line));
            }
        });
    }

    fn keep_last(&mut self, wanted: u64) {
        let is_line = |item: &&FollowItem| matches!(item, FollowItem::Line(_));
        let mut lines = self.pending.iter().filter(is_line).count() as u64;
        while lines > wanted {
            if let Some(FollowItem::Line(_)) = self.pending.pop_front() {
                lines -= 1;
            }
        }
    }
}

//! Follows the log of a run directory. It sleeps until inotify reports something new.
//!
//! A follower ends when the run is over and everything that it wrote was read. The last read begins *after* the run
//! is known to be over, so that nothing written in between is missed.

mod records;
mod watch;

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;

pub use harness_shim::log::{GapCause, Line, Lines, LogError, MAX_LINE, ReadItem, Record, Stream};
pub use harness_shim::run_dir::RunDirError;
pub use records::{Read, RecordFollower};

/// How much is read at a time, in bytes.
const BATCH: usize = 64 * 1024;

/// Where to begin in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFrom {
    /// With the first line that exists.
    Start,
    /// With this many of the last lines.
    Tail(u64),
    /// With the first line at or after this moment, in nanoseconds since the Unix epoch.
    Since(u64),
    /// With what is written from now on.
    End,
}

/// An item that a follower finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowItem {
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

/// Why a log cannot be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// The run directory cannot be watched for changes.
    #[error("cannot watch {} for changes", path.display())]
    Watch {
        /// The path of the run directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The log cannot be read.
    #[error("cannot read the log")]
    Log(#[from] LogError),
    /// The state of the run cannot be read, so it is unknown whether the run is over.
    #[error("cannot find out whether the run is over")]
    RunDir(#[from] RunDirError),
}

impl FollowError {
    /// Whether the run directory or its log does not exist: not yet, or not any more.
    pub fn is_not_found(&self) -> bool {
        let source = match self {
            Self::Watch { source, .. }
            | Self::Log(LogError { source, .. })
            | Self::RunDir(RunDirError::Io { source, .. }) => source,
            Self::RunDir(_) => return false,
        };
        source.kind() == io::ErrorKind::NotFound
    }
}

/// Reads the log of a run line by line, while it grows and rotates.
#[derive(Debug)]
pub struct LogFollower {
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
    pub fn open(run_dir: impl Into<PathBuf>) -> Result<Self, FollowError> {
        Self::new(run_dir, LogFrom::Start)
    }

    /// Follows a log from a given point until the run is over.
    ///
    /// # Errors
    /// When the run directory cannot be watched.
    pub fn new(run_dir: impl Into<PathBuf>, from: LogFrom) -> Result<Self, FollowError> {
        Ok(Self::of(RecordFollower::new(run_dir, from)?, from))
    }

    /// Reads what exists and does not wait for more.
    pub fn existing(run_dir: impl Into<PathBuf>, from: LogFrom) -> Self {
        Self::of(RecordFollower::existing(run_dir, from), from)
    }

    fn of(records: RecordFollower, from: LogFrom) -> Self {
        let (since, tail) = match from {
            LogFrom::Start | LogFrom::End => (0, None),
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
    pub async fn next(&mut self) -> Result<FollowItem, FollowError> {
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

/// The last `lines` lines of a log, including an unfinished one.
///
/// # Errors
/// When the log cannot be read.
pub async fn last_lines(run_dir: impl Into<PathBuf>, lines: u64) -> Result<Vec<Line>, FollowError> {
    let mut follower = LogFollower::existing(run_dir, LogFrom::Tail(lines));
    let mut found = VecDeque::new();
    loop {
        match follower.next().await? {
            FollowItem::Line(line) => found.push_back(line),
            FollowItem::Gap { .. } => {}
            FollowItem::End => {
                let excess = found
                    .len()
                    .saturating_sub(usize::try_from(lines).unwrap_or(usize::MAX));
                return Ok(found.into_iter().skip(excess).collect());
            }
        }
    }
}

//! Following the log of a run directory, asleep until inotify tells of something new.
//!
//! A follower ends when the run is over and everything it wrote was read. Whether it is over is asked *before*
//! the read that finds nothing more, so that nothing written in between is missed.

mod watch;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_io::Timer;
use blocking::unblock;

use harness_shim::log::{Lines, ReadItem, Reader};
use harness_shim::run_dir::{LOG_DIR, LockState, RunDir, RunDirError};

use watch::{Change, Watch};

pub use harness_shim::log::{GapCause, Line, LogError, Stream};

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFrom {
    /// With the first line there is.
    Start,
    /// With the last so many lines.
    Tail(u64),
    /// With the first line at or after this moment, in nanoseconds since the Unix epoch.
    Since(u64),
}

/// What a follower finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowItem {
    /// A line.
    Line(Line),
    /// Output is missing here.
    Gap {
        /// How many lines; 0 when only a part of one is.
        lines: u64,
        /// Why.
        cause: GapCause,
    },
    /// The run is over and everything was told; or everything that was there, when not following.
    End,
}

/// A log that cannot be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// The run directory cannot be watched for changes.
    #[error("cannot watch {} for changes", path.display())]
    Watch {
        /// The run directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The log cannot be read.
    #[error("cannot read the log")]
    Log(#[from] LogError),
    /// The state of the run cannot be read.
    #[error("cannot tell whether the run is over")]
    RunDir(#[from] RunDirError),
}

/// Reads the log of a run line by line while it grows and rotates.
#[derive(Debug)]
pub struct LogFollower {
    run_dir: PathBuf,
    from: LogFrom,
    /// `None`: it does not wait for more.
    watch: Option<Watch>,
    /// The lock was seen being closed, and not yet waited for.
    lock_closing: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nothing read yet.
    New,
    /// Reading on.
    Open(Box<Cursor>),
    /// `End` has been told.
    Ended,
}

/// Where a follower is.
#[derive(Debug)]
struct Cursor {
    reader: Reader,
    lines: Lines,
    pending: VecDeque<FollowItem>,
    since: u64,
}

impl LogFollower {
    /// Follows a log from its start until the run is over.
    ///
    /// # Errors
    /// When the run directory cannot be watched.
    pub fn open(run_dir: impl Into<PathBuf>) -> Result<Self, FollowError> {
        Self::new(run_dir, LogFrom::Start)
    }

    /// Follows a log from some point on until the run is over.
    ///
    /// # Errors
    /// When the run directory cannot be watched.
    pub fn new(run_dir: impl Into<PathBuf>, from: LogFrom) -> Result<Self, FollowError> {
        let run_dir = run_dir.into();
        let watch = Watch::new(&run_dir).map_err(|source| FollowError::Watch {
            path: run_dir.clone(),
            source,
        })?;
        Ok(Self {
            run_dir,
            from,
            watch: Some(watch),
            lock_closing: false,
            state: State::New,
        })
    }

    /// Reads what is there and does not wait for more.
    pub fn existing(run_dir: impl Into<PathBuf>, from: LogFrom) -> Self {
        Self {
            run_dir: run_dir.into(),
            from,
            watch: None,
            lock_closing: false,
            state: State::New,
        }
    }

    /// The next line or gap; `End` once, and from then on. Cancelling the future loses nothing.
    ///
    /// # Errors
    /// When the log or the state of the run cannot be read.
    pub async fn next(&mut self) -> Result<FollowItem, FollowError> {
        loop {
            let cursor = match &mut self.state {
                State::Ended => return Ok(FollowItem::End),
                State::Open(cursor) => cursor,
                State::New => {
                    let (dir, from) = (self.run_dir.join(LOG_DIR), self.from);
                    self.state = State::Open(Box::new(unblock(move || Cursor::open(dir, from)).await?));
                    continue;
                }
            };
            if let Some(item) = cursor.pending.pop_front() {
                return Ok(item);
            }
            if self.lock_closing {
                released(&self.run_dir).await?;
                self.lock_closing = false;
            }
            let over = match &self.watch {
                Some(_) => is_over(&self.run_dir)?,
                None => true,
            };
            if cursor.advance()? {
                continue;
            }
            match &self.watch {
                Some(watch) if !over => self.lock_closing = watch.changed().await == Change::LockClosing,
                _ => {
                    cursor.finish();
                    if cursor.pending.is_empty() {
                        self.state = State::Ended;
                    }
                }
            }
        }
    }
}

/// The last `lines` lines of a log, the unfinished one included.
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

/// How long a lock that is being closed may take to be free.
const CLOSING: Duration = Duration::from_secs(1);

/// Waits until a lock that is being closed is free.
async fn released(run_dir: &Path) -> Result<(), RunDirError> {
    let mut pause = Duration::from_millis(1);
    while pause < CLOSING && !is_over(run_dir)? {
        Timer::after(pause).await;
        pause *= 2;
    }
    Ok(())
}

/// Whether nothing will be written to the log any more.
fn is_over(run_dir: &Path) -> Result<bool, RunDirError> {
    Ok(RunDir::open(run_dir)?.lock_state()? == LockState::Free)
}

impl Cursor {
    /// Opens a log and, for a tail, reads up to its present end to know which lines are the last.
    fn open(dir: PathBuf, from: LogFrom) -> Result<Self, LogError> {
        let reader = match from {
            LogFrom::Start => Reader::open(dir)?,
            LogFrom::Tail(lines) => Reader::open_tail(dir, lines)?,
            LogFrom::Since(time_ns) => Reader::open_since(dir, time_ns)?,
        };
        let mut cursor = Self {
            reader,
            lines: Lines::new(),
            pending: VecDeque::new(),
            since: match from {
                LogFrom::Since(time_ns) => time_ns,
                LogFrom::Start | LogFrom::Tail(_) => 0,
            },
        };
        if let LogFrom::Tail(lines) = from {
            while cursor.advance()? {
                cursor.keep_last(lines);
            }
        }
        Ok(cursor)
    }

    /// Reads one record or gap; `false` when there is nothing more for now.
    fn advance(&mut self) -> Result<bool, LogError> {
        let Self {
            reader,
            lines,
            pending,
            since,
        } = self;
        let sink = |line: Line| {
            if line.time_ns >= *since {
                pending.push_back(FollowItem::Line(line));
            }
        };
        match reader.next()? {
            ReadItem::Record(record) => lines.push(&record, sink),
            ReadItem::Gap { lines: count, cause } => {
                lines.flush(sink);
                pending.push_back(FollowItem::Gap { lines: count, cause });
            }
            ReadItem::End => return Ok(false),
        }
        Ok(true)
    }

    /// Tells the unfinished lines: nothing will finish them.
    fn finish(&mut self) {
        let Self {
            lines,
            pending,
            since,
            ..
        } = self;
        lines.flush(|line| {
            if line.time_ns >= *since {
                pending.push_back(FollowItem::Line(line));
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

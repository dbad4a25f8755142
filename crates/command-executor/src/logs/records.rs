//! Following the records of a run: its output as it was read, not yet cut into lines.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_io::Timer;
use blocking::{Task, unblock};

use harness_shim::log::{LogError, ReadItem, Reader};
use harness_shim::run_dir::{LOG_DIR, LockState, RunDir, RunDirError};

use super::watch::{Change, Watch};
use super::{FollowError, LogFrom};

/// How long a lock that is being closed may take to be free.
const CLOSING: Duration = Duration::from_secs(1);

/// What [`RecordFollower::read`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// At least one record or gap, never [`ReadItem::End`].
    Items(Vec<ReadItem>),
    /// Nothing more so far.
    CaughtUp,
    /// Nothing more, and nobody who could write more; or everything that is there, when not following.
    Over,
}

/// Reads the records of a run in batches while they are written.
///
/// ```text
///   read ──▶ Items ──▶ read …
///        ──▶ CaughtUp ──▶ changed ──▶ read …
///        ──▶ Over          a later read looks again: a run whose start was seen half-way may begin yet
/// ```
///
/// Whether the run is over is asked *before* the read that finds nothing more, so that nothing written in
/// between is missed.
#[derive(Debug)]
pub struct RecordFollower {
    run_dir: PathBuf,
    from: LogFrom,
    /// `None`: it does not wait for more.
    watch: Option<Watch>,
    /// The lock was seen being closed, and not yet waited for.
    lock_closing: bool,
    /// `None` before the first read, and while one is under way.
    reader: Option<Box<Reader>>,
    reading: Option<Task<Finished>>,
}

/// A reader that comes back from reading, and what it found.
type Finished = (Option<Box<Reader>>, Result<Read, FollowError>);

impl RecordFollower {
    /// Follows the records of a run from some point on. For [`LogFrom::Tail`] and [`LogFrom::Since`] it begins
    /// somewhat earlier, so that the first line asked for is whole.
    ///
    /// # Errors
    /// When the run directory cannot be watched.
    pub fn new(run_dir: impl Into<PathBuf>, from: LogFrom) -> Result<Self, FollowError> {
        let run_dir = run_dir.into();
        let watch = Watch::new(&run_dir).map_err(|source| FollowError::Watch {
            path: run_dir.clone(),
            source,
        })?;
        Ok(Self::with(run_dir, from, Some(watch)))
    }

    /// Reads what is there and does not wait for more.
    pub fn existing(run_dir: impl Into<PathBuf>, from: LogFrom) -> Self {
        Self::with(run_dir.into(), from, None)
    }

    fn with(run_dir: PathBuf, from: LogFrom, watch: Option<Watch>) -> Self {
        Self {
            run_dir,
            from,
            watch,
            lock_closing: false,
            reader: None,
            reading: None,
        }
    }

    /// Reads on, in another thread, until about `max_bytes` are together or there is nothing more. Cancelling
    /// the future loses nothing.
    ///
    /// # Errors
    /// When the log or the state of the run cannot be read.
    pub async fn read(&mut self, max_bytes: usize) -> Result<Read, FollowError> {
        if self.lock_closing {
            released(&self.run_dir).await?;
            self.lock_closing = false;
        }
        let Self {
            run_dir,
            from,
            watch,
            reader,
            reading,
            ..
        } = self;
        let task = reading.get_or_insert_with(|| {
            let (reader, run_dir, from) = (reader.take(), run_dir.clone(), *from);
            let follows = watch.is_some();
            unblock(move || read(reader, &run_dir, from, follows, max_bytes))
        });
        let (came_back, read) = task.await;
        *reading = None;
        *reader = came_back;
        read
    }

    /// Waits for a change since the last call, or since the beginning; without end when not following.
    /// Cancelling the future loses nothing.
    pub async fn changed(&mut self) {
        match &self.watch {
            Some(watch) => self.lock_closing |= watch.changed().await == Change::LockClosing,
            None => futures_lite::future::pending().await,
        }
    }
}

/// One batch; blocks.
fn read(
    reader: Option<Box<Reader>>,
    run_dir: &Path,
    from: LogFrom,
    follows: bool,
    max_bytes: usize,
) -> Finished {
    let over = if follows { is_over(run_dir) } else { Ok(true) };
    let over = match over {
        Ok(over) => over,
        Err(error) => return (reader, Err(error.into())),
    };
    let (mut items, mut bytes) = (Vec::new(), 0);
    let opened = reader.map_or_else(|| open(run_dir.join(LOG_DIR), from, &mut items).map(Box::new), Ok);
    let mut reader = match opened {
        Ok(reader) => reader,
        Err(error) => return (None, Err(error.into())),
    };
    while bytes < max_bytes {
        match reader.next() {
            Ok(ReadItem::End) => break,
            Ok(item) => {
                if let ReadItem::Record(record) = &item {
                    bytes += record.data.len();
                }
                items.push(item);
            }
            // It comes again with the next read.
            Err(_) if !items.is_empty() => break,
            Err(error) => return (Some(reader), Err(error.into())),
        }
    }
    let read = match (items.is_empty(), over) {
        (false, _) => Read::Items(items),
        (true, false) => Read::CaughtUp,
        (true, true) => Read::Over,
    };
    (Some(reader), Ok(read))
}

/// Opens the log; `first` gets what was read on the way and is wanted.
fn open(dir: PathBuf, from: LogFrom, first: &mut Vec<ReadItem>) -> Result<Reader, LogError> {
    match from {
        LogFrom::Start => Reader::open(dir),
        LogFrom::Tail(lines) => Reader::open_tail(dir, lines),
        LogFrom::Since(time_ns) => Reader::open_since(dir, time_ns),
        LogFrom::End => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            // The segment being written is the last one that was begun before the end of time.
            let mut reader = Reader::open_since(dir, u64::MAX)?;
            loop {
                match reader.next()? {
                    ReadItem::End => return Ok(reader),
                    // A run that writes faster than this reads has no end to wait for.
                    ReadItem::Record(record) if u128::from(record.time_ns) >= now.as_nanos() => {
                        first.push(ReadItem::Record(record));
                        return Ok(reader);
                    }
                    ReadItem::Record(_) | ReadItem::Gap { .. } => {}
                }
            }
        }
    }
}

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

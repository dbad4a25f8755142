//! Follows the records of a run: its output as it was read, not yet cut into lines.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_io::Timer;
use async_trait::async_trait;
use blocking::{Task, unblock};

use harness_shim::log::{LogError, ReadItem, Reader};
use harness_shim::run_dir::{LOG_DIR, LockState, RunDir, RunDirError};

use super::watch::{Change, Watch};
use super::{FollowError, LogFrom};
use crate::host::{HostError, Records};

/// How long a lock that is being closed may take until it is free.
const CLOSING: Duration = Duration::from_secs(1);

/// What [`RecordFollower::read`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// At least one record or gap, never [`ReadItem::End`].
    Items(Vec<ReadItem>),
    /// There is nothing more so far.
    CaughtUp,
    /// There is nothing more, and nobody who could write more. Without following: everything that existed was
    /// returned.
    Over,
}

/// Reads the records of a run in batches while they are written.
///
/// ```text
///   read ──▶ Items ──▶ read …
///        ──▶ CaughtUp ──▶ changed ──▶ read …
///        ──▶ Over          a later read looks again: a run that was just starting may still begin
/// ```
///
/// It checks whether the run is over *before* the read that finds nothing more, so that nothing written in between is
/// missed.
#[derive(Debug)]
pub struct RecordFollower {
    run_dir: PathBuf,
    from: LogFrom,
    /// `None` if it does not wait for more.
    watch: Option<Watch>,
    /// The lock was seen being closed, and nobody has waited for that yet.
    lock_closing: bool,
    /// `None` before the first read, and during a read.
    reader: Option<Box<Reader>>,
    reading: Option<Task<Finished>>,
}

/// The reader that comes back from a read, and what it found.
type Finished = (Option<Box<Reader>>, Result<Read, FollowError>);

impl RecordFollower {
    /// Follows the records of a run from a given point. For [`LogFrom::Tail`] and [`LogFrom::Since`] it begins
    /// somewhat earlier, so that the first requested line is complete.
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

    /// Reads what exists and does not wait for more.
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

    /// Reads on, in another thread, until it has about `max_bytes` or there is nothing more. Cancelling the future
    /// loses nothing.
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

    /// Waits for a change since the last call, or since the beginning; forever when not following. Cancelling the
    /// future loses nothing.
    pub async fn changed(&mut self) {
        match &self.watch {
            Some(watch) => self.lock_closing |= watch.changed().await == Change::LockClosing,
            None => futures_lite::future::pending().await,
        }
    }
}

#[async_trait]
impl Records for RecordFollower {
    async fn read(&mut self, max_bytes: usize) -> Result<Read, HostError<FollowError>> {
        Self::read(self, max_bytes).await.map_err(HostError::Failed)
    }

    async fn changed(&mut self) {
        Self::changed(self).await;
    }
}

/// Reads one batch. Blocks.
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
            // The segment also contains earlier ones.
            Ok(_) if matches!(from, LogFrom::Record(first) if reader.next_seq() <= first) => {}
            Ok(item) => {
                if let ReadItem::Record(record) = &item {
                    bytes += record.data.len();
                }
                items.push(item);
            }
            // The error comes again with the next read.
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

/// Opens the log. `first` gets the wanted items that were read on the way.
fn open(dir: PathBuf, from: LogFrom, first: &mut Vec<ReadItem>) -> Result<Reader, LogError> {
    match from {
        LogFrom::Start => Reader::open(dir),
        LogFrom::Tail(lines) => Reader::open_tail(dir, lines),
        LogFrom::Since(time_ns) => Reader::open_since(dir, time_ns),
        LogFrom::Record(0) => Reader::open(dir),
        LogFrom::Record(seq) => Reader::open_at(dir, seq),
        LogFrom::End => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            // No segment begins after the end of time, so this opens the last one, which is being written.
            let mut reader = Reader::open_since(dir, u64::MAX)?;
            loop {
                match reader.next()? {
                    ReadItem::End => return Ok(reader),
                    // If the run writes faster than this reads, waiting for the end would never stop.
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

/// Whether nothing more will be written to the log.
fn is_over(run_dir: &Path) -> Result<bool, RunDirError> {
    Ok(RunDir::open(run_dir)?.lock_state()? == LockState::Free)
}

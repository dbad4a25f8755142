//! A container's output into the segments of its run directory, each message once.
//!
//! The engine is asked for everything since a moment before the last record, and told with times. What is there
//! already is passed over by its time, stream and bytes, as often as it is there: so a daemon that was killed
//! between two messages neither loses nor doubles one.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::Path;

use bollard::container::LogOutput;
use harness_model::WallTime;
use harness_shim::log::{LogError, ReadItem, Reader, Stream, Writer};
use harness_shim::run_dir::{LOG_DIR, LogLimits};

use crate::stamp;

/// How far back it is asked, in seconds: streams are stamped separately, so that times are not quite in order.
const BACK: u64 = 2;

const SECOND: u64 = 1_000_000_000;

/// Writes one container's output.
pub(crate) struct Pump {
    dir: std::path::PathBuf,
    writer: Writer,
    /// The newest time in the log.
    last: u64,
    /// What the log has of the time that is asked for again.
    seen: HashMap<u64, u32>,
    /// Before that everything was rotated away.
    floor: u64,
    /// Which copy is going on: of an earlier one nothing is taken any more.
    turn: u64,
}

impl Pump {
    /// Begins or continues the log of a run directory. Blocks on the disk.
    pub(crate) fn open(run_dir: &Path, limits: LogLimits) -> Result<Self, LogError> {
        let dir = run_dir.join(LOG_DIR);
        let last = last_time(&dir)?;
        let writer = Writer::open(&dir, limits, WallTime::now().0)?;
        Ok(Self {
            dir,
            writer,
            last,
            seen: HashMap::new(),
            floor: 0,
            turn: 0,
        })
    }

    /// Begins a copy. From when on the engine is to be asked, in seconds since the Unix epoch, and the copy's turn;
    /// remembers what is there since then.
    pub(crate) fn resume(&mut self) -> (u64, u64) {
        self.seen.clear();
        self.floor = 0;
        self.turn += 1;
        if self.last == 0 {
            return (0, self.turn);
        }
        let since = (self.last / SECOND).saturating_sub(BACK);
        if let Err(error) = self.remember(since * SECOND) {
            tracing::error!(%error, "cannot read a log, lines of it may be doubled");
        }
        (since, self.turn)
    }

    fn remember(&mut self, since: u64) -> Result<(), LogError> {
        let mut reader = Reader::open_since(&self.dir, since)?;
        let mut first = true;
        loop {
            match reader.next()? {
                ReadItem::Record(record) => {
                    if std::mem::take(&mut first) && record.seq > 0 && record.time_ns >= since {
                        self.floor = record.time_ns;
                    }
                    if record.time_ns >= since {
                        *self
                            .seen
                            .entry(digest(record.time_ns, record.stream, &record.data))
                            .or_default() += 1;
                    }
                }
                ReadItem::Gap { .. } => {}
                ReadItem::End => return Ok(()),
            }
        }
    }

    /// Writes what a copy was told, unless another one has begun since.
    pub(crate) fn write(&mut self, turn: u64, messages: &[LogOutput]) {
        if turn != self.turn {
            return;
        }
        let mut pieces = Vec::with_capacity(messages.len());
        for message in messages {
            let (stream, bytes) = match message {
                LogOutput::StdErr { message } => (Stream::Stderr, message),
                LogOutput::StdOut { message } | LogOutput::Console { message } => (Stream::Stdout, message),
                LogOutput::StdIn { .. } => continue,
            };
            let (time, bytes) = split(bytes);
            if !self.is_known(time, stream, bytes) {
                self.last = self.last.max(time);
                pieces.push((stream, bytes, time));
            }
        }
        self.writer.append_all(&pieces);
    }

    fn is_known(&mut self, time: u64, stream: Stream, bytes: &[u8]) -> bool {
        if time < self.floor {
            return true;
        }
        if self.seen.is_empty() {
            return false;
        }
        match self.seen.get_mut(&digest(time, stream, bytes)) {
            Some(count) if *count > 0 => {
                *count -= 1;
                true
            }
            _ => false,
        }
    }

    /// Notes what could not be written, if that is possible now.
    pub(crate) fn finish(&mut self) {
        self.writer.finish(WallTime::now().0);
    }
}

/// The time in front of a message, and the message.
fn split(bytes: &[u8]) -> (u64, &[u8]) {
    let stamped = bytes
        .iter()
        .take(40)
        .position(|byte| *byte == b' ')
        .and_then(|space| {
            let time = stamp::parse(std::str::from_utf8(&bytes[..space]).ok()?)?;
            Some((time, &bytes[space + 1..]))
        });
    stamped.unwrap_or_else(|| (WallTime::now().0, bytes))
}

fn digest(time: u64, stream: Stream, bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (time, stream, bytes).hash(&mut hasher);
    hasher.finish()
}

fn last_time(dir: &Path) -> Result<u64, LogError> {
    let mut reader = Reader::open_tail(dir, 1)?;
    let mut last = 0;
    loop {
        match reader.next()? {
            ReadItem::Record(record) => last = last.max(record.time_ns),
            ReadItem::Gap { .. } => {}
            ReadItem::End => return Ok(last),
        }
    }
}

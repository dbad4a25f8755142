//! Sources whose records have only times, as a container engine's log has.
//!
//! The source is asked for everything since a moment before the last record. A record that is already in the log (same
//! time, stream and bytes) is skipped as often as it is there. So a daemon that is killed between two records neither
//! loses nor doubles one.
//!
//! The pieces of one long line all have the time of the first of them, however long the line takes, and each stream
//! has times of its own. The beginning of a line may be shown before the source has it ([`Timed::show`]); then the
//! source's record is written without that beginning.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

use harness_model::WallTime;
use harness_shim::log::{Reader, Record, Writer};
use harness_shim::run_dir::LOG_DIR;

use super::{Book, Destination, LogError, ReadItem, Stream};

/// How far back to ask, in seconds. Each stream has its own time stamps, so the times are not quite in order.
const BACK: u64 = 2;

/// The longest line that can be shown before the source has it, in bytes.
pub const LONGEST_AHEAD: usize = 8 << 10;

/// A record of a source, with the time that the source gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimedRecord<'a> {
    /// Its time by the source's clock, in nanoseconds since the Unix epoch. All pieces of a line have the time of the
    /// first.
    pub time_ns: u64,
    /// The stream it came from.
    pub stream: Stream,
    /// Its bytes.
    pub bytes: &'a [u8],
}

const SECOND: u64 = 1_000_000_000;

/// How far back to ask because of an unfinished line: every piece of a line has the time of its first piece.
const LONGEST_LINE: u64 = 60 * SECOND;

/// How many lines back to look for an unfinished line when a log is continued.
const OPEN_LINES: u64 = 1000;

/// The log of a generation, filled from records with times.
#[derive(Debug)]
pub struct Timed {
    dir: PathBuf,
    writer: Writer,
    /// The newest time in the log.
    last: u64,
    /// The records in the log from the time range that is asked for again.
    seen: HashMap<u64, u32>,
    /// How many records of a time are in the log and have not been sent again yet.
    outstanding: HashMap<(u64, Stream), u32>,
    /// The same for records that may be the end of a record with a beginning that was shown before: length and
    /// digest by time.
    tails: HashMap<(u64, Stream), (usize, u64)>,
    stdout: Shown,
    stderr: Shown,
}

/// What the log has of a stream.
#[derive(Debug, Default)]
struct Shown {
    /// The pieces of the line at the end of the log, with their times. Those that the source does not tell again were
    /// shown before it had them.
    ahead: VecDeque<(u64, Vec<u8>)>,
    /// The number of lines that the source has sent, and the last of them.
    delivered: u64,
    last: Vec<u8>,
    /// The time of the line of which the source has sent only the beginning.
    open: Option<u64>,
    /// Everything before this time was rotated away.
    floor: u64,
}

impl Shown {
    /// Takes what the source sends, and returns the part that was not shown before.
    fn tell<'a>(&mut self, time: u64, bytes: &'a [u8]) -> &'a [u8] {
        let ahead = self.ahead();
        self.ahead.clear();
        self.open = open_after(self.open, time, bytes);
        if bytes.ends_with(b"\n") {
            self.delivered += 1;
            self.last.clear();
            self.last
                .extend_from_slice(&bytes[bytes.len().saturating_sub(LONGEST_AHEAD)..]);
        }
        bytes.strip_prefix(ahead.as_slice()).unwrap_or(bytes)
    }

    /// The source tells again what the log has from it.
    fn tell_again(&mut self, time: u64, bytes: &[u8]) {
        let piece = self.ahead.front();
        if piece.is_some_and(|(piece_time, piece)| *piece_time == time && piece == bytes) {
            self.ahead.pop_front();
        }
    }

    fn ahead(&self) -> Vec<u8> {
        self.ahead
            .iter()
            .flat_map(|(_, piece)| piece.iter().copied())
            .collect()
    }
}

/// The time of the line that is unfinished after these bytes.
fn open_after(before: Option<u64>, time: u64, bytes: &[u8]) -> Option<u64> {
    match bytes.iter().rposition(|byte| *byte == b'\n') {
        Some(end) if end + 1 == bytes.len() => None,
        Some(_) => Some(time),
        None if bytes.is_empty() => before,
        None => before.or(Some(time)),
    }
}

impl Timed {
    /// Begins or continues the log of a run directory. Blocks on the disk.
    ///
    /// # Errors
    /// When the log cannot be read, or cannot be continued.
    pub fn open(destination: &Destination) -> Result<Self, LogError> {
        let dir = destination.run_dir.join(LOG_DIR);
        let end = End::of(&dir)?;
        let writer = Writer::open(&dir, destination.limits, WallTime::now().0)?;
        Ok(Self {
            dir,
            writer,
            last: end.last,
            seen: HashMap::new(),
            outstanding: HashMap::new(),
            tails: HashMap::new(),
            stdout: Shown {
                open: end.open[0],
                ..Shown::default()
            },
            stderr: Shown {
                open: end.open[1],
                ..Shown::default()
            },
        })
    }

    /// Takes note of everything that the log has since this time.
    fn remember(&mut self, since: u64) -> Result<(), LogError> {
        let oldest = first_seq(&self.dir)?;
        let mut reader = Reader::open_since(&self.dir, since)?;
        let mut is_cut = None;
        let mut floors: [Option<u64>; 2] = [None; 2];
        let mut open: [VecDeque<(u64, Vec<u8>)>; 2] = Default::default();
        loop {
            match reader.next()? {
                ReadItem::Record(record) => {
                    let at = usize::from(record.stream == Stream::Stderr);
                    // What a stream wrote before its first record here is missing, if anything is.
                    is_cut.get_or_insert((record.seq > 0 && Some(record.seq) == oldest, record.time_ns));
                    floors[at].get_or_insert(record.time_ns);
                    if record.time_ns >= since {
                        self.note(&record);
                    }
                    let ends = record.data.ends_with(b"\n");
                    let open = &mut open[at];
                    open.push_back((record.time_ns, record.data));
                    if ends || open.iter().map(|(_, piece)| piece.len()).sum::<usize>() > LONGEST_AHEAD {
                        open.clear();
                    }
                }
                ReadItem::Gap { .. } => {}
                ReadItem::End => break,
            }
        }
        if let Some((true, first)) = is_cut {
            let [stdout, stderr] = floors.map(|floor| floor.unwrap_or(first));
            (self.stdout.floor, self.stderr.floor) = (stdout, stderr);
        }
        [self.stdout.ahead, self.stderr.ahead] = open;
        Ok(())
    }

    fn note(&mut self, record: &Record) {
        let own = (record.time_ns, record.stream);
        let tail = (record.data.len(), digest(0, record.stream, &record.data));
        self.tails.insert(own, tail);
        *self.outstanding.entry(own).or_default() += 1;
        let digest = digest(record.time_ns, record.stream, &record.data);
        *self.seen.entry(digest).or_default() += 1;
    }

    fn shown(&mut self, stream: Stream) -> &mut Shown {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    /// Shows an unfinished line, if the source has sent everything before it: `completed` lines so far, and `before`
    /// is the last of them. If their number is unknown, it is found with the help of that line. Returns the number.
    pub fn show(
        &mut self,
        stream: Stream,
        line: &[u8],
        before: &[u8],
        completed: Option<u64>,
    ) -> Option<u64> {
        let shown = self.shown(stream);
        let same = !before.is_empty() && shown.last.ends_with(before);
        let completed = if same { shown.delivered } else { completed? };
        if completed == shown.delivered
            && line.len() <= LONGEST_AHEAD
            && let Some(more) = line.strip_prefix(shown.ahead().as_slice())
            && !more.is_empty()
        {
            let now = WallTime::now().0;
            shown.ahead.push_back((now, more.to_vec()));
            self.writer.append(stream, more, now);
            self.last = self.last.max(now);
        }
        Some(completed)
    }

    fn is_known(&mut self, time: u64, stream: Stream, bytes: &[u8]) -> bool {
        let again = self.is_told_again(time, stream, bytes);
        if again {
            self.shown(stream).tell_again(time, bytes);
            if let Some(count) = self.outstanding.get_mut(&(time, stream)) {
                *count = count.saturating_sub(1);
            }
        }
        again || self.is_rotated_away(time, stream)
    }

    /// Whether the log has this record.
    fn is_told_again(&mut self, time: u64, stream: Stream, bytes: &[u8]) -> bool {
        if self.seen.is_empty() {
            return false;
        }
        match self.seen.get_mut(&digest(time, stream, bytes)) {
            Some(count) if *count > 0 => {
                *count -= 1;
                true
            }
            _ => self.tails.remove(&(time, stream)).is_some_and(|(length, tail)| {
                let at = bytes.len().checked_sub(length);
                at.is_some_and(|at| at > 0 && digest(0, stream, &bytes[at..]) == tail)
            }),
        }
    }

    /// Whether the log had a record that it does not have any more. All pieces of a line have the same time, however
    /// long the line takes. The pieces before the first one that is left are gone, and those after the last one are
    /// new.
    fn is_rotated_away(&mut self, time: u64, stream: Stream) -> bool {
        let Shown { floor, open, .. } = *self.shown(stream);
        if time > floor {
            return false;
        }
        let is_waited_for = self
            .outstanding
            .get(&(time, stream))
            .is_some_and(|count| *count > 0);
        is_waited_for || (time < floor && open != Some(time))
    }
}

impl Book for Timed {
    /// A whole second: everything from its beginning on may be told again.
    type Point = WallTime;
    type Record<'a> = TimedRecord<'a>;

    fn resume(&mut self) -> WallTime {
        self.seen.clear();
        self.outstanding.clear();
        self.tails.clear();
        (self.stdout.floor, self.stderr.floor) = (0, 0);
        if self.last == 0 {
            return WallTime(0);
        }
        let open = self.stdout.open.into_iter().chain(self.stderr.open).min();
        let oldest = self.last.saturating_sub(LONGEST_LINE);
        let from = open.map_or(self.last, |open| open.clamp(oldest, self.last));
        let since = (from / SECOND).saturating_sub(BACK) * SECOND;
        if let Err(error) = self.remember(since) {
            tracing::error!(%error, "cannot read a log, so some of its lines may appear twice");
        }
        WallTime(since)
    }

    /// Never fails: what cannot be written is dropped and counted, because a source keeps no place for it.
    fn write(&mut self, records: &[TimedRecord<'_>]) -> Result<u64, LogError> {
        let mut pieces = Vec::with_capacity(records.len());
        for TimedRecord {
            time_ns,
            stream,
            bytes,
        } in records
        {
            if !self.is_known(*time_ns, *stream, bytes) {
                self.last = self.last.max(*time_ns);
                pieces.push((*stream, self.shown(*stream).tell(*time_ns, bytes), *time_ns));
            }
        }
        self.writer.append_all(&pieces);
        Ok(pieces.len() as u64)
    }

    fn finish(&mut self) {
        self.writer.finish(WallTime::now().0);
    }
}

fn digest(time: u64, stream: Stream, bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (time, stream, bytes).hash(&mut hasher);
    hasher.finish()
}

/// The number of the oldest record of a log.
fn first_seq(dir: &Path) -> Result<Option<u64>, LogError> {
    let mut reader = Reader::open_since(dir, 0)?;
    loop {
        match reader.next()? {
            ReadItem::Record(record) => return Ok(Some(record.seq)),
            ReadItem::Gap { .. } => {}
            ReadItem::End => return Ok(None),
        }
    }
}

/// Where a log ends.
struct End {
    last: u64,
    /// The times of the unfinished lines of stdout and stderr.
    open: [Option<u64>; 2],
}

impl End {
    fn of(dir: &Path) -> Result<Self, LogError> {
        let mut reader = Reader::open_tail(dir, OPEN_LINES)?;
        let mut end = Self {
            last: 0,
            open: [None; 2],
        };
        loop {
            match reader.next()? {
                ReadItem::Record(record) => {
                    end.last = end.last.max(record.time_ns);
                    let open = &mut end.open[usize::from(record.stream == Stream::Stderr)];
                    *open = open_after(*open, record.time_ns, &record.data);
                }
                ReadItem::Gap { .. } => {}
                ReadItem::End => return Ok(end),
            }
        }
    }
}

#[cfg(test)]
mod tests;

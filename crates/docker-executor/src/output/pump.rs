//! Writes a container's output into the segments of its run directory, each message once.
//!
//! The engine is asked for everything since a moment before the last record, with times. A message that is already in
//! the log (same time, stream and bytes) is skipped as often as it is there. So a daemon that is killed between two
//! messages neither loses nor doubles one.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::Path;

use bollard::container::LogOutput;
use harness_model::WallTime;
use harness_shim::log::{LogError, ReadItem, Reader, Stream, Writer};
use harness_shim::run_dir::{LOG_DIR, LogLimits};

use crate::engine::stamp;

/// How far back to ask, in seconds. Each stream has its own time stamps, so the times are not quite in order.
const BACK: u64 = 2;

/// The longest line that is shown unfinished. The engine passes on longer lines in pieces.
pub(crate) const LONGEST: usize = 8 << 10;

const SECOND: u64 = 1_000_000_000;

/// How far back to ask because of an unfinished line: every piece of a line has the time of its first piece.
const LONGEST_LINE: u64 = 60 * SECOND;

/// How many lines back to look for an unfinished line when a log is continued.
const OPEN_LINES: u64 = 1000;

/// Writes one container's output.
pub(crate) struct Pump {
    dir: std::path::PathBuf,
    writer: Writer,
    /// The newest time in the log.
    last: u64,
    /// The messages in the log from the time range that is asked for again.
    seen: HashMap<u64, u32>,
    /// How many messages of a time are in the log and have not been sent again yet.
    outstanding: HashMap<(u64, Stream), u32>,
    /// The same for messages that may be the end of a message with a beginning that was shown before: length and
    /// digest by time.
    tails: HashMap<(u64, Stream), (usize, u64)>,
    /// Everything before this time was rotated away.
    floor: u64,
    /// The number of the current copy. Output of an earlier copy is not accepted any more.
    turn: u64,
    stdout: Shown,
    stderr: Shown,
}

/// What the log has of a stream.
#[derive(Default)]
struct Shown {
    /// The beginning of a line that was shown before the engine's log has it.
    ahead: Vec<u8>,
    /// The number of lines that the engine has sent, and the last of them.
    delivered: u64,
    last: Vec<u8>,
    /// The time of the line of which the engine has sent only the beginning.
    open: Option<u64>,
}

impl Shown {
    /// Takes what the engine sends, and returns the part that was not shown before.
    fn tell<'a>(&mut self, time: u64, bytes: &'a [u8]) -> &'a [u8] {
        let ahead = std::mem::take(&mut self.ahead);
        self.open = open_after(self.open, time, bytes);
        if bytes.ends_with(b"\n") {
            self.delivered += 1;
            self.last.clear();
            self.last
                .extend_from_slice(&bytes[bytes.len().saturating_sub(LONGEST)..]);
        }
        bytes.strip_prefix(ahead.as_slice()).unwrap_or(bytes)
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

impl Pump {
    /// Begins or continues the log of a run directory. Blocks on the disk.
    pub(crate) fn open(run_dir: &Path, limits: LogLimits) -> Result<Self, LogError> {
        let dir = run_dir.join(LOG_DIR);
        let end = End::of(&dir)?;
        let writer = Writer::open(&dir, limits, WallTime::now().0)?;
        Ok(Self {
            dir,
            writer,
            last: end.last,
            seen: HashMap::new(),
            outstanding: HashMap::new(),
            tails: HashMap::new(),
            floor: 0,
            turn: 0,
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

    /// Begins a copy. Returns the time from which to ask the engine, in seconds since the Unix epoch, and the number
    /// of the copy. Remembers what the log has since that time.
    pub(crate) fn resume(&mut self) -> (u64, u64) {
        self.seen.clear();
        self.outstanding.clear();
        self.tails.clear();
        self.floor = 0;
        self.turn += 1;
        if self.last == 0 {
            return (0, self.turn);
        }
        let open = self.stdout.open.into_iter().chain(self.stderr.open).min();
        let oldest = self.last.saturating_sub(LONGEST_LINE);
        let from = open.map_or(self.last, |open| open.clamp(oldest, self.last));
        let since = (from / SECOND).saturating_sub(BACK);
        if let Err(error) = self.remember(since * SECOND) {
            tracing::error!(%error, "cannot read a log, so some of its lines may appear twice");
        }
        (since, self.turn)
    }

    fn remember(&mut self, since: u64) -> Result<(), LogError> {
        let mut reader = Reader::open_since(&self.dir, since)?;
        let mut first = true;
        let mut open: [Vec<u8>; 2] = Default::default();
        loop {
            match reader.next()? {
                ReadItem::Record(record) => {
                    if std::mem::take(&mut first) && record.seq > 0 && record.time_ns >= since {
                        self.floor = record.time_ns;
                    }
                    let open = &mut open[usize::from(record.stream == Stream::Stderr)];
                    open.extend_from_slice(&record.data);
                    if record.data.ends_with(b"\n") || open.len() > LONGEST {
                        open.clear();
                    }
                    if record.time_ns >= since {
                        let tail = (record.data.len(), digest(0, record.stream, &record.data));
                        self.tails.insert((record.time_ns, record.stream), tail);
                        *self
                            .outstanding
                            .entry((record.time_ns, record.stream))
                            .or_default() += 1;
                        *self
                            .seen
                            .entry(digest(record.time_ns, record.stream, &record.data))
                            .or_default() += 1;
                    }
                }
                ReadItem::Gap { .. } => {}
                ReadItem::End => {
                    let [stdout, stderr] = open;
                    self.stdout.ahead = stdout;
                    self.stderr.ahead = stderr;
                    return Ok(());
                }
            }
        }
    }

    fn shown(&mut self, stream: Stream) -> &mut Shown {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    /// Shows an unfinished line, if the engine has sent everything before it: `completed` lines so far, and `before`
    /// is the last of them. If their number is unknown, it is found with the help of that line. Returns the number.
    pub(crate) fn show(
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
            && line.len() <= LONGEST
            && let Some(more) = line.strip_prefix(shown.ahead.as_slice())
            && !more.is_empty()
        {
            shown.ahead = line.to_vec();
            let now = WallTime::now().0;
            self.writer.append(stream, more, now);
            self.last = self.last.max(now);
        }
        Some(completed)
    }

    /// Writes what a copy was sent, unless another copy has begun since. Returns how many messages were new.
    pub(crate) fn write(&mut self, turn: u64, messages: &[LogOutput]) -> u64 {
        if turn != self.turn {
            return 0;
        }
        let mut pieces = Vec::with_capacity(messages.len());
        for message in messages {
            let (stream, bytes) = match message {
                LogOutput::StdErr { message } => (Stream::Stderr, message),
                LogOutput::StdOut { message } | LogOutput::Console { message } => (Stream::Stdout, message),
                LogOutput::StdIn { .. } => continue,
            };
            let mut rest = bytes.as_ref();
            while !rest.is_empty() {
                let (time, bytes, after) = split(rest, matches!(message, LogOutput::Console { .. }));
                rest = after;
                if !self.is_known(time, stream, bytes) {
                    self.last = self.last.max(time);
                    pieces.push((stream, self.shown(stream).tell(time, bytes), time));
                }
            }
        }
        self.writer.append_all(&pieces);
        pieces.len() as u64
    }

    fn is_known(&mut self, time: u64, stream: Stream, bytes: &[u8]) -> bool {
        let again = self.is_told_again(time, stream, bytes);
        if again && let Some(count) = self.outstanding.get_mut(&(time, stream)) {
            *count = count.saturating_sub(1);
        }
        again || self.is_rotated_away(time, stream)
    }

    /// Whether the log has this message.
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

    /// Whether the log had a message that it does not have any more. All pieces of a line have the same time, however
    /// long the line takes. The pieces before the first one that is left are gone, and those after the last one are
    /// new.
    fn is_rotated_away(&mut self, time: u64, stream: Stream) -> bool {
        if time > self.floor {
            return false;
        }
        let is_waited_for = self
            .outstanding
            .get(&(time, stream))
            .is_some_and(|count| *count > 0);
        let open = self.shown(stream).open;
        is_waited_for || (time < self.floor && open != Some(time))
    }

    /// Records what could not be written, if that is possible now.
    pub(crate) fn finish(&mut self) {
        self.writer.finish(WallTime::now().0);
    }
}

/// The size of the pieces in which the engine sends a line that is too long for it.
const PIECE: usize = 16 << 10;

/// The time in front of a message, the message, and what comes after it. From a terminal, one message may contain
/// several pieces of a line.
fn split(bytes: &[u8], terminal: bool) -> (u64, &[u8], &[u8]) {
    let Some((time, message)) = stamped(bytes) else {
        return (WallTime::now().0, bytes, &[]);
    };
    match message.split_at_checked(PIECE) {
        Some((piece, after)) if terminal && stamped(after).is_some() => (time, piece, after),
        _ => (time, message, &[]),
    }
}

fn stamped(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let space = bytes.iter().take(40).position(|byte| *byte == b' ')?;
    let time = stamp::parse(std::str::from_utf8(&bytes[..space]).ok()?)?;
    Some((time, &bytes[space + 1..]))
}

fn digest(time: u64, stream: Stream, bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (time, stream, bytes).hash(&mut hasher);
    hasher.finish()
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

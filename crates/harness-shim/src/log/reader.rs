//! Reading a log while it grows and rotates.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::LogError;
use super::format::{
    Decoded, DroppedCount, Kind, Record, RecordHeader, SegmentHeader, newer, newlines, segment_numbers,
    segment_path,
};

/// How many more lines than asked a tail begins with, so that the first ones asked for are not cut.
const TAIL_SLACK: u64 = 64;
const CHUNK: usize = 64 * 1024;

/// Why output is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapCause {
    /// Its segments were rotated away before they were read.
    Rotated,
    /// It could not be written: the disk was full, or failed.
    Dropped,
    /// The log is damaged there.
    Damaged,
}

/// What [`Reader::next`] finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadItem {
    /// A record.
    Record(Record),
    /// Output is missing here.
    Gap {
        /// How many lines; 0 when only a part of one is.
        lines: u64,
        /// Why.
        cause: GapCause,
    },
    /// Nothing more so far. Later calls find what was written since.
    End,
}

/// Reads a log from some point on. Holds one segment open; never blocks the writer.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    current: Option<Segment>,
    /// The lowest segment to open next.
    wanted: u64,
    /// Where the reader is: lines and records before it. `None` before the first segment of a reader that does
    /// not care what came before.
    position: Option<Position>,
    /// Whether what was skipped since the last record was damaged.
    damaged: bool,
}

#[derive(Debug, Clone, Copy)]
struct Position {
    lines: u64,
    seq: u64,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    file: File,
    path: PathBuf,
    /// Offset of the next record in the file.
    offset: u64,
    /// File contents from `offset` on.
    buffer: Vec<u8>,
    /// Where in `buffer` the next record begins.
    begin: usize,
}

enum Parsed {
    Record(RecordHeader, Vec<u8>),
    Incomplete,
    Damaged,
}

impl Reader {
    /// Reads from the very first line; a gap comes first when that is gone already.
    ///
    /// # Errors
    /// When the directory cannot be read, or a newer version wrote the log.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, LogError> {
        let reader = Self::at(dir.into(), 0, Some(Position { lines: 0, seq: 0 }));
        refuse_newer(&reader.dir)?;
        Ok(reader)
    }

    /// Reads at least the last `lines` lines that are there now and what is unfinished after them, and on. It begins
    /// at a record, somewhat earlier: callers cut lines until [`ReadItem::End`] and keep the last `lines` of them.
    ///
    /// # Errors
    /// When the directory or a segment cannot be read, or a newer version wrote the log.
    pub fn open_tail(dir: impl Into<PathBuf>, lines: u64) -> Result<Self, LogError> {
        let dir = dir.into();
        refuse_newer(&dir)?;
        let headers = headers(&dir)?;
        let Some(&(last, _)) = headers.last() else {
            return Ok(Self::at(dir, 0, None));
        };
        let mut end = Self::at(dir.clone(), last, None);
        while end.next()? != ReadItem::End {}
        let target = end.lines_seen().saturating_sub(lines.saturating_add(TAIL_SLACK));
        let mut reader = Self::from_segment(dir, &headers, |header| header.lines_before <= target);
        if target == 0 {
            // There may be records before the first line ends, and no line may ever.
            return Ok(reader);
        }
        loop {
            let before = reader.mark();
            match reader.next()? {
                ReadItem::End => return Ok(reader),
                _ if reader.lines_seen() > target => {
                    reader.reset(before);
                    return Ok(reader);
                }
                _ => {}
            }
        }
    }

    /// Reads from the segment in which this moment lies: earlier records may come first.
    ///
    /// # Errors
    /// When the directory or a segment cannot be read, or a newer version wrote the log.
    pub fn open_since(dir: impl Into<PathBuf>, time_ns: u64) -> Result<Self, LogError> {
        let dir = dir.into();
        refuse_newer(&dir)?;
        let headers = headers(&dir)?;
        Ok(Self::from_segment(dir, &headers, |header| {
            header.created_ns <= time_ns
        }))
    }

    /// Begins at the last segment that fits, else at the first.
    fn from_segment(
        dir: PathBuf,
        headers: &[(u64, SegmentHeader)],
        fits: impl Fn(&SegmentHeader) -> bool,
    ) -> Self {
        let chosen = headers.iter().rev().find(|(_, header)| fits(header));
        Self::at(
            dir,
            chosen.or(headers.first()).map_or(0, |(number, _)| *number),
            None,
        )
    }

    fn at(dir: PathBuf, wanted: u64, position: Option<Position>) -> Self {
        Self {
            dir,
            current: None,
            wanted,
            position,
            damaged: false,
        }
    }

    /// The lines (newlines) of the run before the reader's place, missing ones included.
    pub fn lines_seen(&self) -> u64 {
        self.position.map_or(0, |p| p.lines)
    }

    /// The sequence number of the next record.
    pub fn next_seq(&self) -> u64 {
        self.position.map_or(0, |p| p.seq)
    }

    /// The next record or gap, or that there is no more yet.
    ///
    /// # Errors
    /// When the directory or a segment cannot be read.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator would end for good at `End`"
    )]
    pub fn next(&mut self) -> Result<ReadItem, LogError> {
        loop {
            if self.current.is_none() {
                match self.open_next()? {
                    Some(None) => {}
                    Some(Some(gap)) => return Ok(gap),
                    None => return Ok(ReadItem::End),
                }
            }
            let Some(segment) = &mut self.current else {
                return Ok(ReadItem::End);
            };
            let seq = self.position.map_or(0, |p| p.seq);
            let mut parsed = segment.parse(seq)?;
            if !matches!(parsed, Parsed::Record(..)) {
                let number = segment.number;
                if !later_exists(&self.dir, number)? {
                    return Ok(ReadItem::End);
                }
                // Looked at once more: something may have been appended before the next segment was begun.
                parsed = segment.parse(seq)?;
            }
            match parsed {
                Parsed::Record(header, data) => return Ok(self.pass(header, data)),
                Parsed::Incomplete => {
                    self.damaged = segment.has_rest()?;
                    self.leave();
                }
                Parsed::Damaged => {
                    self.damaged = true;
                    self.leave();
                }
            }
        }
    }

    fn leave(&mut self) {
        if let Some(segment) = self.current.take() {
            self.wanted = segment.number + 1;
        }
    }

    fn pass(&mut self, header: RecordHeader, data: Vec<u8>) -> ReadItem {
        let position = self.position.get_or_insert(Position { lines: 0, seq: 0 });
        position.seq = header.seq.saturating_add(1);
        match header.kind {
            Kind::Data(stream) => {
                position.lines = position.lines.saturating_add(newlines(&data));
                ReadItem::Record(Record {
                    seq: header.seq,
                    time_ns: header.time_ns,
                    stream,
                    data,
                })
            }
            Kind::Dropped => {
                let lines = DroppedCount::decode(&data).map_or(0, |count| count.lines);
                position.lines = position.lines.saturating_add(lines);
                ReadItem::Gap {
                    lines,
                    cause: GapCause::Dropped,
                }
            }
        }
    }

    /// Opens the next segment. `None`: there is none yet; otherwise perhaps the gap before it.
    fn open_next(&mut self) -> Result<Option<Option<ReadItem>>, LogError> {
        let numbers = segment_numbers(&self.dir).map_err(LogError::new("list", &self.dir))?;
        for number in numbers.into_iter().filter(|n| *n >= self.wanted) {
            let Some((segment, header)) = Segment::open(&self.dir, number)? else {
                // Removed meanwhile, still being begun, or damaged; if there is a later one it is passed over.
                self.damaged |= segment_path(&self.dir, number).exists();
                continue;
            };
            self.current = Some(segment);
            let here = Position {
                lines: header.lines_before,
                seq: header.first_seq,
            };
            let before = self.position.replace(here).unwrap_or(here);
            let cause = if std::mem::take(&mut self.damaged) {
                GapCause::Damaged
            } else {
                GapCause::Rotated
            };
            let gap = (before.seq != here.seq).then_some(ReadItem::Gap {
                lines: here.lines.saturating_sub(before.lines),
                cause,
            });
            return Ok(Some(gap));
        }
        self.damaged = false;
        Ok(None)
    }

    fn mark(&self) -> (u64, Option<u64>, Option<Position>) {
        let offset = self.current.as_ref().map(|segment| segment.offset);
        let number = self
            .current
            .as_ref()
            .map_or(self.wanted, |segment| segment.number);
        (number, offset, self.position)
    }

    fn reset(&mut self, (number, offset, position): (u64, Option<u64>, Option<Position>)) {
        self.position = position;
        match (&mut self.current, offset) {
            (Some(segment), Some(offset)) if segment.number == number => segment.rewind(offset),
            // The record was the first of its segment, whose opening is done again.
            _ => {
                self.current = None;
                self.wanted = number;
            }
        }
    }
}

impl Segment {
    /// `None`: it does not exist (any more), or has no good header (yet).
    fn open(dir: &Path, number: u64) -> Result<Option<(Self, SegmentHeader)>, LogError> {
        let path = segment_path(dir, number);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LogError::new("open", &path)(error)),
        };
        let mut bytes = [0; SegmentHeader::LEN];
        match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(LogError::new("read", &path)(error)),
        }
        let header = match SegmentHeader::decode(&bytes) {
            Decoded::Header(header) => header,
            // A shim writes all its segments in one format, so beside readable ones this is damage.
            Decoded::Newer { .. } | Decoded::Damaged => return Ok(None),
        };
        let segment = Self {
            number,
            file,
            path,
            offset: SegmentHeader::LEN as u64,
            buffer: Vec::new(),
            begin: 0,
        };
        Ok(Some((segment, header)))
    }

    fn rewind(&mut self, offset: u64) {
        self.offset = offset;
        self.buffer.clear();
        self.begin = 0;
    }

    /// The next record, which must have this number: within a segment none is left out. Another one is what a
    /// crash of the machine left in the file of an older one.
    fn parse(&mut self, seq: u64) -> Result<Parsed, LogError> {
        if !self.fill(RecordHeader::LEN)? {
            return Ok(Parsed::Incomplete);
        }
        let begin = self.begin;
        let Some(bytes) = self.buffer.get(begin..).and_then(|b| b.first_chunk()) else {
            return Ok(Parsed::Incomplete);
        };
        let Some(header) = RecordHeader::decode(bytes).filter(|header| header.seq == seq) else {
            // Read anew next time: the writer may have been taking back a half record just now.
            self.rewind(self.offset);
            return Ok(Parsed::Damaged);
        };
        let size = RecordHeader::LEN + header.len as usize;
        if !self.fill(size)? {
            return Ok(Parsed::Incomplete);
        }
        let begin = self.begin;
        let data = self
            .buffer
            .get(begin + RecordHeader::LEN..begin + size)
            .unwrap_or_default()
            .to_vec();
        self.begin += size;
        self.offset += size as u64;
        Ok(Parsed::Record(header, data))
    }

    /// Makes sure that `size` bytes are buffered; if there are not so many, forgets what was read, because the
    /// writer takes back a record it could not finish.
    fn fill(&mut self, size: usize) -> Result<bool, LogError> {
        let mut have = self.buffer.len() - self.begin;
        if have >= size {
            return Ok(true);
        }
        self.buffer.drain(..self.begin);
        self.begin = 0;
        self.buffer.resize(size.max(CHUNK), 0);
        while have < size {
            let room = self.buffer.get_mut(have..).unwrap_or_default();
            match self.file.read_at(room, self.offset + have as u64) {
                Ok(0) => {
                    self.rewind(self.offset);
                    return Ok(false);
                }
                Ok(read) => have += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(LogError::new("read", &self.path)(error)),
            }
        }
        self.buffer.truncate(have);
        Ok(true)
    }

    /// Whether something stands after the last whole record.
    fn has_rest(&self) -> Result<bool, LogError> {
        let metadata = self.file.metadata().map_err(LogError::new("read", &self.path))?;
        Ok(metadata.len() > self.offset)
    }
}

fn later_exists(dir: &Path, number: u64) -> Result<bool, LogError> {
    let numbers = segment_numbers(dir).map_err(LogError::new("list", dir))?;
    Ok(numbers.last().is_some_and(|last| *last > number))
}

/// Tells a log of a newer version from one that is damaged: no segment of it can be read.
fn refuse_newer(dir: &Path) -> Result<(), LogError> {
    let mut refused = Ok(());
    for number in segment_numbers(dir).map_err(LogError::new("list", dir))? {
        let path = segment_path(dir, number);
        let mut bytes = [0; SegmentHeader::LEN];
        // Removed meanwhile, or still being begun.
        let read = File::open(&path).and_then(|file| file.read_exact_at(&mut bytes, 0));
        match SegmentHeader::decode(&bytes) {
            Decoded::Header(_) => return Ok(()),
            Decoded::Newer { found } if read.is_ok() => {
                refused = Err(LogError::new("read", &path)(newer(found)));
            }
            Decoded::Newer { .. } | Decoded::Damaged => {}
        }
    }
    refused
}

/// The headers of all segments that have a good one, ascending.
fn headers(dir: &Path) -> Result<Vec<(u64, SegmentHeader)>, LogError> {
    let mut headers = Vec::new();
    for number in segment_numbers(dir).map_err(LogError::new("list", dir))? {
        headers.extend(Segment::open(dir, number)?.map(|(_, header)| (number, header)));
    }
    Ok(headers)
}

//! Reads a log while it grows and rotates.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::LogError;
use super::format::{
    Decoded, DroppedCount, Kind, Position, Record, RecordHeader, SegmentHeader, newer, newlines,
    segment_numbers, segment_path,
};

/// How many lines more than requested a tail starts before its end, so that the first requested lines are not cut.
const TAIL_SLACK: u64 = 64;
const CHUNK: usize = 64 * 1024;

/// Why output is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapCause {
    /// Its segments were rotated away before they were read.
    Rotated,
    /// It could not be written, because the disk was full or failed.
    Dropped,
    /// The log is damaged there.
    Damaged,
}

/// An item that [`Reader::next`] returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadItem {
    /// A record.
    Record(Record),
    /// Output is missing here.
    Gap {
        /// How many lines are missing; 0 if only a part of one is.
        lines: u64,
        /// Why they are missing.
        cause: GapCause,
    },
    /// There is nothing more so far. Later calls return what was written since.
    End,
}

/// Reads a log from a given point. It keeps one segment open and never blocks the writer.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    current: Option<Segment>,
    /// The lowest segment to open next.
    wanted: u64,
    /// The reader's place: how many lines and records are before it. `None` before the first segment, if the reader
    /// does not need to know what came before.
    position: Option<Position>,
    /// Whether damaged data was skipped since the last record.
    damaged: bool,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    file: File,
    path: PathBuf,
    /// The offset of the next record in the file.
    offset: u64,
    /// The file's content from `offset` on.
    buffer: Vec<u8>,
    /// The place in `buffer` where the next record begins.
    begin: usize,
}

enum Parsed {
    Record(RecordHeader, Vec<u8>),
    Incomplete,
    Damaged,
}

impl Reader {
    /// Reads from the very first line. If that is already gone, a gap comes first.
    ///
    /// # Errors
    /// When the directory cannot be read, or a newer version wrote the log.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, LogError> {
        let reader = Self::at(dir.into(), 0, Some(Position { lines: 0, seq: 0 }));
        refuse_newer(&reader.dir)?;
        Ok(reader)
    }

    /// Reads at least the last `lines` lines that exist now, the unfinished line after them, and everything later. It
    /// begins at a record somewhat earlier: callers cut lines until [`ReadItem::End`], and keep the last `lines` of
    /// them.
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
        // A line that has not ended may go over several segments, all with the same number of lines before them.
        let mut reader = Self::from_segment(dir, &headers, |header| header.lines_before < target);
        if target == 0 {
            // There may be records before the first line ends, and that line may never end.
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

    /// Reads from the segment that contains this moment. Earlier records may come first.
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

    /// Reads from the segment that contains the record with this sequence number. Earlier records may come first.
    ///
    /// # Errors
    /// When the directory or a segment cannot be read, or a newer version wrote the log.
    pub fn open_at(dir: impl Into<PathBuf>, seq: u64) -> Result<Self, LogError> {
        let dir = dir.into();
        refuse_newer(&dir)?;
        let headers = headers(&dir)?;
        Ok(Self::from_segment(dir, &headers, |header| {
            header.first_seq <= seq
        }))
    }

    /// Begins at the last segment that fits, or else at the first one.
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

    /// The number of lines (newlines) of the run before the reader's place, including missing ones.
    pub fn lines_seen(&self) -> u64 {
        self.position.map_or(0, |p| p.lines)
    }

    /// The sequence number of the next record.
    pub fn next_seq(&self) -> u64 {
        self.position.map_or(0, |p| p.seq)
    }

    /// The next record or gap, or [`ReadItem::End`] if there is no more yet.
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
                // Look once more: something may have been appended before the next segment was begun.
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

    /// Opens the next segment. `None` if there is none yet; otherwise the gap before it, if there is one.
    fn open_next(&mut self) -> Result<Option<Option<ReadItem>>, LogError> {
        let numbers = segment_numbers(&self.dir).map_err(LogError::new("list", &self.dir))?;
        for number in numbers.into_iter().filter(|n| *n >= self.wanted) {
            let Some((segment, header)) = Segment::open(&self.dir, number)? else {
                // It was removed meanwhile, is just being begun, or is damaged. If there is a later one, this one is
                // skipped.
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
            // The record was the first of its segment, so the segment is opened again.
            _ => {
                self.current = None;
                self.wanted = number;
            }
        }
    }
}

impl Segment {
    /// `None` if it does not exist (any more), or has no good header (yet).
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
            // A shim writes all its segments in the same format, so next to readable segments this is damage.
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

    /// The next record, which must have this number, because no number is left out within a segment. A record with
    /// another number was left in a reused file by a crash of the machine.
    fn parse(&mut self, seq: u64) -> Result<Parsed, LogError> {
        if !self.fill(RecordHeader::LEN)? {
            return Ok(Parsed::Incomplete);
        }
        let begin = self.begin;
        let Some(bytes) = self.buffer.get(begin..).and_then(|b| b.first_chunk()) else {
            return Ok(Parsed::Incomplete);
        };
        let Some(header) = RecordHeader::decode(bytes).filter(|header| header.seq == seq) else {
            // Read it again next time: the writer may just have removed an incomplete record.
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

    /// Makes sure that `size` bytes are buffered. If there are not that many, it drops what was read, because the
    /// writer removes a record that it could not finish.
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

    /// Whether there is something after the last complete record.
    fn has_rest(&self) -> Result<bool, LogError> {
        let metadata = self.file.metadata().map_err(LogError::new("read", &self.path))?;
        Ok(metadata.len() > self.offset)
    }
}

fn later_exists(dir: &Path, number: u64) -> Result<bool, LogError> {
    let numbers = segment_numbers(dir).map_err(LogError::new("list", dir))?;
    Ok(numbers.last().is_some_and(|last| *last > number))
}

/// Tells a log of a newer version from a damaged one: not a single segment of it can be read.
fn refuse_newer(dir: &Path) -> Result<(), LogError> {
    let mut refused = Ok(());
    for number in segment_numbers(dir).map_err(LogError::new("list", dir))? {
        let path = segment_path(dir, number);
        let mut bytes = [0; SegmentHeader::LEN];
        // It was removed meanwhile, or is just being begun.
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

/// The headers of all segments with a good header, ascending.
fn headers(dir: &Path) -> Result<Vec<(u64, SegmentHeader)>, LogError> {
    let mut headers = Vec::new();
    for number in segment_numbers(dir).map_err(LogError::new("list", dir))? {
        headers.extend(Segment::open(dir, number)?.map(|(_, header)| (number, header)));
    }
    Ok(headers)
}

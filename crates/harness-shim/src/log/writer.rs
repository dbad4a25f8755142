//! Appends to a log.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::LogError;
use super::format::{
    DroppedCount, Kind, MAX_RECORD, NO_NUMBER, Position, RecordHeader, SegmentHeader, Stream, newlines,
    segment_numbers, segment_path,
};
use super::reader::{ReadItem, Reader};
use crate::run_dir::LogLimits;

/// How many bytes [`Writer::append_all`] writes at once. It is less than [`MAX_RECORD`], so no piece is longer.
const TOGETHER: u64 = 256 << 10;

/// Output that is missing from the log because it could not be written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// The number of bytes.
    pub bytes: u64,
    /// The number of newlines among them.
    pub lines: u64,
}

/// Appends records and rotates segments. It uses one `writev(2)` for each record, unless it gets many at once.
#[derive(Debug)]
pub struct Writer {
    dir: PathBuf,
    limits: LogLimits,
    /// `None` before the first record.
    segment: Option<File>,
    /// The number of this segment, or of the last segment of an earlier writer.
    number: u64,
    /// The number of bytes in the segment, which is where the next record goes.
    len: u64,
    seq: u64,
    lines: u64,
    /// The latest time of a record. Records may have times that are not in order.
    latest_ns: u64,
    /// Everything that was dropped in this writer's life.
    dropped: Dropped,
    /// The part of it that is not recorded in the log yet.
    unnoted: Dropped,
}

impl Writer {
    /// Begins the log of `dir`, or a new segment of an existing log.
    ///
    /// # Errors
    /// When the directory cannot be read or the segment cannot be created.
    pub fn open(dir: impl Into<PathBuf>, limits: LogLimits, now_ns: u64) -> Result<Self, LogError> {
        let mut writer = Self::waiting(dir, limits)?;
        let path = segment_path(&writer.dir, writer.number + 1);
        writer.begin(now_ns).map_err(LogError::new("create", &path))?;
        Ok(writer)
    }

    /// The same, but makes nothing before the first record is written: many services never write anything.
    ///
    /// # Errors
    /// When the directory exists and cannot be read.
    pub fn waiting(dir: impl Into<PathBuf>, limits: LogLimits) -> Result<Self, LogError> {
        let dir = dir.into();
        let numbers = segment_numbers(&dir).map_err(LogError::new("list", &dir))?;
        let last = numbers.last().copied().unwrap_or(0);
        let (seq, lines, latest_ns) = if last == 0 { (0, 0, 0) } else { end_of(&dir)? };
        Ok(Self {
            dir,
            limits,
            segment: None,
            number: last,
            len: 0,
            seq,
            lines,
            latest_ns,
            dropped: Dropped::default(),
            unnoted: Dropped::default(),
        })
    }

    /// Appends what was read from a stream. Output that cannot be written is dropped and counted. The count is
    /// recorded in the log before the next record that can be written.
    pub fn append(&mut self, stream: Stream, bytes: &[u8], now_ns: u64) {
        for piece in bytes.chunks(MAX_RECORD as usize) {
            self.append_piece(stream, piece, now_ns);
        }
    }

    /// Appends many pieces of output with as few writes as possible. Each is a record with its own time.
    pub fn append_all(&mut self, pieces: &[(Stream, &[u8], u64)]) {
        let mut rest = pieces;
        while let Some((_, _, now_ns)) = rest.first() {
            let together = self.together(rest);
            if together < 2 || self.note_dropped(*now_ns).is_err() {
                let (stream, bytes, now_ns) = rest[0];
                self.append(stream, bytes, now_ns);
                rest = &rest[1..];
                continue;
            }
            let (now, later) = rest.split_at(together);
            if self.write_together(now).is_err() {
                // Write them one by one, because there may be space for some of them.
                for (stream, bytes, now_ns) in now {
                    self.append(*stream, bytes, *now_ns);
                }
            }
            rest = later;
        }
    }

    /// Where the next record goes.
    pub fn position(&self) -> Position {
        Position {
            seq: self.seq,
            lines: self.lines,
        }
    }

    /// Appends many pieces as [`append_all`](Self::append_all) does, but drops nothing: what cannot be written now can
    /// be given again. [`position`](Self::position) tells how many were written.
    ///
    /// # Errors
    /// When a piece cannot be written, or is longer than a record can be. The pieces before it are written.
    pub fn append_or_fail(&mut self, pieces: &[(Stream, &[u8], u64)]) -> Result<(), LogError> {
        let mut rest = pieces;
        while let Some((stream, bytes, now_ns)) = rest.first() {
            let together = self.together(rest);
            let written = if together > 1 && self.write_together(&rest[..together]).is_ok() {
                together
            } else {
                self.append_or_fail_one(*stream, bytes, *now_ns)?;
                1
            };
            rest = &rest[written..];
        }
        Ok(())
    }

    fn append_or_fail_one(&mut self, stream: Stream, bytes: &[u8], now_ns: u64) -> Result<(), LogError> {
        let fits = bytes.len() <= MAX_RECORD as usize;
        let written = if fits {
            self.write(Kind::Data(stream), bytes, now_ns)
        } else {
            Err(io::ErrorKind::InvalidInput.into())
        };
        written.map_err(LogError::new("write to", &self.dir))?;
        self.lines = self.lines.saturating_add(newlines(bytes));
        Ok(())
    }

    /// Leaves a gap: the next record is the one at this position, which must be later. Readers see that what is
    /// between is missing.
    ///
    /// # Errors
    /// When a segment cannot be begun there. Then nothing has changed.
    pub fn skip_to(&mut self, position: Position, now_ns: u64) -> Result<(), LogError> {
        let before = self.position();
        (self.seq, self.lines) = (position.seq, position.lines);
        self.rotate(now_ns).map_err(|error| {
            (self.seq, self.lines) = (before.seq, before.lines);
            LogError::new("begin a segment in", &self.dir)(error)
        })
    }

    /// How many of these pieces, starting with the first, fit into this segment and one write; none if the segment is
    /// not begun.
    fn together(&self, pieces: &[(Stream, &[u8], u64)]) -> usize {
        if self.segment.is_none() {
            return 0;
        }
        let room = self.limits.max_size.saturating_sub(self.len).min(TOGETHER);
        let mut size = 0;
        let fits = |(_, bytes, _): &&(Stream, &[u8], u64)| {
            size += (RecordHeader::LEN + bytes.len()) as u64;
            size <= room
        };
        pieces.iter().take_while(fits).count()
    }

    fn write_together(&mut self, pieces: &[(Stream, &[u8], u64)]) -> io::Result<()> {
        let mut records = Vec::new();
        let (mut lines, mut latest_ns) = (0_u64, self.latest_ns);
        for (seq, (stream, bytes, now_ns)) in (self.seq..).zip(pieces) {
            let header = RecordHeader {
                seq,
                time_ns: *now_ns,
                len: u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
                kind: Kind::Data(*stream),
            };
            records.extend_from_slice(&header.encode());
            records.extend_from_slice(bytes);
            latest_ns = latest_ns.max(*now_ns);
            lines = lines.saturating_add(newlines(bytes));
        }
        let Some(segment) = &mut self.segment else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if let Err(error) = segment.write_all(&records) {
            // As for a single record.
            let _ = segment.set_len(self.len);
            return Err(error);
        }
        self.len += records.len() as u64;
        self.seq = self.seq.saturating_add(pieces.len() as u64);
        self.lines = self.lines.saturating_add(lines);
        self.latest_ns = latest_ns;
        Ok(())
    }

    fn append_piece(&mut self, stream: Stream, bytes: &[u8], now_ns: u64) {
        let lines = newlines(bytes);
        let result = self.note_dropped(now_ns).and_then(|()| {
            self.write(Kind::Data(stream), bytes, now_ns)?;
            self.lines = self.lines.saturating_add(lines);
            Ok(())
        });
        if result.is_err() {
            for count in [&mut self.dropped, &mut self.unnoted] {
                count.bytes += bytes.len() as u64;
                count.lines += lines;
            }
        }
    }

    /// Everything that was dropped.
    pub fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// Records in the log what was dropped, if that is possible now. Call this last.
    pub fn finish(&mut self, now_ns: u64) {
        // The count is also in `dropped`, which goes into the exit record.
        let _ = self.note_dropped(now_ns);
    }

    fn note_dropped(&mut self, now_ns: u64) -> io::Result<()> {
        let Dropped { bytes, lines } = self.unnoted;
        if bytes == 0 {
            return Ok(());
        }
        let count = DroppedCount { lines, bytes };
        self.write(Kind::Dropped, &count.encode(), now_ns)?;
        self.lines = self.lines.saturating_add(lines);
        self.unnoted = Dropped::default();
        Ok(())
    }

    fn write(&mut self, kind: Kind, bytes: &[u8], now_ns: u64) -> io::Result<()> {
        let size = (RecordHeader::LEN + bytes.len()) as u64;
        let has_records = self.len > SegmentHeader::LEN as u64;
        if has_records && self.len + size > self.limits.max_size {
            self.rotate(now_ns)?;
        }
        if self.segment.is_none() {
            self.begin(now_ns)?;
        }
        let header = RecordHeader {
            seq: self.seq,
            time_ns: now_ns,
            len: u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
            kind,
        };
        let len = self.len;
        if let Some(segment) = &mut self.segment
            && let Err(error) = write_all(segment, &header.encode(), bytes)
        {
            // Do not leave half a record: remove what was written of it. The descriptor appends, so the next record
            // goes where this one began.
            let _ = segment.set_len(len);
            return Err(error);
        }
        self.len += size;
        self.seq = self.seq.saturating_add(1);
        self.latest_ns = self.latest_ns.max(now_ns);
        Ok(())
    }

    /// Begins the next segment. If that fails, the previous one stays.
    fn begin(&mut self, now_ns: u64) -> io::Result<()> {
        let header = SegmentHeader {
            first_seq: self.seq,
            lines_before: self.lines,
            // No record before this segment is later, so that whoever wants what is later can begin here.
            created_ns: now_ns.max(self.latest_ns),
        };
        let number = self.number + 1;
        if number == NO_NUMBER {
            return Err(io::Error::other("no number is left for another segment"));
        }
        let segment = create(&self.dir, number, &header)?;
        self.number = number;
        self.len = SegmentHeader::LEN as u64;
        self.segment = Some(segment);
        Ok(())
    }

    fn rotate(&mut self, now_ns: u64) -> io::Result<()> {
        self.begin(now_ns)?;
        // If it cannot be removed now, the next rotation tries again.
        let keep_from = (self.number + 1).saturating_sub(u64::from(self.limits.max_files.max(1)));
        for number in segment_numbers(&self.dir).unwrap_or_default() {
            if number < keep_from {
                let _ = fs::remove_file(segment_path(&self.dir, number));
            }
        }
        Ok(())
    }
}

fn create(dir: &Path, number: u64, header: &SegmentHeader) -> io::Result<File> {
    let path = segment_path(dir, number);
    let mut options = OpenOptions::new();
    options.append(true).create_new(true).mode(0o600);
    let mut file = match options.open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().mode(0o700).create(dir)?;
            options.open(&path)?
        }
        opened => opened?,
    };
    if let Err(error) = file.write_all(&header.encode()) {
        let _ = fs::remove_file(&path);
        return Err(error);
    }
    Ok(file)
}

fn write_all(file: &mut File, header: &[u8], bytes: &[u8]) -> io::Result<()> {
    let mut slices = [IoSlice::new(header), IoSlice::new(bytes)];
    let mut rest = &mut slices[..];
    while !rest.is_empty() {
        match file.write_vectored(rest) {
            Ok(0) if rest.iter().all(|slice| slice.is_empty()) => return Ok(()),
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The next sequence number and the line count of an existing log, and the latest time at its end.
fn end_of(dir: &Path) -> Result<(u64, u64, u64), LogError> {
    let mut reader = Reader::open_tail(dir, 0)?;
    let mut latest_ns = 0;
    loop {
        match reader.next()? {
            ReadItem::Record(record) => latest_ns = record.time_ns.max(latest_ns),
            ReadItem::Gap { .. } => {}
            ReadItem::End => return Ok((reader.next_seq(), reader.lines_seen(), latest_ns)),
        }
    }
}

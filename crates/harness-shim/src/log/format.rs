//! The binary format of a segment.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The stream that bytes came from. A terminal has only [`Stream::Stdout`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The result of one read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number: 0, 1, 2, … over all segments of a run, with both streams counted together.
    pub seq: u64,
    /// When it was read, in nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// The stream it came from.
    pub stream: Stream,
    /// The bytes that were read.
    pub data: Vec<u8>,
}

/// A place in a log, between two records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    /// The number of the record after it.
    pub seq: u64,
    /// How many lines (newlines) the run has written before it, including missing ones.
    pub lines: u64,
}

/// The most bytes that a record can contain. A larger number means damage.
pub(super) const MAX_RECORD: u32 = 1024 * 1024;

const MAGIC: [u8; 8] = *b"HRNSLOG\n";
const FORMAT: u32 = 1;
const FLAG_DROPPED: u8 = 1;

/// The first thing in every segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    /// The number of the first record.
    pub(super) first_seq: u64,
    /// The number of lines before this segment, since the run began.
    pub(super) lines_before: u64,
    /// When the segment was begun, in nanoseconds since the Unix epoch.
    pub(super) created_ns: u64,
}

impl SegmentHeader {
    pub(super) const LEN: usize = 36;

    pub(super) fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[12..20].copy_from_slice(&self.first_seq.to_le_bytes());
        bytes[20..28].copy_from_slice(&self.lines_before.to_le_bytes());
        bytes[28..36].copy_from_slice(&self.created_ns.to_le_bytes());
        bytes
    }

    /// Decodes the beginning of a segment.
    pub(super) fn decode(bytes: &[u8; Self::LEN]) -> Decoded {
        let mut fields = Fields(bytes);
        if fields.take::<8>() != Some(MAGIC) {
            return Decoded::Damaged;
        }
        match fields.take().map(u32::from_le_bytes) {
            Some(FORMAT) => {}
            Some(found) if found > FORMAT => return Decoded::Newer { found },
            _ => return Decoded::Damaged,
        }
        let mut header = || {
            Some(Self {
                first_seq: fields.u64()?,
                lines_before: fields.u64()?,
                created_ns: fields.u64()?,
            })
        };
        header().map_or(Decoded::Damaged, Decoded::Header)
    }
}

/// What the first bytes of a segment mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decoded {
    /// A segment that can be read.
    Header(SegmentHeader),
    /// A segment in a format that only a newer version knows.
    Newer {
        /// Its format.
        found: u32,
    },
    /// Not a segment, or not yet.
    Damaged,
}

/// The error that says that a newer version wrote a segment.
pub(super) fn newer(found: u32) -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        format!("it was written by a newer harness (format {found}; this one knows up to {FORMAT})"),
    )
}

/// The kind of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Bytes of a stream.
    Data(Stream),
    /// Output was dropped here. The bytes are a [`DroppedCount`].
    Dropped,
}

/// The beginning of every record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub(super) seq: u64,
    pub(super) time_ns: u64,
    pub(super) len: u32,
    pub(super) kind: Kind,
}

impl RecordHeader {
    pub(super) const LEN: usize = 24;

    pub(super) fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&self.seq.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.time_ns.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.len.to_le_bytes());
        let (stream, flags) = match self.kind {
            Kind::Data(Stream::Stdout) => (1, 0),
            Kind::Data(Stream::Stderr) => (2, 0),
            Kind::Dropped => (0, FLAG_DROPPED),
        };
        bytes[20] = stream;
        bytes[21] = flags;
        let check = check(&bytes[..22]);
        bytes[22..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    /// `None` if it is not a record.
    pub(super) fn decode(bytes: &[u8; Self::LEN]) -> Option<Self> {
        let (body, stored) = bytes.split_at(22);
        if check(body).to_le_bytes() != stored {
            return None;
        }
        let mut fields = Fields(body);
        let header = Self {
            seq: fields.u64()?,
            time_ns: fields.u64()?,
            len: u32::from_le_bytes(fields.take()?),
            kind: match fields.take::<2>()? {
                [1, 0] => Kind::Data(Stream::Stdout),
                [2, 0] => Kind::Data(Stream::Stderr),
                [0, FLAG_DROPPED] => Kind::Dropped,
                _ => return None,
            },
        };
        let plausible = match header.kind {
            Kind::Data(_) => header.len <= MAX_RECORD,
            Kind::Dropped => header.len as usize == DroppedCount::LEN,
        };
        plausible.then_some(header)
    }
}

/// The content of a record about dropped output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DroppedCount {
    pub(super) lines: u64,
    pub(super) bytes: u64,
}

impl DroppedCount {
    pub(super) const LEN: usize = 16;

    pub(super) fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&self.lines.to_le_bytes());
        bytes[8..].copy_from_slice(&self.bytes.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        Some(Self {
            lines: fields.u64()?,
            bytes: fields.u64()?,
        })
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take()?))
    }
}

/// FNV-1a folded to 16 bits. This is enough to tell a header from zeros or from the middle of some output.
fn check(bytes: &[u8]) -> u16 {
    let hash = bytes.iter().fold(0x811c_9dc5_u32, |hash, &byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    let [a, b, c, d] = hash.to_le_bytes();
    u16::from_le_bytes([a ^ c, b ^ d])
}

/// The number of newlines in these bytes.
///
/// It handles eight bytes at a time: an optimizer for size would not speed up a plain loop, and all output goes
/// through this function.
pub(super) fn newlines(bytes: &[u8]) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const LOW: u64 = ONES * 0x7f;
    let (words, rest) = bytes.as_chunks::<8>();
    // So few words at a time that the count of each of the eight byte positions fits into a byte.
    let in_words = words.chunks(255).map(|block| {
        let counts: u64 = block
            .iter()
            .map(|word| {
                // A byte is zero where it was a newline. Only there its highest bit stays clear.
                let zero = u64::from_ne_bytes(*word) ^ (ONES * u64::from(b'\n'));
                let others = ((zero & LOW) + LOW) | zero;
                (!others >> 7) & ONES
            })
            .sum();
        counts.to_ne_bytes().into_iter().map(u64::from).sum::<u64>()
    });
    let in_rest = rest.iter().filter(|&&byte| byte == b'\n').count() as u64;
    in_words.sum::<u64>() + in_rest
}

/// The path of a segment.
pub(super) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(segment_name(number))
}

fn segment_name(number: u64) -> String {
    format!("{number:06}.seg")
}

/// No segment can have this number, because no number could follow it.
pub(super) const NO_NUMBER: u64 = u64::MAX;

/// The numbers of all segments, ascending. A file with another kind of name is not a segment. Neither is one with the
/// last possible number: no number follows it, so nothing is ever written under it. Before the first write the
/// directory does not exist.
pub(super) fn segment_numbers(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && has_parent(dir) => return Ok(numbers),
        entries => entries?,
    };
    for entry in entries {
        let name = entry?.file_name();
        let digits = name.to_str().and_then(|name| name.strip_suffix(".seg"));
        let number = digits.and_then(|digits| digits.parse::<u64>().ok());
        numbers.extend(number.filter(|number| *number != NO_NUMBER && *name == *segment_name(*number)));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Whether the parent of the directory exists.
fn has_parent(dir: &Path) -> bool {
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.is_dir(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_the_round_trip() {
        let segment = SegmentHeader {
            first_seq: 1,
            lines_before: u64::MAX,
            created_ns: 3,
        };
        assert_eq!(SegmentHeader::decode(&segment.encode()), Decoded::Header(segment));
        for kind in [
            Kind::Data(Stream::Stdout),
            Kind::Data(Stream::Stderr),
            Kind::Dropped,
        ] {
            let record = RecordHeader {
                seq: 5,
                time_ns: 6,
                len: 16,
                kind,
            };
            assert_eq!(RecordHeader::decode(&record.encode()), Some(record));
        }
        assert_eq!(RecordHeader::decode(&[0; RecordHeader::LEN]), None);
    }

    #[test]
    fn newlines_are_counted() {
        assert_eq!(newlines(b""), 0);
        assert_eq!(newlines(&[b'\n'; 1000]), 1000);
        assert_eq!(newlines(b"a\nb\nc"), 2);
        // Every byte next to every other byte, at every position of a word.
        for byte in 0..=u8::MAX {
            for place in 0..8 {
                let mut bytes = [byte; 19];
                bytes[place] = b'\n';
                let expected = if byte == b'\n' { 19 } else { 1 };
                assert_eq!(newlines(&bytes), expected, "{byte} at {place}");
            }
        }
    }
}

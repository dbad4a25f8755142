//! Records cut into lines.

use super::format::{Record, Stream};

/// The longest line in bytes; a longer one comes in pieces flagged partial.
pub const MAX_LINE: usize = 64 * 1024;

/// A line, or a piece of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When its first byte was read, in nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// Where from.
    pub stream: Stream,
    /// Whether it does not end here: too long, or not finished when it was flushed.
    pub partial: bool,
    /// Its bytes without the newline.
    pub bytes: Vec<u8>,
}

/// Cuts records into lines, each stream by itself.
#[derive(Debug, Default)]
pub struct Lines {
    stdout: Unfinished,
    stderr: Unfinished,
}

#[derive(Debug, Default)]
struct Unfinished {
    time_ns: u64,
    bytes: Vec<u8>,
    continues: bool,
}

impl Lines {
    /// Nothing begun yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a record and gives `sink` the lines that it completes.
    pub fn push(&mut self, record: &Record, mut sink: impl FnMut(Line)) {
        let unfinished = match record.stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        for piece in record.data.split_inclusive(|&b| b == b'\n') {
            let (text, ends) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            unfinished.add(text, record, &mut sink);
            if ends {
                sink(unfinished.take(record.stream, false));
                unfinished.continues = false;
            }
        }
    }

    /// Gives `sink` what is unfinished, flagged partial: at the end of a log, or before a gap.
    pub fn flush(&mut self, mut sink: impl FnMut(Line)) {
        for (unfinished, stream) in [
            (&mut self.stdout, Stream::Stdout),
            (&mut self.stderr, Stream::Stderr),
        ] {
            if !unfinished.bytes.is_empty() {
                sink(unfinished.take(stream, true));
            }
            // What comes after the gap is no part of that line and has a time of its own.
            unfinished.continues = false;
        }
    }
}

impl Unfinished {
    fn add(&mut self, mut text: &[u8], record: &Record, sink: &mut impl FnMut(Line)) {
        if self.bytes.is_empty() && !self.continues {
            self.time_ns = record.time_ns;
        }
        while self.bytes.len() + text.len() > MAX_LINE {
            let (head, tail) = text.split_at(MAX_LINE - self.bytes.len());
            self.bytes.extend_from_slice(head);
            sink(self.take(record.stream, true));
            text = tail;
        }
        self.bytes.extend_from_slice(text);
    }

    fn take(&mut self, stream: Stream, partial: bool) -> Line {
        self.continues = partial;
        Line {
            time_ns: self.time_ns,
            stream,
            partial,
            bytes: std::mem::take(&mut self.bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(time_ns: u64, stream: Stream, data: &[u8]) -> Record {
        Record {
            seq: 0,
            time_ns,
            stream,
            data: data.to_vec(),
        }
    }

    fn cut(records: &[Record]) -> Vec<(u64, Stream, bool, Vec<u8>)> {
        let (mut lines, mut out) = (Lines::new(), Vec::new());
        let mut sink = |l: Line| out.push((l.time_ns, l.stream, l.partial, l.bytes));
        for record in records {
            lines.push(record, &mut sink);
        }
        lines.flush(&mut sink);
        out
    }

    #[test]
    fn streams_are_not_mixed() {
        use Stream::{Stderr, Stdout};
        let records = [
            record(1, Stdout, b"on"),
            record(2, Stderr, b"err\n\nlast"),
            record(3, Stdout, b"e\ntwo\n"),
        ];
        assert_eq!(
            cut(&records),
            [
                (2, Stderr, false, b"err".to_vec()),
                (2, Stderr, false, b"".to_vec()),
                (1, Stdout, false, b"one".to_vec()),
                (3, Stdout, false, b"two".to_vec()),
                (2, Stderr, true, b"last".to_vec()),
            ]
        );
    }

    #[test]
    fn long_lines_come_in_pieces() {
        let mut data = vec![b'x'; 2 * MAX_LINE + 5];
        data.push(b'\n');
        let pieces: Vec<_> = data.chunks(1000).map(|c| record(9, Stream::Stdout, c)).collect();
        let lengths: Vec<_> = cut(&pieces).iter().map(|l| (l.3.len(), l.2)).collect();
        assert_eq!(lengths, [(MAX_LINE, true), (MAX_LINE, true), (5, false)]);
    }

    #[test]
    fn what_comes_after_a_gap_has_its_own_time() {
        let (mut lines, mut out) = (Lines::new(), Vec::new());
        let mut sink = |l: Line| out.push((l.time_ns, l.bytes));
        lines.push(&record(1, Stream::Stdout, b"before"), &mut sink);
        lines.flush(&mut sink);
        lines.push(&record(9, Stream::Stdout, b"after\n"), &mut sink);
        assert_eq!(out, [(1, b"before".to_vec()), (9, b"after".to_vec())]);
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_whole() {
        let mut data = vec![b'x'; MAX_LINE];
        data.push(b'\n');
        assert_eq!(cut(&[record(1, Stream::Stdout, &data)]).len(), 1);
    }
}

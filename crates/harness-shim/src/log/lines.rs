//! Cuts records into lines.

use super::format::{Record, Stream};

/// The longest line, in bytes. A longer line comes in pieces that are marked as partial.
pub const MAX_LINE: usize = 64 * 1024;

/// A line, or a piece of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When its first byte was read, in nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// The stream it came from.
    pub stream: Stream,
    /// Whether the line does not end here: it is too long, or it was not finished when it was flushed.
    pub partial: bool,
    /// Whether this continues the previous piece of the same stream.
    pub continues: bool,
    /// How many of its bytes were already taken from [`Lines::offer`].
    pub taken: usize,
    /// Its bytes without the newline.
    pub bytes: Vec<u8>,
}

/// Cuts records into lines, separately for each stream.
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
    /// How many of `bytes` were taken.
    taken: usize,
    offered: usize,
}

impl Lines {
    /// Without any unfinished line.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a record, and passes the lines that it finishes to `sink`.
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
            }
        }
    }

    /// The unfinished line of a stream, as far as it goes.
    pub fn unfinished(&self, stream: Stream) -> &[u8] {
        match stream {
            Stream::Stdout => &self.stdout.bytes,
            Stream::Stderr => &self.stderr.bytes,
        }
    }

    /// Whether there is an unfinished line that has not been offered.
    pub fn has_offer(&self) -> bool {
        [&self.stdout, &self.stderr]
            .iter()
            .any(|unfinished| unfinished.bytes.len() > unfinished.offered)
    }

    /// Offers each unfinished line to `sink`, as far as it goes and marked as partial, if it has grown since the last
    /// offer. If `sink` takes it (returns `true`), this is marked in the piece that comes with the rest. So prompts
    /// can be shown at once, and nothing twice.
    pub fn offer(&mut self, mut sink: impl FnMut(Line) -> bool) {
        for (unfinished, stream) in self.by_time() {
            if unfinished.bytes.len() == unfinished.offered {
                continue;
            }
            unfinished.offered = unfinished.bytes.len();
            let line = Line {
                time_ns: unfinished.time_ns,
                stream,
                partial: true,
                continues: unfinished.continues,
                taken: unfinished.taken,
                bytes: unfinished.bytes.clone(),
            };
            if sink(line) {
                unfinished.taken = unfinished.bytes.len();
            }
        }
    }

    /// The unfinished lines, in the order in which they began.
    fn by_time(&mut self) -> [(&mut Unfinished, Stream); 2] {
        let mut both = [
            (&mut self.stdout, Stream::Stdout),
            (&mut self.stderr, Stream::Stderr),
        ];
        both.sort_by_key(|(unfinished, _)| unfinished.time_ns);
        both
    }

    /// Passes the unfinished lines to `sink`, marked as partial: at the end of a log, or before a gap.
    pub fn flush(&mut self, mut sink: impl FnMut(Line)) {
        for (unfinished, stream) in self.by_time() {
            if !unfinished.bytes.is_empty() {
                sink(unfinished.take(stream, true));
            }
            // What comes after the gap does not belong to that line, and has a time of its own.
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
        self.offered = 0;
        Line {
            time_ns: self.time_ns,
            stream,
            partial,
            continues: std::mem::replace(&mut self.continues, partial),
            taken: std::mem::take(&mut self.taken),
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
    fn what_is_unfinished_is_offered_and_marked_where_it_was_taken() {
        let mut lines = Lines::new();
        let mut none = |line: Line| panic!("{line:?}");
        lines.push(&record(5, Stream::Stdout, b"name"), &mut none);
        lines.push(&record(3, Stream::Stderr, b"warn"), &mut none);
        assert!(lines.has_offer());
        let mut offered = Vec::new();
        // The line that began first comes first. Only the one of stdout is taken.
        lines.offer(|line| {
            offered.push((line.stream, line.bytes));
            line.stream == Stream::Stdout
        });
        assert_eq!(
            offered,
            [
                (Stream::Stderr, b"warn".to_vec()),
                (Stream::Stdout, b"name".to_vec())
            ]
        );
        assert!(!lines.has_offer());
        lines.offer(|line| panic!("{line:?} again"));
        lines.push(&record(6, Stream::Stdout, b"> "), &mut none);
        lines.offer(|line| {
            assert_eq!((line.bytes.as_slice(), line.taken), (&b"name> "[..], 4));
            true
        });
        let mut ended = Vec::new();
        lines.push(&record(7, Stream::Stdout, b"joe\nnext\n"), |line| {
            ended.push((line.bytes, line.taken, line.partial));
        });
        lines.push(&record(7, Stream::Stderr, b"ing\n"), |line| {
            ended.push((line.bytes, line.taken, line.partial));
        });
        assert_eq!(
            ended,
            [
                (b"name> joe".to_vec(), 6, false),
                (b"next".to_vec(), 0, false),
                (b"warning".to_vec(), 0, false)
            ]
        );
    }

    #[test]
    fn what_was_taken_of_a_line_that_becomes_too_long_is_marked_in_its_first_piece() {
        let mut lines = Lines::new();
        lines.push(&record(1, Stream::Stdout, b"begin"), |line| panic!("{line:?}"));
        lines.offer(|_| true);
        let mut out = Vec::new();
        let rest = vec![b'x'; MAX_LINE];
        lines.push(&record(2, Stream::Stdout, &rest), |line| out.push(line));
        lines.flush(|line| out.push(line));
        let shape: Vec<_> = out
            .iter()
            .map(|line| (line.bytes.len(), line.taken, line.continues, line.partial))
            .collect();
        assert_eq!(shape, [(MAX_LINE, 5, false, true), (5, 0, true, true)]);
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_whole() {
        let mut data = vec![b'x'; MAX_LINE];
        data.push(b'\n');
        assert_eq!(cut(&[record(1, Stream::Stdout, &data)]).len(), 1);
    }
}

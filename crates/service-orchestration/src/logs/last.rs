//! The last lines of one generation, as a report shows them.

use std::collections::VecDeque;
use std::path::Path;

use command_executor::logs::{FollowError, Line, LogFrom, Read, ReadItem, RecordFollower, Stream};
use harness_model::{Clipped, Redactor};

use super::cut::RedactedLines;

/// Bytes read at a time.
const BATCH: usize = 64 << 10;

/// The last lines of a generation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LastLines {
    /// The lines without line ends and secrets, oldest first, including unfinished ones. Of a very long line, only
    /// its beginning and its end.
    pub lines: Vec<Vec<u8>>,
    /// Whether output before, between or after them is missing.
    pub is_incomplete: bool,
}

/// The last `count` lines of one generation.
///
/// # Errors
/// When its log cannot be read.
pub async fn last_lines(run_dir: &Path, count: u64, redactor: &Redactor) -> Result<LastLines, FollowError> {
    let mut last = Last {
        wanted: usize::try_from(count).unwrap_or(usize::MAX),
        ..Last::default()
    };
    // Starts somewhat earlier, so that the start of the first line does not cut a secret.
    let mut records = RecordFollower::existing(run_dir, LogFrom::Tail(count));
    let mut lines = RedactedLines::new(redactor);
    let mut is_incomplete = false;
    while let Read::Items(items) = records.read(BATCH).await? {
        for item in items {
            match item {
                ReadItem::Record(record) => lines.push(record, |line| last.take(&line)),
                ReadItem::Gap { .. } => {
                    is_incomplete = true;
                    lines.flush(|line| last.take(&line));
                }
                ReadItem::End => {}
            }
        }
    }
    lines.flush(|line| last.take(&line));
    Ok(LastLines {
        lines: last.lines.into_iter().map(Clipped::into_bytes).collect(),
        is_incomplete,
    })
}

/// Puts pieces of lines together and keeps the last lines.
#[derive(Default)]
struct Last {
    wanted: usize,
    lines: VecDeque<Clipped>,
    /// The number of the first line.
    first: usize,
    /// The numbers of the lines that go on, of stdout and stderr.
    open: [Option<usize>; 2],
}

impl Last {
    fn take(&mut self, line: &Line) {
        let open = &mut self.open[usize::from(line.stream == Stream::Stderr)];
        let before = open.take().filter(|_| line.continues);
        let at = before.and_then(|number| number.checked_sub(self.first));
        let number = match at.and_then(|at| Some((at, self.lines.get_mut(at)?))) {
            Some((at, begun)) => {
                begun.add(&line.bytes);
                self.first + at
            }
            None => {
                let mut new = Clipped::default();
                new.add(&line.bytes);
                self.lines.push_back(new);
                self.first + self.lines.len() - 1
            }
        };
        *open = line.partial.then_some(number);
        while self.lines.len() > self.wanted {
            self.lines.pop_front();
            self.first += 1;
        }
    }
}

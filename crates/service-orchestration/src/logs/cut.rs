//! Turns the records of one generation into the lines that are wanted.

use std::sync::Arc;

use command_executor::logs::{Line, Lines, ReadItem, Record, Stream};
use harness_model::{RedactingStream, Redactor, ServiceName, WallTime};

use super::{LogItem, ServiceLine, Shared};
use crate::health::LogMatcher;

/// Redacts, cuts and filters, in this order, because a long line may be cut inside a secret.
pub(super) struct Cutter {
    filter: Filter,
    lines: RedactedLines,
    /// Whether a record was written after the logs were asked for.
    pub(super) past_opened: bool,
    /// Whether nothing that comes later is wanted.
    pub(super) past_until: bool,
}

/// Which lines of a generation are wanted.
struct Filter {
    shared: Arc<Shared>,
    service: ServiceName,
    generation: u64,
}

impl Cutter {
    pub(super) fn new(shared: Arc<Shared>, service: ServiceName, generation: u64) -> Self {
        Self {
            lines: RedactedLines::new(&(shared.redactors)()),
            filter: Filter {
                shared,
                service,
                generation,
            },
            past_opened: false,
            past_until: false,
        }
    }

    /// The wanted lines that these records finish.
    pub(super) fn cut(&mut self, items: Vec<ReadItem>) -> Vec<LogItem> {
        let mut out = Vec::new();
        let mut cut = Vec::new();
        for item in items {
            match item {
                ReadItem::Record(record) => {
                    let time = WallTime(record.time_ns);
                    self.lines.push(record, |line| cut.push(line));
                    out.extend(cut.drain(..).filter_map(|line| self.filter.wanted(line)));
                    let shared = &self.filter.shared;
                    let query = &shared.query;
                    self.past_opened |= time >= shared.opened;
                    // Without `follow`, stop here: a service that writes faster than this reads would keep it going
                    // forever.
                    self.past_until =
                        query.until.is_some_and(|until| time >= until) || (self.past_opened && !query.follow);
                    if self.past_until {
                        break;
                    }
                }
                ReadItem::Gap { lines, .. } => {
                    out.extend(self.flush());
                    out.push(LogItem::Gap {
                        service: self.filter.service.clone(),
                        lines,
                    });
                }
                ReadItem::End => {}
            }
        }
        out
    }

    /// The unfinished lines that nothing will finish.
    pub(super) fn flush(&mut self) -> Vec<LogItem> {
        let mut rest = Vec::new();
        self.lines.flush(|line| rest.push(line));
        rest.into_iter()
            .filter_map(|line| self.filter.wanted(line))
            .collect()
    }

    /// Whether there is an unfinished line that was not shown.
    pub(super) fn has_unfinished(&self) -> bool {
        self.lines.has_unfinished()
    }

    /// The unfinished lines as far as they go. What comes later continues them.
    pub(super) fn unfinished(&mut self) -> Vec<LogItem> {
        let (mut out, filter) = (Vec::new(), &self.filter);
        self.lines.unfinished(|line| {
            let item = filter.wanted(line);
            let is_wanted = item.is_some();
            out.extend(item);
            is_wanted
        });
        out
    }
}

impl Filter {
    fn wanted(&self, mut line: Line) -> Option<LogItem> {
        let query = &self.shared.query;
        let time = WallTime(line.time_ns);
        if query.since.is_some_and(|since| time < since) || query.until.is_some_and(|until| time >= until) {
            return None;
        }
        let is_begun = line.taken > 0;
        let fits = |pattern: &LogMatcher| pattern.matches(&line.bytes);
        // A line that was shown in part is shown to its end.
        if !is_begun && !query.grep.as_ref().is_none_or(fits) {
            return None;
        }
        let text = line.bytes.split_off(line.taken);
        if text.is_empty() && line.partial {
            return None;
        }
        Some(LogItem::Line(ServiceLine {
            time,
            service: self.service.clone(),
            generation: self.generation,
            stderr: line.stream == Stream::Stderr,
            partial: line.partial,
            continues: line.continues || is_begun,
            text,
        }))
    }
}

/// Lines of two streams. Secrets are removed from them before they are cut.
pub(super) struct RedactedLines {
    lines: Lines,
    stdout: Redacted,
    stderr: Redacted,
}

struct Redacted {
    stream: RedactingStream,
    /// The time of the last record.
    time_ns: u64,
}

impl RedactedLines {
    pub(super) fn new(redactor: &Redactor) -> Self {
        let redacted = || Redacted {
            stream: RedactingStream::new(redactor.clone()),
            time_ns: 0,
        };
        Self {
            lines: Lines::new(),
            stdout: redacted(),
            stderr: redacted(),
        }
    }

    /// Takes a record, and passes the lines that it finishes to `sink`.
    pub(super) fn push(&mut self, mut record: Record, sink: impl FnMut(Line)) {
        let redacted = match record.stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        redacted.time_ns = record.time_ns;
        record.data = redacted.stream.push(record.data);
        self.lines.push(&record, sink);
    }

    /// Passes what is unfinished to `sink`: at the end of a log, or before a gap.
    pub(super) fn flush(&mut self, mut sink: impl FnMut(Line)) {
        self.release(RedactingStream::finish, &mut sink);
        self.lines.flush(sink);
    }

    /// Whether there is an unfinished line that has not been offered.
    fn has_unfinished(&self) -> bool {
        self.lines.has_offer() || self.stdout.stream.is_waiting() || self.stderr.stream.is_waiting()
    }

    /// Offers to `sink` the unfinished lines that may be shown, as [`Lines::offer`] does.
    fn unfinished(&mut self, mut sink: impl FnMut(Line) -> bool) {
        self.release(RedactingStream::pause, &mut |line| {
            sink(line);
        });
        self.lines.offer(sink);
    }

    /// Cuts the text that was held back because it may be a secret.
    fn release(&mut self, how: fn(&mut RedactingStream) -> Vec<u8>, sink: &mut impl FnMut(Line)) {
        for (redacted, stream) in [
            (&mut self.stdout, Stream::Stdout),
            (&mut self.stderr, Stream::Stderr),
        ] {
            let rest = Record {
                seq: 0,
                time_ns: redacted.time_ns,
                stream,
                data: how(&mut redacted.stream),
            };
            self.lines.push(&rest, &mut *sink);
        }
    }
}

//! From the records of one generation to the lines that are wanted.

use std::sync::Arc;

use command_executor::logs::{Line, Lines, ReadItem, Record, Stream};
use harness_model::{RedactingStream, Redactor, ServiceName, WallTime};

use super::{LogItem, ServiceLine, Shared};

/// Redacts, cuts and filters: in this order, since a secret may stand where a long line is cut.
pub(super) struct Cutter {
    shared: Arc<Shared>,
    service: ServiceName,
    generation: u64,
    lines: RedactedLines,
    /// Whether something was written after the logs were asked for.
    pub(super) past_opened: bool,
    /// Whether nothing that comes is wanted any more.
    pub(super) past_until: bool,
}

impl Cutter {
    pub(super) fn new(shared: Arc<Shared>, service: ServiceName, generation: u64) -> Self {
        Self {
            lines: RedactedLines::new(&(shared.redactors)()),
            shared,
            service,
            generation,
            past_opened: false,
            past_until: false,
        }
    }

    /// The wanted lines that these records complete.
    pub(super) fn cut(&mut self, items: Vec<ReadItem>) -> Vec<LogItem> {
        let mut out = Vec::new();
        let mut cut = Vec::new();
        for item in items {
            match item {
                ReadItem::Record(record) => {
                    let time = WallTime(record.time_ns);
                    self.lines.push(record, |line| cut.push(line));
                    out.extend(cut.drain(..).filter_map(|line| self.wanted(line)));
                    let query = &self.shared.query;
                    self.past_opened |= time >= self.shared.opened;
                    // Without following, a service that writes faster than this reads would never be done.
                    self.past_until =
                        query.until.is_some_and(|until| time >= until) || (self.past_opened && !query.follow);
                    if self.past_until {
                        break;
                    }
                }
                ReadItem::Gap { lines, .. } => {
                    out.extend(self.flush());
                    out.push(LogItem::Gap {
                        service: self.service.clone(),
                        lines,
                    });
                }
                ReadItem::End => {}
            }
        }
        out
    }

    /// The unfinished lines: nothing will finish them.
    pub(super) fn flush(&mut self) -> Vec<LogItem> {
        let mut rest = Vec::new();
        self.lines.flush(|line| rest.push(line));
        rest.into_iter().filter_map(|line| self.wanted(line)).collect()
    }

    fn wanted(&self, line: Line) -> Option<LogItem> {
        let query = &self.shared.query;
        let time = WallTime(line.time_ns);
        if query.since.is_some_and(|since| time < since) || query.until.is_some_and(|until| time >= until) {
            return None;
        }
        if query
            .grep
            .as_ref()
            .is_some_and(|pattern| !pattern.matches(&line.bytes))
        {
            return None;
        }
        Some(LogItem::Line(ServiceLine {
            time,
            service: self.service.clone(),
            generation: self.generation,
            stderr: line.stream == Stream::Stderr,
            partial: line.partial,
            text: line.bytes,
        }))
    }
}

/// Lines of two streams, from which secrets were taken before they were cut.
pub(super) struct RedactedLines {
    lines: Lines,
    stdout: Redacted,
    stderr: Redacted,
}

struct Redacted {
    stream: RedactingStream,
    /// Of the last record.
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

    /// Takes a record and gives `sink` the lines that it completes.
    pub(super) fn push(&mut self, mut record: Record, sink: impl FnMut(Line)) {
        let redacted = match record.stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        redacted.time_ns = record.time_ns;
        record.data = redacted.stream.push(record.data);
        self.lines.push(&record, sink);
    }

    /// Gives `sink` what is unfinished: at the end of a log, or before a gap.
    pub(super) fn flush(&mut self, mut sink: impl FnMut(Line)) {
        for (redacted, stream) in [
            (&mut self.stdout, Stream::Stdout),
            (&mut self.stderr, Stream::Stderr),
        ] {
            let rest = Record {
                seq: 0,
                time_ns: redacted.time_ns,
                stream,
                data: redacted.stream.finish(),
            };
            self.lines.push(&rest, &mut sink);
        }
        self.lines.flush(sink);
    }
}

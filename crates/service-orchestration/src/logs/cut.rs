//! From the records of one generation to the lines that are wanted.

use std::sync::Arc;

use command_executor::logs::{Line, Lines, ReadItem, Stream};
use harness_model::{Redactor, ServiceName, WallTime};

use super::{LogItem, ServiceLine, Shared};

/// Cuts, redacts and filters.
pub(super) struct Cutter {
    shared: Arc<Shared>,
    service: ServiceName,
    generation: u64,
    redactor: Arc<Redactor>,
    lines: Lines,
    /// Whether something was written after the logs were asked for.
    pub(super) past_opened: bool,
    /// Whether nothing that comes is wanted any more.
    pub(super) past_until: bool,
}

impl Cutter {
    pub(super) fn new(shared: Arc<Shared>, service: ServiceName, generation: u64) -> Self {
        Self {
            redactor: (shared.redactors)(),
            shared,
            service,
            generation,
            lines: Lines::new(),
            past_opened: false,
            past_until: false,
        }
    }

    /// The wanted lines that these records complete.
    pub(super) fn cut(&mut self, items: Vec<ReadItem>) -> Vec<LogItem> {
        let mut out = Vec::new();
        let mut unfinished = std::mem::take(&mut self.lines);
        for item in items {
            match item {
                ReadItem::Record(record) => {
                    unfinished.push(&record, |line| out.extend(self.wanted(line)));
                    let time = WallTime(record.time_ns);
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
                    unfinished.flush(|line| out.extend(self.wanted(line)));
                    out.push(LogItem::Gap {
                        service: self.service.clone(),
                        lines,
                    });
                }
                ReadItem::End => {}
            }
        }
        self.lines = unfinished;
        out
    }

    /// The unfinished lines: nothing will finish them.
    pub(super) fn flush(&mut self) -> Vec<LogItem> {
        let mut out = Vec::new();
        let mut unfinished = std::mem::take(&mut self.lines);
        unfinished.flush(|line| out.extend(self.wanted(line)));
        out
    }

    fn wanted(&self, line: Line) -> Option<LogItem> {
        let query = &self.shared.query;
        let time = WallTime(line.time_ns);
        if query.since.is_some_and(|since| time < since) || query.until.is_some_and(|until| time >= until) {
            return None;
        }
        let text = self.redactor.redact_bytes(&line.bytes).unwrap_or(line.bytes);
        if query.grep.as_ref().is_some_and(|pattern| !pattern.matches(&text)) {
            return None;
        }
        Some(LogItem::Line(ServiceLine {
            time,
            service: self.service.clone(),
            generation: self.generation,
            stderr: line.stream == Stream::Stderr,
            partial: line.partial,
            text,
        }))
    }
}

//! Services of which something is fetched before there is a plan: lines that go when the plan comes.

use std::collections::BTreeMap;
use std::time::Instant;

use harness_model::{ForeignText, ServiceName};
use indicatif::ProgressBar;

use super::{HEARTBEAT, harmless};
use crate::cli::render::progress::{Lines, STILL};

/// The services, and what is done for each.
#[derive(Default)]
pub(super) struct Preparing(BTreeMap<ServiceName, Row>);

struct Row {
    doing: ForeignText,
    began: Instant,
    told: Instant,
    bar: Option<ProgressBar>,
}

impl Row {
    fn line(&self, lines: &Lines, service: &ServiceName, moving: &str) -> String {
        lines.preparing(service, &self.doing, self.began.elapsed(), moving)
    }
}

impl Preparing {
    /// What is done now; `bar` makes the line that moves, if lines can. The line to write if none moves and it is new.
    pub(super) fn note(
        &mut self,
        lines: &Lines,
        service: ServiceName,
        doing: ForeignText,
        bar: impl FnOnce() -> Option<ProgressBar>,
    ) -> Option<String> {
        if let Some(row) = self.0.get_mut(&service) {
            row.doing = doing;
            return None;
        }
        let now = Instant::now();
        let row = Row {
            doing,
            began: now,
            told: now,
            bar: bar(),
        };
        let line = row.line(lines, &service, STILL);
        let still = row.bar.is_none().then(|| line.clone());
        if let Some(bar) = &row.bar {
            bar.set_message(harmless(line));
        }
        self.0.insert(service, row);
        still
    }

    /// Moves the lines that can.
    pub(super) fn tick(&self, lines: &Lines, moving: &str) {
        for (service, row) in &self.0 {
            if let Some(bar) = &row.bar {
                bar.set_message(harmless(row.line(lines, service, moving)));
            }
        }
    }

    /// Lines of which it is time to hear again, where none moves.
    pub(super) fn overdue(&mut self, lines: &Lines) -> Vec<String> {
        let now = Instant::now();
        let mut overdue = Vec::new();
        for (service, row) in &mut self.0 {
            if now.duration_since(row.told) >= HEARTBEAT {
                row.told = now;
                overdue.push(row.line(lines, service, STILL));
            }
        }
        overdue
    }

    /// Takes them away.
    pub(super) fn clear(&mut self) {
        for row in std::mem::take(&mut self.0).into_values() {
            if let Some(bar) = row.bar {
                bar.finish_and_clear();
            }
        }
    }

    /// Whether there are any.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How each is, in few words.
    pub(super) fn briefly(&self) -> impl Iterator<Item = String> {
        let rows = self.0.iter();
        rows.map(|(service, row)| format!("{service} (starting: {})", row.doing))
    }
}

//! Lines for services that have something fetched before there is a plan. They disappear when the plan comes.

use std::collections::BTreeMap;
use std::time::Instant;

use harness_model::{ForeignText, ServiceName};
use indicatif::ProgressBar;

use super::{HEARTBEAT, harmless};
use crate::cli::render::progress::{Lines, STILL};

/// The services, and what is fetched for each.
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
    /// Notes what is done for a service now. `bar` makes a moving line, where lines can move. Returns the line to
    /// print if the service is new and lines cannot move.
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

    /// Redraws the moving lines.
    pub(super) fn tick(&self, lines: &Lines, moving: &str) {
        for (service, row) in &self.0 {
            if let Some(bar) = &row.bar {
                bar.set_message(harmless(row.line(lines, service, moving)));
            }
        }
    }

    /// The lines that should be printed again by now, where lines cannot move.
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

    /// Removes all lines.
    pub(super) fn clear(&mut self) {
        for row in std::mem::take(&mut self.0).into_values() {
            if let Some(bar) = row.bar {
                bar.finish_and_clear();
            }
        }
    }

    /// Whether there are no lines.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A short text about each service.
    pub(super) fn briefly(&self) -> impl Iterator<Item = String> {
        let rows = self.0.iter();
        rows.map(|(service, row)| format!("{service} (starting: {})", row.doing))
    }
}

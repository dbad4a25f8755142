//! Shows services as they start or stop.
//!
//! On a terminal, services that are done scroll up as finished lines and the others move below them.
//! Elsewhere each change of a service is one line, and a service that takes long gets a line every ten
//! seconds, so that a CI log shows where it hangs.

mod preparing;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use harness_model::{ForeignText, ServiceName};
use harness_wire::message::{Change, PlanStep, Progress, ProgressPhase};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::error::CliError;
use super::render::progress::{self, Goal, Lines, SPINNER, STILL};
use super::render::{NAME_WIDTH, harmless, name_width, outcome};
use super::ui::Ui;
use preparing::Preparing;

const FRAME: Duration = Duration::from_millis(100);
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Shows the services of one request.
pub(crate) struct Display<'a> {
    ui: &'a Ui,
    live: Option<MultiProgress>,
    preparing: Preparing,
    rows: BTreeMap<ServiceName, Row>,
    lines: Lines,
    frame: usize,
}

struct Row {
    progress: Progress,
    received: Instant,
    told: Instant,
    bar: Option<ProgressBar>,
}

impl<'a> Display<'a> {
    /// An empty display on stderr. With `-q` it shows nothing.
    pub(crate) fn new(ui: &'a Ui, goal: Goal) -> Self {
        let live =
            (ui.err_tty && !ui.quiet).then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));
        Self {
            ui,
            live,
            preparing: Preparing::default(),
            rows: BTreeMap::new(),
            lines: Lines {
                goal,
                width: NAME_WIDTH,
                style: ui.err_style(),
            },
            frame: 0,
        }
    }

    /// When to call [`Self::tick`] again.
    pub(crate) fn tick_after(&self) -> Duration {
        if self.live.is_some() {
            FRAME
        } else {
            HEARTBEAT / 10
        }
    }

    /// Shows that something is fetched for a service before there is a plan.
    ///
    /// # Errors
    /// When stderr cannot be written.
    pub(crate) fn preparing(&mut self, service: ServiceName, doing: ForeignText) -> Result<(), CliError> {
        self.lines.width = self.lines.width.max(service.as_str().len());
        let bar = || self.live.as_ref().map(new_bar);
        match self.preparing.note(&self.lines, service, doing, bar) {
            Some(line) => self.ui.note(&format!("{line}\n")),
            None => Ok(()),
        }
    }

    /// Whether something is being fetched, which means that there is no plan yet.
    pub(crate) fn is_preparing(&self) -> bool {
        !self.preparing.is_empty()
    }

    /// Removes the lines about fetching.
    pub(crate) fn prepared(&mut self) {
        self.preparing.clear();
    }

    /// Shows the plan.
    ///
    /// # Errors
    /// When stderr cannot be written.
    pub(crate) fn plan(&mut self, steps: &[PlanStep]) -> Result<(), CliError> {
        self.prepared();
        self.lines.width = name_width(steps.iter().map(|step| step.service.as_str()));
        self.ui.note(&outcome::replaced(steps))
    }

    /// Shows the progress of one service.
    ///
    /// # Errors
    /// When stderr cannot be written.
    pub(crate) fn progress(&mut self, progress: Progress) -> Result<(), CliError> {
        let now = Instant::now();
        let name = progress.view.name.clone();
        self.lines.width = self.lines.width.max(name.as_str().len());
        let before = self.rows.remove(&name);
        let turned = before
            .as_ref()
            .is_none_or(|row| turn(&row.progress.phase) != turn(&progress.phase));
        let row = Row {
            progress,
            received: now,
            told: if turned {
                now
            } else {
                before.as_ref().map_or(now, |row| row.told)
            },
            bar: before.and_then(|row| row.bar),
        };
        let row = match (&self.live, turned) {
            (Some(live), _) => self.draw(live, row, turned)?,
            (None, true) => {
                self.tell(&row)?;
                row
            }
            (None, false) => row,
        };
        self.rows.insert(name, row);
        Ok(())
    }

    /// Moves the lines, or prints those that have not been printed for a while.
    ///
    /// # Errors
    /// When stderr cannot be written.
    pub(crate) fn tick(&mut self) -> Result<(), CliError> {
        self.frame += 1;
        if self.live.is_some() {
            let moving = SPINNER[self.frame % SPINNER.len()];
            self.preparing.tick(&self.lines, moving);
            for row in self.rows.values() {
                if let Some(bar) = &row.bar {
                    bar.set_message(harmless(self.line(row, moving)));
                }
            }
            return Ok(());
        }
        for line in self.preparing.overdue(&self.lines) {
            self.ui.note(&format!("{line}\n"))?;
        }
        let now = Instant::now();
        let mut overdue = Vec::new();
        let lines = self.lines;
        for row in self.rows.values_mut() {
            if !lines.settled(&row.progress) && now.duration_since(row.told) >= HEARTBEAT {
                row.told = now;
                overdue.push(row.progress.view.name.clone());
            }
        }
        for name in overdue {
            if let Some(row) = self.rows.get(&name) {
                self.ui.note(&format!("{}\n", self.line(row, STILL)))?;
            }
        }
        Ok(())
    }

    /// Removes the moving lines, for example to ask a question. A service comes back with its next progress.
    pub(crate) fn clear(&mut self) {
        self.prepared();
        for row in self.rows.values_mut() {
            if let Some(bar) = row.bar.take() {
                bar.finish_and_clear();
            }
        }
    }

    /// Prints the last state of the services that are not done. Nothing moves any more.
    ///
    /// # Errors
    /// When stderr cannot be written.
    pub(crate) fn finish(mut self) -> Result<(), CliError> {
        if self.live.is_none() {
            return Ok(());
        }
        self.clear();
        for row in self
            .rows
            .values()
            .filter(|row| !self.lines.settled(&row.progress))
        {
            self.ui.note(&format!("{}\n", self.line(row, STILL)))?;
        }
        Ok(())
    }

    /// The services that are not done, and their state.
    pub(crate) fn unsettled(&self) -> Vec<String> {
        let unsettled = |row: &&Row| !self.lines.settled(&row.progress);
        let rows = self.rows.values().filter(unsettled);
        let rows = rows.map(|row| progress::brief(&row.progress));
        self.preparing.briefly().chain(rows).collect()
    }

    fn draw(&self, live: &MultiProgress, mut row: Row, turned: bool) -> Result<Row, CliError> {
        if self.lines.settled(&row.progress) {
            if let Some(bar) = row.bar.take() {
                bar.finish_and_clear();
                live.remove(&bar);
            }
            if turned {
                let line = self.line(&row, STILL);
                live.suspend(|| self.ui.note(&format!("{line}\n")))?;
            }
            return Ok(row);
        }
        let bar = row.bar.take().unwrap_or_else(|| new_bar(live));
        bar.set_message(harmless(self.line(&row, SPINNER[self.frame % SPINNER.len()])));
        row.bar = Some(bar);
        Ok(row)
    }

    fn tell(&self, row: &Row) -> Result<(), CliError> {
        // What comes next says that it was launched, or the heartbeat does.
        if matches!(
            row.progress.phase,
            ProgressPhase::Starting { .. } | ProgressPhase::Stopping | ProgressPhase::Ending { .. }
        ) {
            return Ok(());
        }
        self.ui.note(&format!("{}\n", self.line(row, STILL)))
    }

    fn line(&self, row: &Row, moving: &str) -> String {
        self.lines.line(&row.progress, row.received.elapsed(), moving)
    }
}

/// A moving line does not go through [`Ui`], so it is made harmless here.
fn harmless(line: String) -> String {
    harmless::words(&line).into_owned()
}

/// A moving line that shows its message.
fn new_bar(live: &MultiProgress) -> ProgressBar {
    let bar = ProgressBar::no_length();
    // Without a style the bar would draw its own spinner. A template with only a message is always valid.
    if let Ok(style) = ProgressStyle::with_template("{msg}") {
        bar.set_style(style);
    }
    live.add(bar)
}

/// The part of a phase that, when it changes, makes a new line where lines cannot move.
fn turn(phase: &ProgressPhase) -> (u8, Option<&ForeignText>, Option<&Change>) {
    match phase {
        ProgressPhase::Waiting(_) => (0, None, None),
        ProgressPhase::Starting { .. } => (1, None, None),
        ProgressPhase::Ready { change } => (2, None, Some(change)),
        ProgressPhase::Retrying { reason, .. } => (3, Some(reason), None),
        ProgressPhase::Failed { reason } => (4, Some(reason), None),
        ProgressPhase::Stopping | ProgressPhase::Ending { .. } => (5, None, None),
        ProgressPhase::Stopped => (6, None, None),
        ProgressPhase::Launching { .. } => (7, None, None),
    }
}

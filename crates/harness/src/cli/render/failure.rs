//! The report of a failed service: why it failed, and what follows from it.

use std::fmt::Display;

use harness_model::ForeignText;
use harness_wire::message::Failure;

use super::{Style, list};
use crate::cli::ui::Ui;

const LABEL_WIDTH: usize = 12;

/// Printed instead of the last lines when there are none.
pub(super) const WROTE_NOTHING: &str = "it wrote nothing";

/// The report of one failed service.
pub(crate) fn report(failure: &Failure, verb: &str, ui: &Ui, style: &Style) -> String {
    let service = &failure.service;
    let verb = match failure.not_reached {
        // The reason says it all.
        true => String::new(),
        false => format!(" {verb}"),
    };
    let mut out = format!(
        "{} {}{verb}: {}\n",
        style.bad("✗"),
        style.bold(service.as_str()),
        failure.reason
    );
    if let Some(probe) = &failure.last_probe {
        row(&mut out, style, "last probe", probe);
    }
    if failure.wrote_nothing {
        row(&mut out, style, "last lines", WROTE_NOTHING);
    }
    out.push_str(&last_lines(&failure.last_lines, style));
    if !failure.blocked.is_empty() {
        row(&mut out, style, "blocked", list(&failure.blocked));
    }
    if !failure.still_up.is_empty() {
        let remedy = format!("({})", ui.command("stop --all"));
        row(
            &mut out,
            style,
            "still up",
            format!("{}  {}", list(&failure.still_up), style.dim(&remedy)),
        );
    }
    row(&mut out, style, "next", next(failure, ui));
    out
}

/// The last lines of a service, under their label. Nothing if there are none.
fn last_lines(lines: &[ForeignText], style: &Style) -> String {
    let mut out = String::new();
    for (index, line) in lines.iter().enumerate() {
        let label = if index == 0 { "last lines" } else { "" };
        row(&mut out, style, label, format!("{} {line}", style.dim("|")));
    }
    out
}

/// Last lines that begin with the service's name, under their label.
pub(crate) fn named_lines(lines: &[ForeignText], style: &Style) -> String {
    let mut out = String::new();
    for (index, line) in lines.iter().enumerate() {
        row(&mut out, style, if index == 0 { "last lines" } else { "" }, line);
    }
    out
}

fn next(failure: &Failure, ui: &Ui) -> String {
    let service = &failure.service;
    let why = ui.command(&format!("why {service}"));
    // A service that never ran, or wrote nothing, has no log.
    if failure.exit.is_none() && failure.last_lines.is_empty() {
        return why;
    }
    format!("{} · {why}", ui.command(&format!("logs {service}")))
}

fn row(out: &mut String, style: &Style, label: &str, text: impl Display) {
    let label = format!("{label:<LABEL_WIDTH$}");
    out.push_str(&format!("  {}{text}\n", style.dim(&label)));
}

#[cfg(test)]
mod tests {
    use harness_model::{ExitStatus, ServiceName};

    use super::*;

    #[test]
    fn a_failure_explains_itself() {
        let name = |text: &str| ServiceName::new(text).unwrap();
        let failure = Failure {
            service: name("api"),
            reason: "exited 3 after 0.2s (attempt 3 of 3)".into(),
            exit: Some(ExitStatus::Code(3)),
            last_probe: Some("http localhost:8080/health: connection refused".into()),
            last_lines: vec![
                "connecting".into(),
                "FATAL: password authentication failed for \"postgres\"".into(),
            ],
            wrote_nothing: false,
            not_reached: false,
            blocked: vec![name("worker"), name("metrics")],
            still_up: vec![name("db"), name("cache")],
        };
        assert_eq!(
            report(&failure, "failed", &Ui::plain(), &Style::new(false)),
            "\
✗ api failed: exited 3 after 0.2s (attempt 3 of 3)
  last probe  http localhost:8080/health: connection refused
  last lines  | connecting
              | FATAL: password authentication failed for \"postgres\"
  blocked     worker, metrics
  still up    db, cache  (harness stop --all)
  next        harness logs api · harness why api
"
        );
        let bare = Failure {
            last_probe: None,
            last_lines: vec![],
            wrote_nothing: true,
            not_reached: false,
            blocked: vec![],
            still_up: vec![],
            ..failure
        };
        assert_eq!(
            report(&bare, "failed", &Ui::plain(), &Style::new(false)),
            "✗ api failed: exited 3 after 0.2s (attempt 3 of 3)\n  \
             last lines  it wrote nothing\n  \
             next        harness logs api · harness why api\n"
        );
        let unborn = Failure {
            reason: "could not be launched".into(),
            exit: None,
            wrote_nothing: false,
            not_reached: false,
            ..bare
        };
        assert_eq!(
            report(&unborn, "failed", &Ui::plain(), &Style::new(false)),
            "✗ api failed: could not be launched\n  next        harness why api\n"
        );
    }
}

//! One service on its way up or down, as a line.

use std::time::Duration;

use harness_model::{Health, ServiceState};
use harness_wire::message::{Change, Progress, ProgressPhase, WaitingFor};

use super::{Style, list, seconds, whole_seconds};

/// What stands before a line that is still moving.
pub(crate) const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// The mark of a moving line where nothing can move.
pub(crate) const STILL: &str = "·";

/// The line of a service, without line break. `since` is the time passed since the event came, `moving` the mark
/// of what is under way, `width` that of the name column.
pub(crate) fn line(
    progress: &Progress,
    since: Duration,
    moving: &str,
    width: usize,
    style: &Style,
) -> String {
    let name = &progress.view.name;
    let elapsed = seconds(elapsed(progress, since));
    let row = |mark: String, state: &str, rest: &str| {
        format!("{mark} {name:<width$} {state:<10} {rest}")
            .trim_end()
            .to_owned()
    };
    match &progress.phase {
        ProgressPhase::Waiting(for_whom) => row(style.dim(STILL), "waiting", &waiting(for_whom)),
        ProgressPhase::Starting { last_probe, left_ms } => {
            let left = Duration::from_millis(*left_ms).saturating_sub(since);
            let left = style.dim(&format!("({} left)", whole_seconds(left)));
            let rest = match last_probe {
                Some(probe) => format!("{elapsed}  {probe} {left}"),
                None => format!("{elapsed}  {left}"),
            };
            row(style.middling(moving), "starting", &rest)
        }
        ProgressPhase::Ready { change } => match result(progress, change, width) {
            Some(words) => words,
            None => row(style.good("✓"), ready_word(progress), &elapsed),
        },
        ProgressPhase::Retrying { reason, in_ms } => {
            let again = Duration::from_millis(*in_ms).saturating_sub(since);
            row(
                style.middling("↻"),
                "restarting",
                &format!("{elapsed}  {reason}; again in {}", seconds(again)),
            )
        }
        ProgressPhase::Failed { reason } => row(style.bad("✗"), "failed", &format!("{elapsed}  {reason}")),
        ProgressPhase::Stopping => row(style.middling(moving), "stopping", &elapsed),
        ProgressPhase::Stopped => row(style.good("✓"), "stopped", &elapsed),
    }
}

/// Whether nothing more will happen to it in this request.
pub(crate) fn settled(phase: &ProgressPhase) -> bool {
    matches!(
        phase,
        ProgressPhase::Ready { .. } | ProgressPhase::Failed { .. } | ProgressPhase::Stopped
    )
}

/// How a service that is not there yet is, in few words: `api (starting: connection refused)`.
pub(crate) fn brief(progress: &Progress) -> String {
    let name = &progress.view.name;
    match &progress.phase {
        ProgressPhase::Waiting(for_whom) => format!("{name} (waiting {})", waiting(for_whom)),
        ProgressPhase::Starting {
            last_probe: Some(probe),
            ..
        } => format!("{name} (starting: {probe})"),
        ProgressPhase::Retrying { reason, .. } => format!("{name} (restarting: {reason})"),
        ProgressPhase::Failed { reason } => format!("{name} (failed: {reason})"),
        _ => format!("{name} ({})", progress.view.status),
    }
}

fn waiting(for_whom: &[WaitingFor]) -> String {
    let whom = for_whom
        .iter()
        .map(|w| format!("{} to {}", w.service, w.condition));
    format!("for {}", list(whom))
}

fn elapsed(progress: &Progress, since: Duration) -> Duration {
    let then = Duration::from_millis(progress.elapsed_ms);
    if settled(&progress.phase) {
        then
    } else {
        then + since
    }
}

/// `unchanged (pid 4130)`: there is nothing to measure where nothing was done.
fn result(progress: &Progress, change: &Change, width: usize) -> Option<String> {
    let name = &progress.view.name;
    match change {
        Change::Unchanged => Some(format!("{name:<width$} {}", unchanged(progress.view.pid))),
        _ => None,
    }
}

/// What is said of a service that was left alone.
pub(crate) fn unchanged(pid: Option<u32>) -> String {
    match pid {
        Some(pid) => format!("unchanged (pid {pid})"),
        None => "unchanged".to_owned(),
    }
}

fn ready_word(progress: &Progress) -> &'static str {
    match (progress.view.status, progress.view.health) {
        (ServiceState::Completed, _) => "completed",
        (_, Health::Healthy) => "healthy",
        (state, _) => state.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::view;

    fn progress(name: &str, state: ServiceState, health: Health, phase: ProgressPhase, ms: u64) -> String {
        let mut view = view(name);
        (view.status, view.health) = (state, health);
        let progress = Progress {
            view,
            phase,
            elapsed_ms: ms,
        };
        line(&progress, Duration::from_millis(100), "⠙", 8, &Style::new(false))
    }

    #[test]
    fn lines_are_as_designed() {
        use ServiceState::{Completed, Failed, Pending, Restarting, Running, Starting, Stopped, Stopping};
        let ready = || ProgressPhase::Ready {
            change: Change::Started,
        };
        assert_eq!(
            progress("db", Running, Health::Healthy, ready(), 800),
            "✓ db       healthy    0.8s"
        );
        assert_eq!(
            progress("schema", Completed, Health::None, ready(), 300),
            "✓ schema   completed  0.3s"
        );
        assert_eq!(
            progress("bg", Running, Health::None, ready(), 310),
            "✓ bg       running    0.3s"
        );
        let starting = ProgressPhase::Starting {
            last_probe: Some("http localhost:8080/health: connection refused".into()),
            left_ms: 56_100,
        };
        assert_eq!(
            progress("api", Starting, Health::Starting, starting, 4_000),
            "⠙ api      starting   4.1s  http localhost:8080/health: connection refused (56s left)"
        );
        let waiting = ProgressPhase::Waiting(vec![WaitingFor {
            service: harness_model::ServiceName::new("api").unwrap(),
            condition: "be healthy".into(),
        }]);
        assert_eq!(
            progress("worker", Pending, Health::None, waiting, 4_000),
            "· worker   waiting    for api to be healthy"
        );
        let retrying = ProgressPhase::Retrying {
            reason: "exited 3 after 0.2s".into(),
            in_ms: 500,
        };
        assert_eq!(
            progress("api", Restarting, Health::None, retrying, 4_000),
            "↻ api      restarting 4.1s  exited 3 after 0.2s; again in 0.4s"
        );
        let failed = ProgressPhase::Failed {
            reason: "exited 3".into(),
        };
        assert_eq!(
            progress("api", Failed, Health::None, failed, 200),
            "✗ api      failed     0.2s  exited 3"
        );
        let stopping = progress("api", Stopping, Health::None, ProgressPhase::Stopping, 0);
        assert_eq!(stopping, "⠙ api      stopping   0.1s");
        let stopped = progress("api", Stopped, Health::None, ProgressPhase::Stopped, 200);
        assert_eq!(stopped, "✓ api      stopped    0.2s");
        let unchanged = ProgressPhase::Ready {
            change: Change::Unchanged,
        };
        assert_eq!(
            progress("db", Running, Health::Healthy, unchanged, 0),
            "db       unchanged (pid 4130)"
        );
    }
}

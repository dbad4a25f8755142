//! The progress of one service, as a line.

use std::time::Duration;

use harness_model::{ForeignText, Health, ServiceName, ServiceState};
use harness_wire::message::{Change, Progress, ProgressPhase, WaitingFor};

use super::{Style, list, seconds, whole_seconds};

/// The marks before a moving line, one per frame.
pub(crate) const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// The mark of such a line where lines cannot move.
pub(crate) const STILL: &str = "·";

/// The state that the services of a request are to reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Up, because we start them.
    Up,
    /// Up, but we only watch.
    SeenUp,
    /// Ended well.
    Completed,
    /// Stopped.
    Down,
}

/// Makes the lines of one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lines {
    /// The state that its services are to reach.
    pub(crate) goal: Goal,
    /// How wide the name column is.
    pub(crate) width: usize,
    /// With or without colours.
    pub(crate) style: Style,
}

impl Lines {
    /// The line of a service, without a line break. `since` is the time since the event came, `moving` the mark for a
    /// service that is not done.
    pub(crate) fn line(&self, progress: &Progress, since: Duration, moving: &str) -> String {
        let (name, width, style) = (&progress.view.name, self.width, self.style);
        let settled = self.settled(progress);
        let then = Duration::from_millis(progress.elapsed_ms);
        let elapsed = seconds(if settled { then } else { then + since });
        let row = |mark: String, state: &str, rest: &str| self.row(&mark, name, state, rest);
        match &progress.phase {
            ProgressPhase::Waiting(for_whom) => row(style.dim(STILL), "waiting", &waiting(for_whom)),
            ProgressPhase::Launching { doing } => {
                row(style.middling(moving), "starting", &format!("{elapsed}  {doing}"))
            }
            ProgressPhase::Starting { last_probe, left_ms } => {
                let left = match *left_ms {
                    // It has been up before, so no startup timeout runs.
                    0 => String::new(),
                    left => {
                        let left = Duration::from_millis(left).saturating_sub(since);
                        style.dim(format!("({} left)", whole_seconds(left)))
                    }
                };
                let rest = match last_probe {
                    Some(probe) => format!("{elapsed}  {probe} {left}"),
                    None => format!("{elapsed}  {left}"),
                };
                row(style.middling(moving), coming_word(progress), &rest)
            }
            ProgressPhase::Ready { .. } if !settled => row(style.dim(STILL), ready_word(progress), ""),
            ProgressPhase::Ready {
                change: Change::Unchanged,
            } if self.goal == Goal::Up => {
                // Nothing was done, so there is no time to show.
                format!("{name:<width$} {}", unchanged(progress.view.pid))
            }
            ProgressPhase::Ready { .. } => row(style.good("✓"), ready_word(progress), &elapsed),
            ProgressPhase::Retrying { reason, in_ms } => {
                let again = seconds(Duration::from_millis(*in_ms).saturating_sub(since));
                let rest = format!("{elapsed}  {reason}; again in {again}");
                row(style.middling("↻"), "restarting", &rest)
            }
            ProgressPhase::Failed { reason } => {
                row(style.bad("✗"), "failed", &format!("{elapsed}  {reason}"))
            }
            ProgressPhase::Stopping => row(style.middling(moving), "stopping", &elapsed),
            ProgressPhase::Ending { doing } => {
                row(style.middling(moving), "stopping", &format!("{elapsed}  {doing}"))
            }
            ProgressPhase::Stopped if !settled => row(style.dim(STILL), "stopped", ""),
            ProgressPhase::Stopped => {
                // The error is of a hook that failed. The service is stopped all the same.
                let error = progress.view.error.clone().unwrap_or_default();
                row(style.good("✓"), "stopped", &format!("{elapsed}  {error}"))
            }
        }
    }

    /// The line of a service that has something fetched before there is a plan.
    pub(crate) fn preparing(
        &self,
        name: &ServiceName,
        doing: &ForeignText,
        elapsed: Duration,
        moving: &str,
    ) -> String {
        let rest = format!("{}  {doing}", seconds(elapsed));
        self.row(&self.style.middling(moving), name, "starting", &rest)
    }

    fn row(&self, mark: &str, name: &ServiceName, state: &str, rest: &str) -> String {
        let row = format!("{mark} {name:<width$} {state:<10} {rest}", width = self.width);
        row.trim_end().to_owned()
    }

    /// Whether nothing more will happen to it in this request.
    pub(crate) fn settled(&self, progress: &Progress) -> bool {
        let ended = progress.view.status == ServiceState::Completed;
        match (&progress.phase, self.goal) {
            (ProgressPhase::Failed { .. }, _) => true,
            (ProgressPhase::Stopped, goal) => matches!(goal, Goal::Up | Goal::Down),
            (ProgressPhase::Ready { .. }, Goal::Up | Goal::SeenUp) => true,
            (ProgressPhase::Ready { .. }, Goal::Completed | Goal::Down) => ended,
            _ => false,
        }
    }
}

/// A short text about a service that is not done yet: `api (starting: connection refused)`.
pub(crate) fn brief(progress: &Progress) -> String {
    let name = &progress.view.name;
    match &progress.phase {
        ProgressPhase::Waiting(for_whom) => format!("{name} (waiting {})", waiting(for_whom)),
        ProgressPhase::Starting {
            last_probe: Some(probe),
            ..
        } => format!("{name} ({}: {probe})", coming_word(progress)),
        ProgressPhase::Launching { doing } => format!("{name} (starting: {doing})"),
        ProgressPhase::Ending { doing } => format!("{name} (stopping: {doing})"),
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

/// The text about a service that was left alone.
pub(crate) fn unchanged(pid: Option<u32>) -> String {
    match pid {
        Some(pid) => format!("unchanged (pid {pid})"),
        None => "unchanged".to_owned(),
    }
}

/// The word for a service that is not ready. One that was ready before is "unhealthy", not "starting".
fn coming_word(progress: &Progress) -> &'static str {
    match (progress.view.status, progress.view.health) {
        (ServiceState::Running, Health::Unhealthy) => "unhealthy",
        _ => "starting",
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

    fn shown(
        goal: Goal,
        name: &str,
        state: ServiceState,
        health: Health,
        phase: ProgressPhase,
        ms: u64,
    ) -> String {
        let mut view = view(name);
        (view.status, view.health) = (state, health);
        let progress = Progress {
            view,
            phase,
            elapsed_ms: ms,
        };
        let lines = Lines {
            goal,
            width: 8,
            style: Style::new(false),
        };
        lines.line(&progress, Duration::from_millis(100), "⠙")
    }

    fn progress(name: &str, state: ServiceState, health: Health, phase: ProgressPhase, ms: u64) -> String {
        shown(Goal::Up, name, state, health, phase, ms)
    }

    #[test]
    fn a_watcher_tells_what_is_and_not_what_was_done() {
        let up = |goal| {
            let phase = ProgressPhase::Ready {
                change: Change::Unchanged,
            };
            shown(goal, "db", ServiceState::Running, Health::Healthy, phase, 2_000)
        };
        assert_eq!(up(Goal::SeenUp), "✓ db       healthy    2.0s");
        assert_eq!(up(Goal::Down), "· db       healthy");
        let stopped = |goal| {
            shown(
                goal,
                "db",
                ServiceState::Stopped,
                Health::None,
                ProgressPhase::Stopped,
                0,
            )
        };
        assert_eq!(stopped(Goal::SeenUp), "· db       stopped");
        assert_eq!(stopped(Goal::Down), "✓ db       stopped    0ms");
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
        let relapsed = ProgressPhase::Starting {
            last_probe: Some("http localhost:8080/health: connection refused".into()),
            left_ms: 0,
        };
        assert_eq!(
            progress("api", Running, Health::Unhealthy, relapsed, 4_000),
            "⠙ api      unhealthy  4.1s  http localhost:8080/health: connection refused"
        );
        let waiting = ProgressPhase::Waiting(vec![WaitingFor {
            service: harness_model::ServiceName::new("api").unwrap(),
            condition: "be healthy".into(),
        }]);
        assert_eq!(
            progress("worker", Pending, Health::None, waiting, 4_000),
            "· worker   waiting    for api to be healthy"
        );
        let launching = ProgressPhase::Launching {
            doing: "pulling image nginx: 3 of 12 MB".into(),
        };
        assert_eq!(
            progress("api", Starting, Health::None, launching, 4_000),
            "⠙ api      starting   4.1s  pulling image nginx: 3 of 12 MB"
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
        let ending = ProgressPhase::Ending {
            doing: "running its after_stop hook".into(),
        };
        assert_eq!(
            progress("api", Stopping, Health::None, ending, 4_000),
            "⠙ api      stopping   4.1s  running its after_stop hook"
        );
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

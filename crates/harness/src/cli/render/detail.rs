//! One service in detail, and why it is in its state.

use harness_model::foreign::shown;
use harness_wire::message::{ServiceDetail, WhyReport};
use jiff::tz::TimeZone;

use super::{Style, clock, events, failure, list, status};
use crate::cli::ui::Ui;

const LABEL_WIDTH: usize = 13;

/// Everything about one service, one line each. What a service does not have is left out.
pub(crate) fn service(detail: &ServiceDetail, zone: &TimeZone, style: &Style) -> String {
    let view = &detail.view;
    let mut out = String::new();
    let mut row = |label: &str, text: String| {
        let label = format!("{label:<LABEL_WIDTH$}");
        out.push_str(&format!("{}{text}\n", style.dim(&label)));
    };
    row("service", style.bold(view.name.as_str()));
    row("type", view.kind.clone());
    row("status", view.status.to_string());
    row("health", view.health.to_string());
    if let Some(error) = &view.error {
        row("error", error.to_string());
    }
    row("place", format!("{} (network {})", view.host, view.network));
    if !detail.command.to_string().is_empty() {
        row("command", detail.command.to_string());
    }
    if let Some(folder) = &detail.working_dir {
        row("working dir", folder.to_string());
    }
    for more in &detail.more {
        row(&more.label.to_string(), more.value.to_string());
    }
    if let Some(pid) = view.pid {
        row("pid", pid.to_string());
    }
    if let Some(started) = detail.started_at {
        row("started", clock(started, zone));
    }
    row(
        "generation",
        format!("{} ({} restarts)", detail.generation, view.restarts),
    );
    if let Some(code) = view.exit_code {
        row("exit code", code.to_string());
    }
    if let Some(signal) = view.signal {
        row("signal", harness_model::ExitStatus::Signal(signal).to_string());
    }
    if !view.ports.is_empty() {
        row("ports", list(view.ports.iter().map(status::port)));
    }
    if let Some(check) = &detail.health_check {
        row("health check", check.to_string());
    }
    if let Some(probe) = &detail.last_probe {
        row("last probe", probe.to_string());
    }
    if !detail.dependencies.is_empty() {
        row("needs", list(&detail.dependencies));
    }
    if !detail.dependents.is_empty() {
        row("needed by", list(&detail.dependents));
    }
    for (index, (name, value)) in detail.env.iter().enumerate() {
        let name = shown(name);
        row(if index == 0 { "env" } else { "" }, format!("{name}={value}"));
    }
    if let Some(folder) = &detail.run_dir {
        row("run dir", folder.to_string());
    }
    if !view.in_file {
        row(
            "not in file",
            "it keeps running until it is stopped or pruned".to_owned(),
        );
    }
    out
}

/// Why a service is in its state: the summary, the chain of causes, the root failure, the events.
pub(crate) fn why(report: &WhyReport, zone: &TimeZone, ui: &Ui, style: &Style) -> String {
    let mut out = format!("{}\n", style.bold(&report.summary));
    // A chain of one says the same as the summary.
    for (depth, cause) in report
        .chain
        .iter()
        .filter(|cause| **cause != report.summary)
        .enumerate()
    {
        out.push_str(&format!("{}└─ {cause}\n", "   ".repeat(depth)));
    }
    if let Some(root) = &report.failure {
        out.push('\n');
        out.push_str(&failure::report(root, "failed", ui, style));
    }
    if !report.events.is_empty() {
        out.push_str(&format!("\n{}\n", style.dim("what happened")));
        for event in &report.events {
            out.push_str(&format!("  {}", events::line(event, false, zone, style)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use harness_model::{ProjectName, ServiceName, WallTime};
    use harness_wire::message::{ChangeEvent, ChangeKind};

    use super::*;
    use crate::cli::testing::view;

    fn detail() -> ServiceDetail {
        ServiceDetail {
            view: view("db"),
            generation: 2,
            started_at: Some(WallTime(1_700_000_000_000_000_000)),
            command: "postgres -D data".into(),
            working_dir: None,
            more: vec![("data".to_owned(), "on disk".to_owned()).into()],
            env: [("PGPASSWORD", "•••"), ("TZ", "UTC")]
                .map(|(k, v)| (k.to_owned(), v.into()))
                .into(),
            dependencies: vec!["initdb (completed)".into()],
            dependents: vec![],
            health_check: Some("command pg_isready".into()),
            last_probe: None,
            run_dir: None,
        }
    }

    #[test]
    fn a_service_shows_what_it_has() {
        assert_eq!(
            service(&detail(), &TimeZone::UTC, &Style::new(false)),
            "\
service      db
type         process
status       running
health       healthy
place        localhost (network local)
command      postgres -D data
data         on disk
pid          4130
started      Nov 14 22:13:20
generation   2 (0 restarts)
ports        127.0.0.1:5432
health check command pg_isready
needs        initdb (completed)
env          PGPASSWORD=•••
             TZ=UTC
"
        );
    }

    #[test]
    fn why_goes_down_to_the_root() {
        let report = WhyReport {
            service: detail(),
            summary: "worker is pending because api is not healthy".into(),
            chain: vec!["worker waits for api to be healthy".into(), "api exited 3".into()],
            failure: None,
            events: vec![ChangeEvent {
                sequence: 4,
                time: WallTime(1_700_000_000_000_000_000),
                project: ProjectName::new("shop").unwrap(),
                service: ServiceName::new("api").ok(),
                kind: ChangeKind::State,
                message: "exited 3 after 0.2s".into(),
                view: None,
            }],
        };
        assert_eq!(
            why(&report, &TimeZone::UTC, &Ui::plain(), &Style::new(false)),
            "\
worker is pending because api is not healthy
└─ worker waits for api to be healthy
   └─ api exited 3

what happened
  Nov 14 22:13:20  api       exited 3 after 0.2s
"
        );
    }
}

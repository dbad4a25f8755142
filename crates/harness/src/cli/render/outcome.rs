//! The result of a start, a plan or a stop.

use std::collections::BTreeSet;
use std::time::Duration;

use harness_model::{ForeignText, ServiceName};
use harness_wire::message::{Change, PlanStep, StartReport, StopReport};

use super::progress::unchanged;
use super::{Style, count, list, name_width, seconds};
use crate::cli::ui::Ui;

/// Lists the services that are about to be replaced because their spec changed. Other services are not listed.
pub(crate) fn replaced(plan: &[PlanStep]) -> String {
    let width = name_width(plan.iter().map(|step| step.service.as_str()));
    plan.iter()
        .filter_map(|step| match &step.change {
            Change::Replaced(why) => Some(format!("{:<width$} {}\n", step.service, replaced_words(why))),
            _ => None,
        })
        .collect()
}

fn replaced_words(why: &[ForeignText]) -> String {
    if why.is_empty() {
        "replaced".to_owned()
    } else {
        format!("replaced: {}", list(why))
    }
}

/// The plan of `--dry-run`: one line per service, in the order they would start.
pub(crate) fn plan(plan: &[PlanStep]) -> String {
    if plan.is_empty() {
        return "nothing to do\n".to_owned();
    }
    let width = name_width(plan.iter().map(|step| step.service.as_str()));
    let mut out = String::new();
    for step in plan {
        let what = match &step.change {
            Change::Started => "start".to_owned(),
            Change::Unchanged => unchanged(None),
            Change::Replaced(why) => replaced_words(why).replacen("replaced", "replace", 1),
            Change::Restarted => "restart".to_owned(),
            Change::Stopped => "stop".to_owned(),
        };
        let after = match (&step.change, step.after.as_slice()) {
            (Change::Unchanged, _) | (_, []) => String::new(),
            (_, after) => format!("  after {}", list(after)),
        };
        out.push_str(&format!("{:<width$} {what}{after}\n", step.service));
    }
    out
}

/// `5/5 up in 6.2s; critical path: db 0.8s → schema 0.3s → api 5.1s`.
pub(crate) fn summary(report: &StartReport) -> String {
    let all = report.services.len();
    let ready = report.services.iter().filter(|outcome| outcome.ready).count();
    let untouched = report
        .services
        .iter()
        .all(|outcome| outcome.change == Change::Unchanged);
    if all == 0 {
        return "no services, nothing to start\n".to_owned();
    }
    if untouched && ready == all {
        return format!("{ready}/{all} up, nothing changed\n");
    }
    let mut out = format!(
        "{ready}/{all} up in {}",
        seconds(Duration::from_millis(report.elapsed_ms))
    );
    if !report.critical_path.is_empty() {
        let steps: Vec<String> = report
            .critical_path
            .iter()
            .map(|step| {
                format!(
                    "{} {}",
                    step.service,
                    seconds(Duration::from_millis(step.elapsed_ms))
                )
            })
            .collect();
        out.push_str(&format!("; critical path: {}", steps.join(" → ")));
    }
    out.push('\n');
    out
}

/// The services that keep running although the file no longer has them.
pub(crate) fn not_in_file(report: &StartReport, ui: &Ui) -> String {
    if report.not_in_file.is_empty() {
        return String::new();
    }
    format!(
        "still up, but no longer in the file: {}  ({})\n",
        list(&report.not_in_file),
        ui.command("start --prune")
    )
}

/// `3 services stopped in 0.4s`.
pub(crate) fn stopped(report: &StopReport, style: &Style) -> String {
    let took = seconds(Duration::from_millis(report.elapsed_ms));
    let volumes = match report.volumes.as_slice() {
        [] => String::new(),
        volumes => format!("{} removed: {}\n", count(volumes.len(), "volume"), list(volumes)),
    };
    let left: BTreeSet<&ServiceName> = report
        .failures
        .iter()
        .flat_map(|failure| std::iter::once(&failure.service).chain(&failure.blocked))
        .collect();
    let services = match (report.stopped.len(), report.already.len()) {
        (stopped, _) if !left.is_empty() => format!(
            "{stopped} of {} stopped in {took}; not stopped: {}\n",
            count(stopped + left.len(), "service"),
            list(left)
        ),
        (0, 0) => "nothing to stop\n".to_owned(),
        (0, _) => format!("not running before: {}\n", list(&report.already)),
        (stopped, _) => format!(
            "{} stopped in {took}{}\n",
            count(stopped, "service"),
            match report.already.as_slice() {
                [] => String::new(),
                already => style.dim(format!("; not running before: {}", list(already))),
            }
        ),
    };
    services + &volumes
}

#[cfg(test)]
mod tests {
    use harness_model::ProjectName;
    use harness_wire::message::{PathStep, ServiceOutcome};

    use super::*;
    use crate::cli::testing::view;

    fn step(service: &str, change: Change, after: &[&str]) -> PlanStep {
        let name = |text: &str| ServiceName::new(text).unwrap();
        PlanStep {
            service: name(service),
            change,
            after: after.iter().map(|n| name(n)).collect(),
        }
    }

    fn report(outcomes: &[(&str, Change)], path: &[(&str, u64)]) -> StartReport {
        StartReport {
            project: ProjectName::new("shop").unwrap(),
            services: outcomes
                .iter()
                .map(|(name, change)| ServiceOutcome {
                    view: view(name),
                    change: change.clone(),
                    ready: true,
                    ready_after_ms: None,
                })
                .collect(),
            failures: vec![],
            critical_path: path
                .iter()
                .map(|(name, ms)| PathStep {
                    service: ServiceName::new(name).unwrap(),
                    elapsed_ms: *ms,
                })
                .collect(),
            not_in_file: vec![],
            elapsed_ms: 6_200,
        }
    }

    #[test]
    fn a_start_ends_with_the_critical_path() {
        let started = report(
            &[
                ("db", Change::Started),
                ("schema", Change::Started),
                ("api", Change::Started),
            ],
            &[("db", 800), ("schema", 300), ("api", 5_100)],
        );
        assert_eq!(
            summary(&started),
            "3/3 up in 6.2s; critical path: db 0.8s → schema 0.3s → api 5.1s\n"
        );
        assert_eq!(
            summary(&report(&[("db", Change::Unchanged)], &[])),
            "1/1 up, nothing changed\n"
        );
        assert_eq!(summary(&report(&[], &[])), "no services, nothing to start\n");
    }

    #[test]
    fn what_is_replaced_says_why() {
        let steps = [
            step(
                "api",
                Change::Replaced(vec!["env LOG_LEVEL changed".into()]),
                &["db"],
            ),
            step("db", Change::Unchanged, &[]),
            step("job", Change::Started, &["db", "api"]),
        ];
        assert_eq!(replaced(&steps), "api      replaced: env LOG_LEVEL changed\n");
        assert_eq!(
            plan(&steps),
            "api      replace: env LOG_LEVEL changed  after db\n\
             db       unchanged\n\
             job      start  after db, api\n"
        );
    }

    #[test]
    fn what_could_not_be_stopped_does_not_count() {
        let name = |text: &str| ServiceName::new(text).unwrap();
        let failure = |service: &str, blocked: &[&str]| harness_wire::message::Failure {
            service: name(service),
            reason: "it does not end".into(),
            exit: None,
            last_probe: None,
            last_lines: vec![],
            wrote_nothing: false,
            not_reached: false,
            blocked: blocked.iter().map(|service| name(service)).collect(),
            still_up: vec![],
        };
        let mut report = StopReport {
            project: ProjectName::new("shop").unwrap(),
            stopped: vec![name("web")],
            already: vec![name("idle")],
            failures: vec![failure("api", &["db"])],
            volumes: vec![],
            elapsed_ms: 400,
        };
        let words = |report: &StopReport| stopped(report, &Style::new(false));
        assert_eq!(
            words(&report),
            "1 of 3 services stopped in 0.4s; not stopped: api, db\n"
        );
        report.stopped.clear();
        report.failures = vec![failure("api", &[])];
        assert_eq!(
            words(&report),
            "0 of 1 service stopped in 0.4s; not stopped: api\n"
        );
        report.failures.clear();
        assert_eq!(words(&report), "not running before: idle\n");
    }
}

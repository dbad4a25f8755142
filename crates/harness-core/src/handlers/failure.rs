//! What a failed service has to say for itself: promise 5.

use harness_model::{ForeignText, ProjectName, Redactor, ServiceName};
use harness_wire::message::Failure;
use service_orchestration::logs;
use service_orchestration::machine::RootFailure;
use service_orchestration::words::chain;
use service_registry::record::ServiceRecord;

use super::Context;
use crate::convert;

/// Lines of output in a report.
const LAST_LINES: u64 = 20;

/// The reports of the roots of a failed operation.
pub(super) async fn failures(
    context: &Context,
    project: &ProjectName,
    roots: &[RootFailure],
) -> Vec<Failure> {
    let mut failures = Vec::new();
    for root in roots {
        if let Some(record) = context.registry.service(project, &root.service) {
            failures.push(report(context, &record, root.reason.clone(), root.blocked.clone()).await);
        }
    }
    failures
}

/// The report of one service.
pub(super) async fn report(
    context: &Context,
    record: &ServiceRecord,
    reason: String,
    blocked: Vec<ServiceName>,
) -> Failure {
    let redactor = context.redactor(&record.project);
    let up = |other: &&std::sync::Arc<ServiceRecord>| other.state.is_live() && other.name != record.name;
    Failure {
        service: record.name.clone(),
        reason: redactor.redact(&reason).into(),
        exit: record.exit,
        last_probe: convert::probe_line(record).map(|line| redactor.redact(&line).into()),
        last_lines: last_lines(context, record, &redactor).await,
        blocked,
        still_up: context
            .registry
            .services(&record.project)
            .iter()
            .filter(up)
            .map(|r| r.name.clone())
            .collect(),
    }
}

/// The last lines of the newest generation that wrote any.
async fn last_lines(context: &Context, record: &ServiceRecord, redactor: &Redactor) -> Vec<ForeignText> {
    let mut generations = context.layout.generations(&record.project, &record.name);
    while let Some(generation) = generations.pop() {
        let run_dir = context
            .layout
            .generation(&record.project, &record.name, generation);
        match logs::last_lines(&run_dir, LAST_LINES, redactor).await {
            Ok(lines) if !lines.is_empty() => {
                return lines
                    .iter()
                    .map(|line| String::from_utf8_lossy(line).into_owned().into())
                    .collect();
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(error = chain(&error), run_dir = %run_dir.display(), "cannot read a log")
            }
        }
    }
    Vec::new()
}

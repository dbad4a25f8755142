//! Explains why a service failed: promise 5.

use harness_model::{ProjectName, Redactor, ServiceName, ServiceState};
use harness_wire::message::Failure;
use service_orchestration::logs::{self, LastLines};
use service_orchestration::machine::{FailureCause, Hook, RootFailure};
use service_orchestration::words::chain;
use service_registry::record::ServiceRecord;

use super::Context;
use crate::convert;

/// How many lines of output a report has.
const LAST_LINES: u64 = 20;

/// The reports about the services that caused an operation to fail.
pub(super) async fn failures(
    context: &Context,
    project: &ProjectName,
    roots: &[RootFailure],
) -> Vec<Failure> {
    let mut failures = Vec::new();
    for root in roots {
        if let Some(record) = context.registry.service(project, &root.service) {
            let failed = Failed {
                reason: root.reason.clone(),
                cause: Some(root.cause.clone()),
                generation: root.generation,
            };
            failures.push(report(context, &record, failed, root.blocked.clone()).await);
        }
    }
    failures
}

/// Which start of a service failed, and why.
pub(super) struct Failed {
    reason: String,
    /// The cause, if it is known.
    cause: Option<FailureCause>,
    /// The generation that failed; `None` if none was started.
    generation: Option<u64>,
}

impl Failed {
    /// Describes the service as it is now.
    pub(super) fn now(record: &ServiceRecord) -> Self {
        let cause = record.failure.clone();
        Self {
            reason: record.error.clone().unwrap_or_else(|| record.state.to_string()),
            cause: cause.and_then(|cause| serde_json::from_value(cause).ok()),
            generation: (record.generation > 0).then_some(record.generation),
        }
    }

    /// Whether a process of the service ran, so that it may have written something.
    fn ran(&self) -> bool {
        use FailureCause as C;
        self.generation.is_some()
            && !matches!(
                self.cause,
                Some(C::Launch(_) | C::Hook(Hook::BeforeStart, _) | C::MissingDependency(_))
            )
    }
}

/// The report about one service, with output only from the start that failed.
pub(super) async fn report(
    context: &Context,
    record: &ServiceRecord,
    failed: Failed,
    blocked: Vec<ServiceName>,
) -> Failure {
    let redactor = context.redactor(&record.project);
    let up = |other: &&std::sync::Arc<ServiceRecord>| other.state.is_live() && other.name != record.name;
    let said = match failed.generation {
        Some(generation) => last_lines(context, record, generation, &redactor).await,
        None => None,
    };
    // While the state is unknown, more output may still come.
    let is_told = record.state != ServiceState::Unknown;
    let wrote_nothing = |said: &LastLines| said.lines.is_empty() && !said.is_incomplete;
    Failure {
        service: record.name.clone(),
        exit: record.exit.filter(|_| failed.ran()),
        last_probe: convert::probe_line(record).map(Into::into),
        wrote_nothing: failed.ran() && is_told && said.as_ref().is_some_and(wrote_nothing),
        not_reached: failed.cause == Some(FailureCause::NotReached),
        reason: failed.reason.into(),
        last_lines: said
            .unwrap_or_default()
            .lines
            .iter()
            .map(|line| String::from_utf8_lossy(line).into_owned().into())
            .collect(),
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

/// The last lines of one generation; `None` if they are lost.
async fn last_lines(
    context: &Context,
    record: &ServiceRecord,
    generation: u64,
    redactor: &Redactor,
) -> Option<LastLines> {
    let run_dir = context
        .layout
        .generation(&record.project, &record.name, generation);
    match logs::last_lines(&run_dir, LAST_LINES, redactor).await {
        Ok(said) => Some(said).filter(|_| run_dir.is_dir()),
        Err(error) => {
            tracing::warn!(error = chain(&error), run_dir = %run_dir.display(), "cannot read a log");
            None
        }
    }
}

//! `service show`: everything about one service, secrets redacted.

use harness_model::WallTime;
use harness_model::resolve::shown_env;
use harness_wire::message::{Labelled, Response, ServiceDetail, ServiceShowRequest};
use service_registry::record::ServiceRecord;

use super::graph::label;
use super::{Answer, Context};
use crate::convert;

pub(super) async fn service_show(context: &Context, request: &ServiceShowRequest) -> Answer {
    let project = context.looked_at(&request.project).await?;
    let record = context.service(&project.name, &request.service)?;
    Ok(Response::Service(Box::new(detail(context, &record))))
}

/// Collects everything about a service.
pub(super) fn detail(context: &Context, record: &ServiceRecord) -> ServiceDetail {
    let spec = &record.spec;
    let described = context.orchestrator.describe(spec);
    let run_dir = context
        .layout
        .generation(&record.project, &record.name, record.generation);
    let others = context.registry.services(&record.project);
    let needs_this = |other: &&std::sync::Arc<ServiceRecord>| {
        other
            .spec
            .dependencies
            .iter()
            .any(|dependency| dependency.service == record.name)
    };
    let dependencies = spec.dependencies.iter();
    ServiceDetail {
        view: convert::view(record, WallTime::steady()),
        generation: record.generation,
        started_at: record.started_at,
        command: described.command.into(),
        working_dir: described.working_dir.map(Into::into),
        more: described.more.into_iter().map(Labelled::from).collect(),
        env: spec
            .env
            .iter()
            .map(|(name, value)| (name.clone(), shown_env(name, value).into()))
            .collect(),
        dependencies: dependencies
            .map(|d| format!("{} ({})", d.service, label(&d.condition)).into())
            .collect(),
        dependents: others
            .iter()
            .filter(needs_this)
            .map(|other| other.name.clone())
            .collect(),
        health_check: record.health_check().map(|check| match record.spec.health_check {
            Some(_) => check.probe.describe().into(),
            None => format!("{} (of its image)", check.probe.describe()).into(),
        }),
        last_probe: convert::probe_line(record).map(Into::into),
        run_dir: (record.generation > 0).then(|| run_dir.display().to_string().into()),
    }
}

//! `service show`: everything about one service, secrets redacted.

use harness_model::resolve::shown_env;
use harness_model::spec::Kind;
use harness_model::{Template, WallTime};
use harness_wire::message::{Response, ServiceDetail, ServiceShowRequest};
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
    let (command, working_dir) = match &spec.kind {
        Kind::Process(process) => (
            words(std::iter::once(&process.binary).chain(&process.args)),
            process.working_dir.as_ref(),
        ),
        Kind::Container(docker) => (
            words(docker.image.iter().chain(docker.command.iter().flatten())),
            docker.working_dir.as_ref(),
        ),
        Kind::Package(package) => (
            words(std::iter::once(&package.package).chain(&package.args)),
            package.install_path.as_ref(),
        ),
        Kind::Other { type_name, .. } => (type_name.clone(), None),
    };
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
        command: command.into(),
        working_dir: working_dir.map(|folder| folder.to_string().into()),
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

fn words<'a>(templates: impl Iterator<Item = &'a Template>) -> String {
    templates.map(Template::to_string).collect::<Vec<_>>().join(" ")
}

//! Reads the specification of a container.

use harness_model::Template;
use harness_model::spec::{DockerSpec, Kind, ServiceSpec};
use service_orchestration::executor::LaunchError;

/// The specification of a container.
pub(crate) fn docker(spec: &ServiceSpec) -> Result<&DockerSpec, LaunchError> {
    match &spec.kind {
        Kind::Container(docker) => Ok(docker),
        other => Err(LaunchError::NoExecutor {
            type_name: other.name().to_owned(),
        }),
    }
}

/// The text of a resolved template.
pub(crate) fn text(template: &Template) -> Result<String, LaunchError> {
    template.expose().ok_or_else(|| LaunchError::Unresolved {
        text: template.to_string(),
    })
}

/// The texts of resolved templates.
pub(crate) fn texts(templates: &[Template]) -> Result<Vec<String>, LaunchError> {
    templates.iter().map(text).collect()
}

//! Who needs an image, and which.

use std::path::Path;

use harness_model::{ProjectName, ServiceName, ServiceSpec};
use service_orchestration::executor::{LaunchError, LaunchLink, Order};
use service_orchestration::secrets::Secrets;

use crate::spec::{docker, text};

/// The service that needs an image.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) project: &'a ProjectName,
    pub(crate) service: &'a ServiceName,
    pub(crate) spec: &'a ServiceSpec,
    /// Secrets to hide in what other programs say.
    pub(crate) secrets: &'a Secrets,
    /// The run directory for the output of a failing build, if there is one.
    pub(crate) run_dir: Option<&'a Path>,
    /// Receives the progress.
    pub(crate) link: Option<&'a LaunchLink>,
}

impl<'a> Wanted<'a> {
    pub(crate) fn by(order: &'a Order) -> Self {
        Self {
            project: &order.project,
            service: &order.service,
            spec: &order.spec,
            secrets: &order.secrets,
            run_dir: Some(&order.run_dir),
            link: Some(&order.link),
        }
    }

    /// The platform that the file asks for, if it names one.
    pub(crate) fn platform(&self) -> Option<&'a str> {
        docker(self.spec).ok()?.options.platform.as_deref()
    }

    /// The name of the image, as it may be shown.
    pub(crate) fn shown(&self) -> String {
        let image = docker(self.spec).ok().and_then(|docker| docker.image.as_ref());
        image.map_or_else(|| self.name().unwrap_or_default(), ToString::to_string)
    }

    /// Its name in the engine.
    pub(crate) fn name(&self) -> Result<String, LaunchError> {
        let spec = docker(self.spec)?;
        // Names of images must be in lower case.
        let built = || format!("{}-{}", self.project, self.service).to_lowercase();
        Ok(spec.image.as_ref().map(text).transpose()?.unwrap_or_else(built))
    }
}

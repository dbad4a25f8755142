//! The image of a service: used if it is there, or else pulled or built.

pub(crate) mod base_images;
pub(crate) mod build;
pub(crate) mod config;
pub(crate) mod context;
pub(crate) mod ignore;
pub(crate) mod progress;

use std::path::Path;

use bollard::models::{ImageConfig, ImageInspect};
use bollard::query_parameters::CreateImageOptions;
use futures_lite::StreamExt;
use harness_model::{ProjectName, ServiceName, ServiceSpec};
use service_orchestration::executor::{LaunchError, LaunchLink, Order};
use service_orchestration::secrets::Secrets;

use crate::container::body::{docker, text};
use crate::engine::bridge;
use crate::engine::{Engine, EngineError, explained};
use crate::image::build::BuildError;
use crate::image::progress::{Layers, Throttled};
use crate::registry::access::{self, Access};
use crate::registry::{Registry, is_refusal};

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageError {
    /// It is not here, and it could not be pulled.
    #[error(
        "image {image} is not on this machine and could not be pulled: {message} (check its name, or get it with \
         docker pull, build or load)"
    )]
    NotPulled { image: String, message: String },
    /// It is not here, and its registry refuses it.
    #[error(
        "image {image} is not on this machine and could not be pulled: {message}; {access} (also check the \
         image's name)"
    )]
    Denied {
        image: String,
        message: String,
        access: Box<Access>,
    },
    /// It is not here.
    #[error("image {image} is not on this machine yet")]
    NotHere { image: String },
    /// It could not be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The engine refuses the request.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<ImageError> for LaunchError {
    fn from(error: ImageError) -> Self {
        Self::Place(Box::new(error))
    }
}

/// The image of a container.
pub(crate) struct Image {
    /// Its name or id.
    pub(crate) name: String,
    /// Its own settings for containers.
    pub(crate) config: ImageConfig,
}

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

    fn name(&self) -> Result<String, LaunchError> {
        let spec = docker(self.spec)?;
        // Names of images must be in lower case.
        let built = || format!("{}-{}", self.project, self.service).to_lowercase();
        Ok(spec.image.as_ref().map(text).transpose()?.unwrap_or_else(built))
    }
}

/// Makes sure that the image is there: pulls or builds it if it is not.
pub(crate) async fn ensure(engine: &Engine, wanted: Wanted<'_>) -> Result<Image, LaunchError> {
    let name = wanted.name()?;
    let config = match &docker(wanted.spec)?.build {
        Some(build) => {
            let built = build::build(engine, wanted, build, &name).await;
            built.map_err(ImageError::from)?;
            find(engine, wanted).await?
        }
        None => match look(engine, &name).await.map_err(ImageError::from)? {
            Some(there) if is_for(&there, wanted.platform()) => there.config.unwrap_or_default(),
            _ => {
                tracing::info!(service = %wanted.service, image = wanted.shown(), "pulling an image");
                pull(engine, &name, wanted).await?;
                find(engine, wanted).await?
            }
        },
    };
    Ok(Image { name, config })
}

/// The settings of an image that must already be there.
pub(crate) async fn find(engine: &Engine, wanted: Wanted<'_>) -> Result<ImageConfig, LaunchError> {
    let image = wanted.name()?;
    match look(engine, &image).await.map_err(ImageError::from)? {
        Some(found) if is_for(&found, wanted.platform()) => Ok(found.config.unwrap_or_default()),
        _ => Err(ImageError::NotHere {
            image: named(&image, wanted.platform()),
        }
        .into()),
    }
}

/// An image in words.
fn named(name: &str, platform: Option<&str>) -> String {
    match platform {
        Some(platform) => format!("`{name}` for {platform}"),
        None => format!("`{name}`"),
    }
}

/// Whether an image is for a platform: `linux/arm64/v8` or a part of that.
fn is_for(image: &ImageInspect, platform: Option<&str>) -> bool {
    let has =
        [&image.os, &image.architecture, &image.variant].map(|part| part.as_deref().unwrap_or_default());
    // Engines leave out this one variant.
    let is_implied = |part: &str| part == "v8" && has.contains(&"arm64");
    let mut parts = platform.into_iter().flat_map(|platform| platform.split('/'));
    parts.all(|part| has.contains(&part) || is_implied(part))
}

/// An image of this machine; `None` if it is not there.
pub(crate) async fn look(engine: &Engine, name: &str) -> Result<Option<ImageInspect>, EngineError> {
    let image = name.to_owned();
    let what = format!("image {name}");
    let inspected = engine.ask("look for", &what, |docker| async move {
        docker.inspect_image(&image).await
    });
    match inspected.await {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

async fn pull(engine: &Engine, name: &str, wanted: Wanted<'_>) -> Result<(), ImageError> {
    let (platform, shown) = (wanted.platform(), wanted.shown());
    let docker = engine.docker().await?;
    // Without a tag, an engine pulls all tags.
    let last = name.rsplit('/').next().unwrap_or(name);
    let tag = if last.contains([':', '@']) { "" } else { "latest" };
    let options = CreateImageOptions {
        from_image: Some(name.to_owned()),
        tag: Some(tag.to_owned()).filter(|tag| !tag.is_empty()),
        platform: platform.unwrap_or_default().to_owned(),
        ..CreateImageOptions::default()
    };
    let mut layers = Layers::default();
    let mut said = Throttled::new(wanted.link);
    said.say(|| format!("pulling image {shown}"));
    let access = Access::to(Registry::of_image(name), engine.docker_files()).await;
    let docker = access.for_pull(docker);
    let pulled: Result<Option<String>, ImageError> = bridge::within(async {
        let mut progress = std::pin::pin!(docker.create_image(Some(options), None, None));
        while let Some(step) = progress.next().await {
            match step {
                Ok(step) => {
                    if let Some(message) = step.error_detail.and_then(|error| error.message) {
                        return Ok(Some(explained(&message)));
                    }
                    layers.note(step.id, step.status.as_deref(), step.progress_detail);
                    said.say(|| format!("pulling image {shown}{layers}"));
                }
                Err(error) => match engine.error("pull", name, error).await {
                    EngineError::Refused { message, .. } => return Ok(Some(message)),
                    error => return Err(error.into()),
                },
            }
        }
        Ok(None)
    })
    .await;
    let Some(message) = pulled? else { return Ok(()) };
    let message = access::redactor(std::slice::from_ref(&access)).redact(&message);
    let (image, access) = (named(name, platform), Box::new(access));
    Err(if is_refusal(&message) {
        ImageError::Denied {
            image,
            message,
            access,
        }
    } else {
        ImageError::NotPulled { image, message }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_for_its_platform() {
        let image = |architecture: &str| ImageInspect {
            os: Some("linux".to_owned()),
            architecture: Some(architecture.to_owned()),
            ..ImageInspect::default()
        };
        let (amd64, arm64) = (image("amd64"), image("arm64"));
        assert!(is_for(&amd64, None) && is_for(&amd64, Some("linux/amd64")) && is_for(&amd64, Some("linux")));
        assert!(!is_for(&amd64, Some("linux/arm64")) && !is_for(&amd64, Some("linux/amd64/v3")));
        assert!(is_for(&arm64, Some("linux/arm64/v8")) && !is_for(&arm64, Some("windows/arm64")));
    }
}

//! The image of a service: used if it is there, or else pulled or built.

pub(crate) mod base_images;
pub(crate) mod build;
pub(crate) mod config;
pub(crate) mod context;
pub(crate) mod ignore;
pub(crate) mod look;
pub(crate) mod progress;
pub(crate) mod wanted;

use bollard::models::ImageConfig;
use bollard::query_parameters::CreateImageOptions;
use futures_lite::StreamExt;
use service_orchestration::executor::LaunchError;

use crate::engine::bridge;
use crate::engine::{Engine, EngineError, explained};
use crate::image::build::BuildError;
use crate::image::look::{is_for, look};
use crate::image::progress::{Layers, Throttled};
use crate::image::wanted::Wanted;
use crate::registry::access::{self, Access};
use crate::registry::{Registry, is_refusal};
use crate::spec::docker;

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

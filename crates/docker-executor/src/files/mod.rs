//! Puts the rendered `files` of a service into its container before it starts.

pub(crate) mod targets;

use std::path::{Path, PathBuf};

use bollard::models::ImageConfig;
use bollard::query_parameters::UploadToContainerOptions;
use harness_model::WallTime;
use service_orchestration::executor::{LaunchError, Order};

use crate::container::record::ContainerRecord;
use crate::engine::{Engine, EngineError};
use crate::spec::{docker, text};

/// Readable by everybody in the container.
const PLAIN: u32 = 0o644;

/// Readable only by its owner.
const SECRET: u32 = 0o600;

/// The folder in which a container's program starts: the one of its specification, or else of its image.
pub(crate) fn folder(order: &Order, image: &ImageConfig) -> Result<PathBuf, LaunchError> {
    let written = docker(&order.spec)?.working_dir.as_ref().map(text).transpose()?;
    let folder = written.or_else(|| image.working_dir.clone());
    Ok(Path::new("/").join(folder.unwrap_or_default()))
}

/// Puts the files of an order into its container. Their targets are relative to `folder`.
pub(crate) async fn put(
    engine: &Engine,
    order: &Order,
    container: &ContainerRecord,
    folder: &Path,
) -> Result<(), LaunchError> {
    let files = &order.spec.files;
    if files.iter().all(|file| file.content.is_none()) {
        return Ok(());
    }
    targets::check(engine, order, container, folder).await?;
    let archive = archive(order, folder)?;
    let (id, name) = (&container.id, &container.name);
    let options = UploadToContainerOptions {
        path: "/".to_owned(),
        ..UploadToContainerOptions::default()
    };
    let what = format!("files of container {name}");
    let put: Result<(), EngineError> = engine
        .ask("write", &what, |docker| async move {
            let body = bollard::body_full(archive.into());
            docker.upload_to_container(id, Some(options), body).await
        })
        .await;
    put.map_err(LaunchError::from)
}

fn archive(order: &Order, folder: &Path) -> Result<Vec<u8>, LaunchError> {
    // Only the image knows users by name.
    let user = docker(&order.spec)?.user.as_ref().map(text).transpose()?;
    let owner = user
        .as_ref()
        .map(|user| user.split(':').next().and_then(|id| id.parse::<u64>().ok()));
    let mut tar = tar::Builder::new(Vec::new());
    for file in &order.spec.files {
        let Some(content) = &file.content else { continue };
        let target = folder.join(text(&file.target)?);
        // An archive is unpacked at the root.
        let target = target.strip_prefix("/").unwrap_or(&target);
        let bytes = text(content)?;
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mtime(WallTime::now().0 / 1_000_000_000);
        header.set_uid(owner.flatten().unwrap_or(0));
        header.set_gid(0);
        header.set_mode(if content.has_secret() && owner != Some(None) {
            SECRET
        } else {
            PLAIN
        });
        tar.append_data(&mut header, target, bytes.as_bytes())
            .map_err(|source| LaunchError::Path {
                what: "file target",
                path: file.target.to_string().into(),
                source,
            })?;
    }
    tar.into_inner().map_err(|source| LaunchError::Path {
        what: "file target",
        path: "/".into(),
        source,
    })
}

//! The rendered `files` of a service, put into its container before it starts.

use bollard::query_parameters::UploadToContainerOptions;
use harness_model::spec::FileSpec;
use harness_model::{Template, WallTime};
use service_orchestration::executor::{LaunchError, Order};

use crate::body::{docker, text};
use crate::engine::{Engine, EngineError};

/// Readable by everybody in the container.
const PLAIN: u32 = 0o644;

/// Readable by its owner alone.
const SECRET: u32 = 0o600;

/// Refuses a target that is not an absolute path: where else it would be is the image's business.
pub(crate) fn check(files: &[FileSpec]) -> Result<(), LaunchError> {
    let relative = |target: &Template| target.expose().is_some_and(|target| !target.starts_with('/'));
    match files.iter().find(|file| relative(&file.target)) {
        Some(file) => Err(LaunchError::NotForType {
            key: "files",
            why: format!("needs an absolute `target` in a container, not `{}`", file.target),
        }),
        None => Ok(()),
    }
}

/// Puts the files of an order into its container.
pub(crate) async fn put(engine: &Engine, order: &Order, id: &str, name: &str) -> Result<(), LaunchError> {
    let files = &order.spec.files;
    if files.iter().all(|file| file.content.is_none()) {
        return Ok(());
    }
    check(files)?;
    let archive = archive(order)?;
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

fn archive(order: &Order) -> Result<Vec<u8>, LaunchError> {
    // A user by name is known to the image alone.
    let user = docker(&order.spec)?.user.as_ref().map(text).transpose()?;
    let owner = user
        .as_ref()
        .map(|user| user.split(':').next().and_then(|id| id.parse::<u64>().ok()));
    let mut tar = tar::Builder::new(Vec::new());
    for file in &order.spec.files {
        let Some(content) = &file.content else { continue };
        let target = text(&file.target)?;
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
        tar.append_data(&mut header, target.trim_start_matches('/'), bytes.as_bytes())
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

//! What lies in the places of a container that its rendered files go to, seen before they are put there: the engine follows
//! links within the container as root, and replaces whatever is in the way.

use std::io;
use std::path::{Path, PathBuf};

use blocking::unblock;
use bollard::query_parameters::ContainerArchiveInfoOptions;
use harness_files::{FileError, FileId, Kind};
use service_orchestration::executor::{LaunchError, Order};

use crate::body::{self, text};
use crate::engine::{Engine, EngineError};
use crate::record::ContainerRecord;
use crate::volumes::Mount;

/// What an entry is, in the bits that the engine tells it by (those of Go's `fs.FileMode`).
const FOLDER: u32 = 1 << 31;
const LINK: u32 = 1 << 27;
const DEVICE: u32 = 1 << 26;
const PIPE: u32 = 1 << 25;
const SOCKET: u32 = 1 << 24;
const OTHER: u32 = 1 << 19;

/// Checks the places of an order's files; their targets are relative to `folder`.
///
/// # Errors
/// When one of them is no regular file, is a file of the project itself, or is reached by a link in something that is
/// mounted: whoever else has that mounted could have made it.
pub(crate) async fn check(
    engine: &Engine,
    order: &Order,
    container: &ContainerRecord,
    folder: &Path,
) -> Result<(), LaunchError> {
    let mounts = body::mounts(order)?;
    for file in order.spec.files.iter().filter(|file| file.content.is_some()) {
        let target = folder.join(text(&file.target)?);
        let refused = |error: FileError| LaunchError::Path {
            what: "file target",
            path: file.target.to_string().into(),
            source: io::Error::new(error.kind(), error),
        };
        // The innermost one is what is seen there.
        let mount = mounts
            .iter()
            .filter(|mount| target.starts_with(mount.target()))
            .max_by_key(|mount| mount.target().components().count());
        if let Some(mount) = mount {
            for part in below(mount.target(), &target) {
                if mode(engine, container, &part).await?.unwrap_or_default() & LINK != 0 {
                    let words = format!(
                        "{} is a link in a volume, so it is not followed: name what it leads to",
                        part.display()
                    );
                    return Err(LaunchError::Path {
                        what: "file target",
                        path: file.target.to_string().into(),
                        source: io::Error::new(io::ErrorKind::PermissionDenied, words),
                    });
                }
            }
            if is_kept(order, mount, &target).await {
                return Err(refused(FileError::Kept));
            }
        }
        if let Some(kind) = mode(engine, container, &target).await?.and_then(kind_of) {
            return Err(refused(FileError::Kind(kind)));
        }
    }
    Ok(())
}

/// The paths from below a mount down to the target.
fn below(mount: &Path, target: &Path) -> Vec<PathBuf> {
    let mut parts: Vec<PathBuf> = target
        .ancestors()
        .take_while(|part| *part != mount)
        .map(Path::to_owned)
        .collect();
    parts.reverse();
    parts
}

/// Whether a target is a file of the project on this machine.
async fn is_kept(order: &Order, mount: &Mount, target: &Path) -> bool {
    let Some(source) = mount.folder() else {
        return false;
    };
    let Ok(rest) = target.strip_prefix(mount.target()) else {
        return false;
    };
    let (here, own) = (source.join(rest), order.project_files.clone());
    unblock(move || {
        let there = FileId::of(&here);
        there.is_some() && own.iter().any(|path| FileId::of(path) == there)
    })
    .await
}

fn kind_of(mode: u32) -> Option<Kind> {
    let kinds = [
        (FOLDER, Kind::Folder),
        (DEVICE, Kind::Device),
        (PIPE, Kind::Pipe),
        (SOCKET, Kind::Socket),
        (OTHER, Kind::Other),
    ];
    kinds
        .into_iter()
        .find_map(|(bit, kind)| (mode & bit != 0).then_some(kind))
}

/// The mode of what is at a path of a container, links not followed; `None` if nothing is there.
async fn mode(engine: &Engine, container: &ContainerRecord, path: &Path) -> Result<Option<u32>, LaunchError> {
    let (id, name) = (&container.id, &container.name);
    let options = ContainerArchiveInfoOptions {
        path: path.display().to_string(),
    };
    let what = format!("a file of container {name}");
    let found: Result<_, EngineError> = engine
        .ask("look at", &what, |docker| async move {
            docker.get_container_archive_info(id, Some(options)).await
        })
        .await;
    match found {
        Ok(found) => Ok(Some(found.file_mode)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_below_a_mount_is_looked_at_from_the_top() {
        let parts = below(Path::new("/data"), Path::new("/data/conf/app.toml"));
        assert_eq!(parts, [Path::new("/data/conf"), Path::new("/data/conf/app.toml")]);
        assert!(below(Path::new("/data"), Path::new("/data")).is_empty());
    }

    #[test]
    fn kinds_are_told_by_the_engines_bits() {
        assert_eq!(kind_of(0o644), None);
        assert_eq!(kind_of(FOLDER | 0o755), Some(Kind::Folder));
        assert_eq!(kind_of(DEVICE | 1 << 21), Some(Kind::Device));
        assert_eq!(kind_of(LINK | 0o777), None);
    }
}

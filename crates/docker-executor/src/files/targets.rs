//! Looks at the targets of rendered files in a container before the files are put there. This is needed because the
//! engine follows links inside the container as root, and replaces whatever is in the way.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

use blocking::unblock;
use bollard::query_parameters::{ContainerArchiveInfoOptions, DownloadFromContainerOptions};
use futures_lite::StreamExt as _;
use harness_files::{FileError, FileId, Kind};
use service_orchestration::executor::{LaunchError, Order};

use crate::container::body;
use crate::container::record::ContainerRecord;
use crate::container::volumes::Mount;
use crate::engine::{Engine, EngineError};
use crate::spec::text;

/// The kind of an entry, as bits of the engine's answer (those of Go's `fs.FileMode`).
const FOLDER: u32 = 1 << 31;
const LINK: u32 = 1 << 27;
const DEVICE: u32 = 1 << 26;
const PIPE: u32 = 1 << 25;
const SOCKET: u32 = 1 << 24;
const OTHER: u32 = 1 << 19;

/// The kernel follows this many links.
const MAX_LINKS: usize = 40;

/// How much is read of an archive with a link in it: its name and target are not longer.
const LONGEST_LINK: usize = 64 << 10;

/// Checks the targets of an order's files. They are relative to `folder`.
///
/// # Errors
/// When one of them is not a regular file, is a file of the project itself, or is reached through a link in a mount:
/// others who can write to that mount could have made the link.
pub(crate) async fn check(
    engine: &Engine,
    order: &Order,
    container: &ContainerRecord,
    folder: &Path,
) -> Result<(), LaunchError> {
    let mounts = body::mounts(order)?;
    let mut look = Look {
        engine,
        container,
        mounted: Vec::new(),
        seen: BTreeMap::new(),
    };
    for mount in &mounts {
        // The engine itself follows the image's links to the place where it mounts something.
        let (at, _) = look.follow(mount.target(), "volume").await?;
        look.mounted.push(at);
    }
    for file in order.spec.files.iter().filter(|file| file.content.is_some()) {
        let target = folder.join(text(&file.target)?);
        let (target, mode) = look.follow(&target, "file target").await?;
        let refused = |error: FileError| LaunchError::Path {
            what: "file target",
            path: file.target.to_string().into(),
            source: io::Error::new(error.kind(), error),
        };
        // The innermost mount is the one that is visible there.
        let mount = look
            .mounted
            .iter()
            .zip(&mounts)
            .filter(|(at, _)| target.starts_with(at))
            .max_by_key(|(at, _)| at.components().count());
        if let Some((at, mount)) = mount
            && is_kept(order, at, mount, &target).await
        {
            return Err(refused(FileError::Kept));
        }
        if let Some(kind) = mode.and_then(kind_of) {
            return Err(refused(FileError::Kind(kind)));
        }
    }
    Ok(())
}

/// Looks at the paths of a container.
struct Look<'a> {
    engine: &'a Engine,
    container: &'a ContainerRecord,
    /// The places where something is mounted.
    mounted: Vec<PathBuf>,
    /// What was found so far.
    seen: BTreeMap<PathBuf, Option<u32>>,
}

impl Look<'_> {
    /// Where an absolute path leads, and the mode of what is there (`None` if nothing is). It follows only links of
    /// the image.
    async fn follow(
        &mut self,
        path: &Path,
        what: &'static str,
    ) -> Result<(PathBuf, Option<u32>), LaunchError> {
        let refused = |path: &Path, kind: io::ErrorKind, why: String| LaunchError::Path {
            what,
            path: path.to_owned(),
            source: io::Error::new(kind, why),
        };
        let mut names = names(path);
        let (mut at, mut there, mut links) = (PathBuf::from("/"), Some(FOLDER), 0);
        while let Some(name) = names.pop_front() {
            if name == ".." {
                at.pop();
                there = Some(FOLDER);
                continue;
            }
            let next = at.join(&name);
            there = match there {
                Some(_) => self.mode(&next).await?,
                // Nothing is below something that does not exist.
                None => None,
            };
            if there.is_none_or(|mode| mode & LINK == 0) {
                at = next;
                continue;
            }
            if is_below_any(&next, &self.mounted) {
                let words = format!(
                    "{} is a link in a volume, so it is not followed: use the path that it leads to",
                    next.display()
                );
                return Err(refused(path, io::ErrorKind::PermissionDenied, words));
            }
            links += 1;
            let target = self.link(&next).await?;
            let Some(target) = target.filter(|_| links <= MAX_LINKS) else {
                let words = format!("cannot follow the link {}", next.display());
                return Err(refused(path, io::ErrorKind::InvalidInput, words));
            };
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            there = Some(FOLDER);
            for name in self::names(&target).into_iter().rev() {
                names.push_front(name);
            }
        }
        Ok((at, there))
    }

    /// The mode of what is at a path, without following links; `None` if nothing is there.
    async fn mode(&mut self, path: &Path) -> Result<Option<u32>, LaunchError> {
        if let Some(mode) = self.seen.get(path) {
            return Ok(*mode);
        }
        let (id, what) = (&self.container.id, self.what());
        let options = ContainerArchiveInfoOptions {
            path: path.display().to_string(),
        };
        let found: Result<_, EngineError> = self
            .engine
            .ask("look at", &what, |docker| async move {
                docker.get_container_archive_info(id, Some(options)).await
            })
            .await;
        let mode = match found {
            Ok(found) => Some(found.file_mode),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error.into()),
        };
        self.seen.insert(path.to_owned(), mode);
        Ok(mode)
    }

    /// The text of a link. The engine itself only says where the link leads in the end, but an archive contains the
    /// link.
    async fn link(&self, path: &Path) -> Result<Option<PathBuf>, LaunchError> {
        let (id, what) = (&self.container.id, self.what());
        let options = DownloadFromContainerOptions {
            path: path.display().to_string(),
        };
        let archive: Result<Vec<u8>, EngineError> = self
            .engine
            .ask("read", &what, |docker| async move {
                let mut archive = Vec::new();
                let mut pieces = docker.download_from_container(id, Some(options));
                while let Some(piece) = pieces.next().await {
                    archive.extend_from_slice(&piece?);
                    if archive.len() > LONGEST_LINK {
                        break;
                    }
                }
                Ok(archive)
            })
            .await;
        Ok(link_in(&archive?))
    }

    fn what(&self) -> String {
        format!("a file of container {}", self.container.name)
    }
}

/// The names in a path.
fn names(path: &Path) -> VecDeque<OsString> {
    let named = |part: &Component<'_>| matches!(part, Component::Normal(_) | Component::ParentDir);
    let parts = path.components().filter(named);
    parts.map(|part| part.as_os_str().to_owned()).collect()
}

/// Whether a path is below one of these folders.
fn is_below_any(path: &Path, folders: &[PathBuf]) -> bool {
    let is_below = |folder: &PathBuf| path != folder && path.starts_with(folder);
    folders.iter().any(is_below)
}

/// The target of the link that is first in an archive.
fn link_in(archive: &[u8]) -> Option<PathBuf> {
    let mut archive = tar::Archive::new(archive);
    let first = archive.entries().ok()?.next()?.ok()?;
    first.link_name().ok()?.map(|target| target.into_owned())
}

/// Whether a target is a file of the project on this machine. `at` is the place of the mount that contains it.
async fn is_kept(order: &Order, at: &Path, mount: &Mount, target: &Path) -> bool {
    let Some(source) = mount.folder() else {
        return false;
    };
    let Ok(rest) = target.strip_prefix(at) else {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_below_a_mount_is_told_from_the_mount() {
        let mounted = [PathBuf::from("/data"), PathBuf::from("/data/deep")];
        for (path, is_below) in [
            ("/data", false),
            ("/data/conf", true),
            ("/data/deep", true),
            ("/database", false),
            ("/etc", false),
        ] {
            assert_eq!(is_below_any(Path::new(path), &mounted), is_below, "{path}");
        }
        assert_eq!(names(Path::new("/a/./b//../c")), ["a", "b", "..", "c"]);
    }

    #[test]
    fn a_link_is_read_from_its_archive() {
        for target in ["/data/conf".to_owned(), "n/".repeat(2000)] {
            let mut tar = tar::Builder::new(Vec::new());
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            tar.append_link(&mut header, "link", &target).unwrap();
            assert_eq!(link_in(&tar.into_inner().unwrap()), Some(target.into()));
        }
        assert_eq!(link_in(b""), None);
        assert_eq!(link_in(&[7; 2048]), None);
    }

    #[test]
    fn kinds_are_told_by_the_engines_bits() {
        assert_eq!(kind_of(0o644), None);
        assert_eq!(kind_of(FOLDER | 0o755), Some(Kind::Folder));
        assert_eq!(kind_of(DEVICE | 1 << 21), Some(Kind::Device));
        assert_eq!(kind_of(LINK | 0o777), None);
    }
}

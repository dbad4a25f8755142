//! Where the folders of services are: `projects/<project>/<service>/<generation>/` below the daemon's home.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use command_executor::local::DAEMON_LOCK;
use harness_model::{ProjectName, ServiceName};
use rustix::fs::{
    FallocateFlags, FlockOperation, IFlags, Mode, OFlags, fallocate, flock, ioctl_getflags, ioctl_setflags,
};
use rustix::io::Errno;

/// The space that a run directory needs before its service has written anything, in bytes: spec, identity, the space
/// for the exit record, the head of the log, and a copy of the record, each rounded up to a page.
const RUN_DIR_ROOM: u64 = 32 << 10;

/// There is not enough space for run directories.
#[derive(Debug, thiserror::Error)]
#[error("nothing was changed: {} has no space for {} KiB of run directories: {source}", path.display(), bytes >> 10)]
pub struct NoRoom {
    /// The folder in which they are made.
    pub path: PathBuf,
    /// How many bytes are needed.
    pub bytes: u64,
    /// The error of the system.
    #[source]
    pub source: io::Error,
}

/// The home or its lock was removed or replaced, so another daemon may have the home now.
#[derive(Debug, thiserror::Error)]
#[error("{} was removed or replaced, so the daemon starts nothing more", path.display())]
pub struct HomeGone {
    /// The home or its lock.
    pub path: PathBuf,
}

/// A file or folder as it was at the start. It is kept open so that no other file gets its inode number.
#[derive(Debug)]
struct Pinned {
    path: PathBuf,
    opened: File,
}

impl Pinned {
    fn at(path: PathBuf) -> Option<Self> {
        let opened = File::open(&path).ok()?;
        Some(Self { path, opened })
    }

    /// Fails only if it is certain: a disk that does not answer does not mean that the home is gone.
    fn check(&self) -> Result<(), HomeGone> {
        let gone = || HomeGone {
            path: self.path.clone(),
        };
        match (self.opened.metadata(), std::fs::metadata(&self.path)) {
            (Ok(was), Ok(is)) if (was.dev(), was.ino()) != (is.dev(), is.ino()) => Err(gone()),
            (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => Err(gone()),
            _ => Ok(()),
        }
    }
}

/// Asks ext4 to place each folder inside this one away from others. Otherwise, each time a file is made, ext4 would
/// have to skip what was removed next to the home lately. Other file systems do not know this flag, or do not need
/// it.
fn set_apart(folder: &Path) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(folder, flags, Mode::empty())?;
    let flags = ioctl_getflags(&folder)?;
    if flags.contains(IFlags::TOPDIR) {
        return Ok(());
    }
    ioctl_setflags(&folder, flags | IFlags::TOPDIR)
}

/// Makes a folder (0700) unless it exists. Never makes its parents: that would bring back a home that is gone.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn take_room(folder: &Path, file: &Path, bytes: u64) -> io::Result<()> {
    make_folder(folder)?;
    // This only makes things faster, so a failure does not matter.
    let _ = set_apart(folder);
    let mut room = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file)?;
    match fallocate(&room, FallocateFlags::empty(), 0, bytes) {
        // Some file systems can only take space by writing. Write as little as possible there.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => room.write_all(&[0; 4096]),
        taken => Ok(taken?),
    }
}

/// The prefix of folders that are about to be removed. No service has such a name.
const DISCARDED: &str = ".removed-";

/// The folders of a daemon's services.
#[derive(Debug, Clone)]
pub struct Layout {
    projects: PathBuf,
    /// The home and its lock, if they existed at the start.
    pinned: Arc<[Pinned]>,
}

impl Layout {
    /// The folders below this home.
    pub fn new(home: &Path) -> Self {
        let pinned = [home.to_owned(), home.join(DAEMON_LOCK)];
        Self {
            projects: home.join("projects"),
            pinned: pinned.into_iter().filter_map(Pinned::at).collect(),
        }
    }

    /// Checks that the home and its lock are still the same. Blocks on the disk.
    ///
    /// # Errors
    /// When one of them was removed or replaced.
    pub fn check_home(&self) -> Result<(), HomeGone> {
        self.pinned.iter().try_for_each(Pinned::check)
    }

    /// The folder of all projects.
    pub fn projects(&self) -> &Path {
        &self.projects
    }

    /// The folder of a project.
    pub fn project(&self, project: &ProjectName) -> PathBuf {
        self.projects.join(project.as_str())
    }

    /// The folder of a service.
    pub fn service(&self, project: &ProjectName, service: &ServiceName) -> PathBuf {
        self.project(project).join(service.as_str())
    }

    /// The run directory of one generation.
    pub fn generation(&self, project: &ProjectName, service: &ServiceName, generation: u64) -> PathBuf {
        self.service(project, service).join(generation.to_string())
    }

    /// The generations of a service on disk, oldest first.
    pub fn generations(&self, project: &ProjectName, service: &ServiceName) -> Vec<u64> {
        let Ok(entries) = std::fs::read_dir(self.service(project, service)) else {
            return Vec::new();
        };
        let mut found: Vec<u64> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        found.sort_unstable();
        found
    }

    /// Checks that this many run directories can be made now, by taking their space for a moment. Somebody else may
    /// still take the space before they are made.
    ///
    /// # Errors
    /// When the folder of the projects cannot be made or written, or has not enough space.
    pub fn check_room(&self, run_dirs: usize) -> Result<(), NoRoom> {
        let path = self.projects.join(".room");
        let bytes = RUN_DIR_ROOM.saturating_mul(run_dirs as u64);
        let taken = take_room(&self.projects, &path, bytes);
        // The file may not exist.
        let _ = std::fs::remove_file(&path);
        taken.map_err(|source| NoRoom {
            path: self.projects.clone(),
            bytes,
            source,
        })
    }

    /// Removes the folders of all generations except the last `keep`, but never the folder of `current`.
    pub fn prune(&self, project: &ProjectName, service: &ServiceName, keep: usize, current: u64) {
        let generations = self.generations(project, service);
        let surplus = generations.len().saturating_sub(keep);
        for generation in generations.into_iter().take(surplus).filter(|g| *g != current) {
            let path = self.generation(project, service, generation);
            if let Err(error) = std::fs::remove_dir_all(&path) {
                tracing::warn!(path = %path.display(), %error, "cannot remove an old run directory");
            }
        }
    }

    /// Renames the folder of a forgotten service at once, and returns its new path: a service of the same name may
    /// come again before the folder is removed. `None` if there is nothing to remove.
    pub fn discard_service(&self, project: &ProjectName, service: &ServiceName) -> Option<PathBuf> {
        let path = self.service(project, service);
        let time = harness_model::WallTime::now().0;
        let discarded = self
            .project(project)
            .join(format!("{DISCARDED}{service}-{time:x}"));
        match std::fs::rename(&path, &discarded) {
            Ok(()) => Some(discarded),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot remove a service's folder");
                None
            }
        }
    }

    /// Renames the folder that is in the place of a generation which is about to be launched, and returns its new
    /// path. It belongs to a run of a service of which nothing else was known any more, and which has been stopped.
    pub fn discard_generation(
        &self,
        project: &ProjectName,
        service: &ServiceName,
        generation: u64,
    ) -> Option<PathBuf> {
        let path = self.generation(project, service, generation);
        if is_held(&path.join("lock")) {
            return None;
        }
        let time = harness_model::WallTime::now().0;
        let discarded = self
            .project(project)
            .join(format!("{DISCARDED}{service}-{generation}-{time:x}"));
        // Usually there is none.
        std::fs::rename(path, &discarded).ok().map(|()| discarded)
    }

    /// The same for the folder of a whole project.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub fn discard_project(&self, project: &ProjectName) -> io::Result<Option<PathBuf>> {
        let time = harness_model::WallTime::now().0;
        let discarded = self.projects.join(format!("{DISCARDED}{project}-{time:x}"));
        match std::fs::rename(self.project(project), &discarded) {
            Ok(()) => Ok(Some(discarded)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The folders that a former daemon renamed but did not get to remove.
    pub fn discarded(&self) -> Vec<PathBuf> {
        let below = |path: &Path| {
            let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).collect::<Vec<_>>()
        };
        let is_discarded = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with(DISCARDED))
        };
        let projects = below(&self.projects);
        let services = projects.iter().flat_map(|project| below(project));
        let mut found: Vec<PathBuf> = services.filter(is_discarded).collect();
        // Inner folders go first: a folder can be removed only once.
        found.extend(projects.into_iter().filter(is_discarded));
        found
    }
}

/// Whether somebody holds this lock, or that is unknown.
fn is_held(lock: &Path) -> bool {
    match File::open(lock) {
        Ok(file) => flock(&file, FlockOperation::NonBlockingLockShared).is_err(),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

/// Removes a folder that [`Layout::discard_service`] renamed. Blocks on the disk.
pub fn remove_discarded(path: &Path) {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "cannot remove a service's folder");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXT4: i64 = 0xef53;

    #[test]
    fn on_ext4_projects_are_set_apart() {
        let home = tempfile::tempdir().unwrap();
        let layout = Layout::new(home.path());
        layout.check_room(1).unwrap();
        layout.check_room(1).unwrap();
        let projects = std::fs::File::open(layout.projects()).unwrap();
        if rustix::fs::fstatfs(&projects).unwrap().f_type == EXT4 {
            assert!(ioctl_getflags(&projects).unwrap().contains(IFlags::TOPDIR));
        }
    }
}

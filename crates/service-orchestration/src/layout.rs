//! Where the folders of services are: `projects/<project>/<service>/<generation>/` below the daemon's home.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use harness_model::{ProjectName, ServiceName};
use rustix::fs::{
    FallocateFlags, FlockOperation, IFlags, Mode, OFlags, fallocate, flock, ioctl_getflags, ioctl_setflags,
};
use rustix::io::Errno;

/// What a run directory takes before its service has written anything, in bytes: spec, identity, the room of the
/// exit record, the head of the log, a copy of the record, each rounded up to a page.
const RUN_DIR_ROOM: u64 = 32 << 10;

/// There is no place for run directories.
#[derive(Debug, thiserror::Error)]
#[error("nothing was changed: {} cannot take the {} KiB of its run directories: {source}", path.display(), bytes >> 10)]
pub struct NoRoom {
    /// Where they are made.
    pub path: PathBuf,
    /// How much is needed.
    pub bytes: u64,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// The home was taken from under the daemon, or its lock was, and another daemon may have it now.
#[derive(Debug, thiserror::Error)]
#[error("{} was removed or replaced: nothing is started any more", path.display())]
pub struct HomeGone {
    /// The home, or its lock.
    pub path: PathBuf,
}

/// A file or folder as it was at the beginning, held open so that no other one gets its number.
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

    /// Only what is certain counts: a disk that does not answer is no missing home.
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

/// The daemon's lock below its home. It says which home that is, so that one that was moved is told from one that a
/// daemon has taken over in its new place.
const DAEMON_LOCK: &str = "daemon.lock";

/// What the lock in this home says that it is called, if a daemon has said so.
pub fn home_of_lock(home: &Path) -> Option<PathBuf> {
    let mut said = Vec::new();
    let file = File::open(home.join(DAEMON_LOCK)).ok()?;
    file.take(8 << 10).read_to_end(&mut said).ok()?;
    (!said.is_empty()).then(|| OsStr::from_bytes(&said).into())
}

/// A short name of a home, by its path: the same in every version.
pub fn tag(home: &Path) -> String {
    // FNV-1a.
    let hash = home
        .as_os_str()
        .as_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
    format!("{hash:016x}")
}

/// Asks ext4 to put each folder in this one where few others are: what is removed next to the home lately would
/// have to be passed over each time that a file is made. Other file systems do not know of this, or need not.
fn set_apart(folder: &Path) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(folder, flags, Mode::empty())?;
    let flags = ioctl_getflags(&folder)?;
    if flags.contains(IFlags::TOPDIR) {
        return Ok(());
    }
    ioctl_setflags(&folder, flags | IFlags::TOPDIR)
}

/// Makes a folder (0700) unless it is there. Never with its parents: a home that is gone must not come back by this.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn take_room(folder: &Path, file: &Path, bytes: u64) -> io::Result<()> {
    make_folder(folder)?;
    // It only makes things faster.
    let _ = set_apart(folder);
    let mut room = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file)?;
    match fallocate(&room, FallocateFlags::empty(), 0, bytes) {
        // A file system that cannot take it without writing is asked for the least that is written.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => room.write_all(&[0; 4096]),
        taken => Ok(taken?),
    }
}

/// How the names of folders begin that are about to be removed; no service's does.
const DISCARDED: &str = ".removed-";

/// The folders of a daemon's services.
#[derive(Debug, Clone)]
pub struct Layout {
    projects: PathBuf,
    /// The home and its lock, as far as they were there.
    pinned: Arc<[Pinned]>,
}

impl Layout {
    /// Below this home.
    pub fn new(home: &Path) -> Self {
        let pinned = [home.to_owned(), home.join(DAEMON_LOCK)];
        Self {
            projects: home.join("projects"),
            pinned: pinned.into_iter().filter_map(Pinned::at).collect(),
        }
    }

    /// Whether the home is the one that it was, and its lock too. Blocks on the disk.
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

    /// Makes sure that so many run directories can be made now, by taking their space for a moment. What takes
    /// place between this and their making is not known.
    ///
    /// # Errors
    /// When the folder of the projects cannot be made or written, or has too little room.
    pub fn check_room(&self, run_dirs: usize) -> Result<(), NoRoom> {
        let path = self.projects.join(".room");
        let bytes = RUN_DIR_ROOM.saturating_mul(run_dirs as u64);
        let taken = take_room(&self.projects, &path, bytes);
        // It may not have been made.
        let _ = std::fs::remove_file(&path);
        taken.map_err(|source| NoRoom {
            path: self.projects.clone(),
            bytes,
            source,
        })
    }

    /// Removes the folders of generations before the last `keep`, but never of `current`.
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

    /// Takes the folder of a service that is forgotten out of the way, at once, and returns where it is now: a
    /// service of that name may come again before it is removed. `None`: there is nothing to remove.
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

    /// Takes what lies in the place of a generation that is about to be launched out of the way: the run of a service
    /// of which nothing else was known any more, and which has been stopped. Returns where it is now.
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
        // Nearly always there is none.
        std::fs::rename(path, &discarded).ok().map(|()| discarded)
    }

    /// The same for the folder of a whole project.
    ///
    /// # Errors
    /// When it cannot be taken out of the way.
    pub fn discard_project(&self, project: &ProjectName) -> io::Result<Option<PathBuf>> {
        let time = harness_model::WallTime::now().0;
        let discarded = self.projects.join(format!("{DISCARDED}{project}-{time:x}"));
        match std::fs::rename(self.project(project), &discarded) {
            Ok(()) => Ok(Some(discarded)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What a former daemon took out of the way and did not get to remove.
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
        // Those within go first: a folder may be removed but once.
        found.extend(projects.into_iter().filter(is_discarded));
        found
    }
}

/// Whether somebody holds this lock, or that cannot be told.
fn is_held(lock: &Path) -> bool {
    match File::open(lock) {
        Ok(file) => flock(&file, FlockOperation::NonBlockingLockShared).is_err(),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

/// Removes a folder that [`Layout::discard_service`] took out of the way. Blocks on the disk.
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

//! Where the folders of services are: `projects/<project>/<service>/<generation>/` below the daemon's home.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use harness_model::{ProjectName, ServiceName};
use rustix::fs::{FallocateFlags, IFlags, Mode, OFlags, fallocate, ioctl_getflags, ioctl_setflags};
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

fn take_room(folder: &Path, file: &Path, bytes: u64) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
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
}

impl Layout {
    /// Below this home.
    pub fn new(home: &Path) -> Self {
        Self {
            projects: home.join("projects"),
        }
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
        projects
            .iter()
            .flat_map(|project| below(project))
            .filter(is_discarded)
            .collect()
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

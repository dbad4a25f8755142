//! The home of a daemon, and what former daemons of a home left running. It is found by looking at the living
//! supervisors.
//!
//! | a supervisor of our user with a run directory that | counts as |
//! |---|---|
//! | lies in this home, where it was launched | one to adopt |
//! | was removed, and was of this home (by folder, or by path) | lost |
//! | was renamed within this home, or moved out of it | lost, unless the daemon of another home has taken it over |
//! | belongs to any other home | a stranger, which is left alone |

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::host::Survivor;
use crate::supervised::{FileId, LivingShim};

/// How many parts of the path of a run directory are below its home: `projects`, project, service, generation.
const LEVELS: usize = 4;

/// The daemon's lock below its home. It contains the path of that home. So a home that was moved can be told from one
/// that another daemon has taken over in its new place.
pub const DAEMON_LOCK: &str = "daemon.lock";

/// The home that this lock names, if a daemon has written one into it.
fn home_of_lock(home: &Path) -> Option<PathBuf> {
    let mut said = Vec::new();
    let file = File::open(home.join(DAEMON_LOCK)).ok()?;
    file.take(8 << 10).read_to_end(&mut said).ok()?;
    (!said.is_empty()).then(|| OsStr::from_bytes(&said).into())
}

/// A short name of a home, made from its path. It is the same in every version.
fn tag(home: &Path) -> String {
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

/// A home, with all of its names.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    given: PathBuf,
    real: PathBuf,
    folder: Option<FileId>,
}

impl Home {
    pub(super) fn at(path: &Path) -> Self {
        Self {
            given: path.components().collect(),
            real: path.canonicalize().unwrap_or_else(|_| path.to_owned()),
            folder: FileId::of(path).ok(),
        }
    }

    /// The prefix of the names of this home's cgroups. It is the same whatever path leads to the home.
    pub(super) fn cgroup_prefix(&self) -> String {
        format!("harness-{}-", tag(&self.real))
    }

    /// What marks the commands of this home's daemons, so that the next daemon finds what a killed one left.
    pub(super) fn mark(&self) -> String {
        format!("commands of {}", self.given.display())
    }

    /// Every supervisor of this home that lives, oldest first. Blocks on `/proc`.
    pub(super) fn survey(&self) -> std::io::Result<Vec<Survivor>> {
        let shims = LivingShim::all()?.into_iter();
        let mut found: Vec<Survivor> = shims.filter_map(|shim| self.recognize(&shim)).collect();
        found.sort_by_key(|found| (found.supervisor.start_time, found.supervisor.pid));
        Ok(found)
    }

    fn recognize(&self, shim: &LivingShim) -> Option<Survivor> {
        // If it has not entered its run directory yet, it will do so or end.
        if !shim.has_entered() {
            return None;
        }
        let run = below_home(shim.launched_in()).or_else(|| below_home(shim.works_in()))?;
        let above = shim.ancestor(LEVELS);
        let is_inside = match &above {
            Ok(above) => self.folder.is_some() && FileId::of(above).ok() == self.folder,
            Err(_) => shim.works_in().starts_with(&self.real),
        };
        let is_lost = if is_inside {
            let run_dir = self.given.join(&run);
            shim.is_removed()
                || FileId::of(&run_dir).is_ok_and(|there| there != shim.folder())
                || is_absent(&run_dir)
        } else {
            let was_here = [&self.given, &self.real]
                .into_iter()
                .any(|home| shim.launched_in().starts_with(home) || shim.works_in().starts_with(home));
            let taken_over = || {
                let home = home_of_lock(&above.ok()?)?;
                (home != self.given && home != self.real).then_some(())
            };
            if !was_here || (!shim.is_removed() && taken_over().is_some()) {
                return None;
            }
            true
        };
        Some(Survivor {
            run,
            is_lost,
            supervisor: shim.process().clone(),
        })
    }
}

fn is_absent(path: &Path) -> bool {
    let looked = std::fs::symlink_metadata(path);
    looked.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// The last parts of the path of a run directory; `None` if it has the path of no run directory of a home.
fn below_home(run_dir: &Path) -> Option<PathBuf> {
    let parts: Vec<Component<'_>> = run_dir.components().collect();
    let below @ [projects, _, _, generation] = parts.last_chunk::<LEVELS>()?;
    let is_run =
        projects.as_os_str() == "projects" && generation.as_os_str().to_str()?.parse::<u64>().is_ok();
    is_run.then(|| below.iter().collect())
}

/// The cgroups of this home below `base`.
pub(super) fn cgroups(base: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(base).into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.starts_with(prefix))
        })
        .map(|entry| entry.path())
        .collect()
}

//! What former daemons of a home left running. It is found by looking at the living supervisors.
//!
//! | a supervisor of our user with a run directory that | counts as |
//! |---|---|
//! | lies in this home, where the layout has it | one to adopt with its service, if that is known |
//! | was removed, and was of this home (by folder, or by path) | lost |
//! | was renamed within this home, or moved out of it | lost, unless the daemon of another home has taken it over |
//! | belongs to any other home | a stranger, which is left alone |

use std::path::{Path, PathBuf};

use command_executor::supervised::{FileId, LivingShim};
use harness_model::{ProjectName, ServiceName};

use crate::layout::{Layout, home_of_lock};

/// Levels from a run directory up to its home: generation, service, project, `projects`.
const LEVELS: usize = 4;

/// A supervisor of this home.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) project: ProjectName,
    pub(super) service: ServiceName,
    pub(super) generation: u64,
    /// Whether its run directory does not lead to it any more.
    pub(super) is_lost: bool,
    pub(super) shim: LivingShim,
}

/// A home, with all of its names.
#[derive(Debug, Clone)]
pub(super) struct Home {
    given: PathBuf,
    real: PathBuf,
    folder: Option<FileId>,
    layout: Layout,
}

impl Home {
    pub(super) fn at(path: &Path) -> Self {
        Self {
            given: path.components().collect(),
            real: path.canonicalize().unwrap_or_else(|_| path.to_owned()),
            folder: FileId::of(path).ok(),
            layout: Layout::new(path),
        }
    }

    /// The real path of the home, which is the same whatever path leads there.
    pub(super) fn real(&self) -> &Path {
        &self.real
    }

    /// Every supervisor of this home that lives, oldest first. Blocks on `/proc`.
    pub(super) fn survey(&self) -> std::io::Result<Vec<Found>> {
        let shims = LivingShim::all()?.into_iter();
        let mut found: Vec<Found> = shims.filter_map(|shim| self.recognize(shim)).collect();
        found.sort_by_key(|found| (found.shim.process().start_time, found.shim.process().pid));
        Ok(found)
    }

    fn recognize(&self, shim: LivingShim) -> Option<Found> {
        // If it has not entered its run directory yet, it will do so or end.
        if !shim.has_entered() {
            return None;
        }
        let (project, service, generation) = place(shim.launched_in()).or_else(|| place(shim.works_in()))?;
        let above = shim.ancestor(LEVELS);
        let is_inside = match &above {
            Ok(above) => self.folder.is_some() && FileId::of(above).ok() == self.folder,
            Err(_) => shim.works_in().starts_with(&self.real),
        };
        let is_lost = if is_inside {
            let run_dir = self.layout.generation(&project, &service, generation);
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
        Some(Found {
            project,
            service,
            generation,
            is_lost,
            shim,
        })
    }
}

fn is_absent(path: &Path) -> bool {
    let looked = std::fs::symlink_metadata(path);
    looked.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// The project, service and generation that the path of a run directory names.
fn place(run_dir: &Path) -> Option<(ProjectName, ServiceName, u64)> {
    let mut names = run_dir.components().rev().map(|name| name.as_os_str().to_str());
    let generation = names.next()??.parse().ok()?;
    let service = ServiceName::new(names.next()??).ok()?;
    let project = ProjectName::new(names.next()??).ok()?;
    (names.next()?? == "projects").then_some((project, service, generation))
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

//! Chooses the project that a request refers to: a pure function of what is known about projects and their files.
//!
//! ```text
//! -p NAME                that one
//! a file: -c, or upwards by its path ─▶ by the folder it was moved with ─▶ by its name, if the recorded file is gone
//!                          │              └─bound─▶                          ├─bound─▶
//!                          └─several: the one that is called as the file says └─still there: refused, both are named
//!                   found above, and another project runs that was started nearer to the caller ─▶ refused
//! no file                the project whose file is, or was, in this very folder ─▶ for a look: the only one there is
//! ```
//!
//! A copy of a folder, for example a git worktree, has a file with the same project name, but the running project is
//! not its own. So a name alone is not enough while the file that the project was started from still exists.

use std::path::{Path, PathBuf};

use harness_model::ProjectName;
use harness_model::spec::NamedBy;

/// What is known about a project.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) name: ProjectName,
    /// The file it was started from.
    pub(crate) source: PathBuf,
    /// The folder where the file was found. A link may lead to the file from anywhere.
    pub(crate) folder: PathBuf,
    pub(crate) named_by: NamedBy,
    /// Whether any of its services runs or is going to run.
    pub(crate) up: bool,
    /// What its file looks like now.
    pub(crate) seen: Seen,
}

/// How the file that a project was started from compares with the file in the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It is the file in the request, in the same folder, by whatever path.
    Asked,
    /// It is the file in the request, reached through a link in another folder.
    Linked,
    /// It or its folder is gone, and its folder is now the one of the file in the request.
    Moved,
    /// It is gone, and the file in the request is in its folder, under another name.
    Beside,
    /// It or its folder is gone.
    Gone,
    /// It exists, or that is unknown.
    There,
}

/// The file in the request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) file: &'a Path,
    /// The project name in it, if it can be read.
    pub(crate) name: Option<&'a ProjectName>,
    /// The way from the caller's folder, if the file was found in a folder above.
    pub(crate) way: Option<Way<'a>>,
}

/// The folders between a caller and a file that was found above.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way<'a> {
    /// The caller's folder.
    pub(crate) from: &'a Path,
    /// The folder of the file.
    pub(crate) to: &'a Path,
}

/// The chosen project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meant {
    pub(crate) name: ProjectName,
    /// Whether the file in the request becomes its file, in place of another.
    pub(crate) moved: bool,
    pub(crate) remark: Option<Remark>,
}

/// What to tell people about the choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Remark {
    /// The file now has another project name, and the project's name was not given with `-p`.
    Renamed(ProjectName),
    /// The file has another project name, because this project's name was given with `-p`.
    NamedByCaller,
    /// Other projects that were started from the same file are up too.
    AlsoUp(Vec<ProjectName>),
    /// There is no file; this is the only project.
    Only,
}

/// Why no project can be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotMeant {
    /// Nothing was started from the file. `lost`: projects without a file that may belong to it under an earlier
    /// name.
    NotStarted { lost: Vec<ProjectName> },
    /// The name belongs to a project whose own file still exists.
    Elsewhere {
        name: ProjectName,
        file: PathBuf,
        folder: PathBuf,
    },
    /// Several projects were started from here, and none has the name in the file; or the one with that name is down
    /// while another is up.
    Several(Vec<ProjectName>),
    /// There is no file, and no project was started here.
    NoFile,
    /// The file has another project name now. Holds the projects that run under earlier names.
    Renamed(Vec<ProjectName>),
    /// The file is in a folder above, but some running projects were started from a folder nearer to the caller.
    Nearer {
        nearer: Vec<ProjectName>,
        /// The project of the file, if it was started.
        above: Option<ProjectName>,
    },
}

impl NotMeant {
    fn elsewhere(project: &Known) -> Self {
        Self::Elsewhere {
            name: project.name.clone(),
            file: project.source.clone(),
            folder: project.folder.clone(),
        }
    }
}

/// Chooses the project for a file.
pub(crate) fn by_file(known: &[Known], asked: Asked<'_>) -> Result<Meant, NotMeant> {
    let meant = of_file(known, asked);
    let above = match &meant {
        Ok(meant) => Some(&meant.name),
        Err(NotMeant::NotStarted { .. }) => None,
        Err(_) => return meant,
    };
    pass(known, asked.way, above)?;
    meant
}

/// Refuses a file that was found above if a project that runs from a folder on the way may be meant. Its file may
/// have been deleted, for example, or given with `-c`.
///
/// # Errors
/// When there is such a project.
pub(crate) fn pass(
    known: &[Known],
    way: Option<Way<'_>>,
    above: Option<&ProjectName>,
) -> Result<(), NotMeant> {
    let Some(Way { from, to }) = way else {
        return Ok(());
    };
    let is_nearer = |project: &&Known| {
        let on_the_way = from.starts_with(&project.folder) && project.folder.starts_with(to);
        project.up && on_the_way && project.folder != to && above != Some(&project.name)
    };
    let nearer = names(&known.iter().filter(is_nearer).collect::<Vec<_>>());
    match nearer.is_empty() {
        true => Ok(()),
        false => Err(NotMeant::Nearer {
            nearer,
            above: above.cloned(),
        }),
    }
}

fn of_file(known: &[Known], asked: Asked<'_>) -> Result<Meant, NotMeant> {
    let called = |project: &&Known| asked.name == Some(&project.name);
    let here = started_here(known);
    let chosen = match here.as_slice() {
        [] => None,
        [one] => Some(*one),
        several => {
            let one = several.iter().copied().find(called);
            let runs = |project: &&Known| project.up && project.named_by != NamedBy::Caller;
            match one.filter(|one| one.up || !several.iter().any(runs)) {
                Some(one) => Some(one),
                // A project that runs under an earlier name must not look stopped.
                None => return Err(NotMeant::Several(names(several))),
            }
        }
    };
    if let Some(project) = chosen {
        let also: Vec<&Known> = here
            .iter()
            .copied()
            .filter(|other| other.up && other.name != project.name)
            .collect();
        let remark = match (asked.name, project.named_by) {
            _ if !also.is_empty() => Some(Remark::AlsoUp(names(&also))),
            (Some(name), _) if *name == project.name => None,
            (Some(_), NamedBy::Caller) => Some(Remark::NamedByCaller),
            (Some(name), _) => Some(Remark::Renamed(name.clone())),
            (None, _) => None,
        };
        return Ok(Meant {
            name: project.name.clone(),
            moved: project.seen == Seen::Moved,
            remark,
        });
    }
    let linked = || match known
        .iter()
        .filter(|project| project.seen == Seen::Linked)
        .collect::<Vec<_>>()[..]
    {
        [one] if asked.name.is_none() => Some(one),
        _ => None,
    };
    match known.iter().find(called).or_else(linked) {
        Some(project) if matches!(project.seen, Seen::Beside | Seen::Gone | Seen::Linked) => Ok(Meant {
            name: project.name.clone(),
            moved: project.seen != Seen::Linked,
            remark: None,
        }),
        Some(project) => Err(NotMeant::elsewhere(project)),
        None => Err(NotMeant::NotStarted {
            lost: lost(known, asked.file),
        }),
    }
}

/// Chooses the project for a folder without a file in it or above. A request that only looks may fall back to the
/// only project there is, because that can do no harm.
pub(crate) fn by_folder(known: &[Known], folder: &Path, may_fall_back: bool) -> Result<Meant, NotMeant> {
    let here: Vec<&Known> = known.iter().filter(|project| project.folder == folder).collect();
    let meant = |project: &Known, remark| Meant {
        name: project.name.clone(),
        moved: false,
        remark,
    };
    match (here.as_slice(), known) {
        ([one], _) => Ok(meant(one, None)),
        ([], [one]) if may_fall_back => Ok(meant(one, Some(Remark::Only))),
        ([], _) => Err(NotMeant::NoFile),
        (several, _) => Err(NotMeant::Several(names(several))),
    }
}

/// What a start under this name changes about the files of projects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Starting {
    /// The project is new. `former`: stopped projects that were started from the same file under other names.
    /// `also_up`: running ones; then the new name was given with `-p`. `lost`: as for [`NotMeant::NotStarted`].
    New {
        former: Vec<ProjectName>,
        also_up: Vec<ProjectName>,
        lost: Vec<ProjectName>,
    },
    /// It was started from this file before.
    Again,
    /// It had another file, which is gone.
    Moved,
    /// It had another file, which still exists, and `-p` says that this project is meant.
    TakenOver,
}

/// Whether a project may be started from a file. `named`: its name was given with `-p`.
pub(crate) fn to_start(
    known: &[Known],
    name: &ProjectName,
    file: &Path,
    named: bool,
) -> Result<Starting, NotMeant> {
    let others: Vec<&Known> = started_here(known)
        .into_iter()
        .filter(|project| project.name != *name && project.named_by != NamedBy::Caller)
        .collect();
    let (running, stopped): (Vec<&Known>, Vec<&Known>) = others.into_iter().partition(|project| project.up);
    let project = known.iter().find(|project| project.name == *name);
    let runs_already = project.is_some_and(|project| project.up && project.seen == Seen::Asked);
    if !named && !runs_already && !running.is_empty() {
        return Err(NotMeant::Renamed(names(&running)));
    }
    let Some(project) = project else {
        return Ok(Starting::New {
            former: names(&stopped),
            also_up: names(&running),
            lost: lost(known, file),
        });
    };
    match project.seen {
        Seen::Asked => Ok(Starting::Again),
        Seen::Moved | Seen::Beside | Seen::Gone => Ok(Starting::Moved),
        Seen::There | Seen::Linked if named => Ok(Starting::TakenOver),
        // Through a link from another folder it is another project, because relative paths mean something else there.
        Seen::There | Seen::Linked => Err(NotMeant::elsewhere(project)),
    }
}

/// The projects of the file in the request: found by its path, else by the folder that was moved with it.
fn started_here(known: &[Known]) -> Vec<&Known> {
    let seen = |wanted: Seen| -> Vec<&Known> { known.iter().filter(|p| p.seen == wanted).collect() };
    match seen(Seen::Asked) {
        here if here.is_empty() => seen(Seen::Moved),
        here => here,
    }
}

/// Projects that a file may have had before it was moved: if the project's name came from the folder or from `-p`, it
/// does not show where the file is now. The file may also have been renamed in its folder.
fn lost(known: &[Known], file: &Path) -> Vec<ProjectName> {
    let is_moved = |project: &Known| {
        project.seen == Seen::Gone
            && project.named_by != NamedBy::File
            && project.source.file_name() == file.file_name()
    };
    let may_be = |project: &&Known| project.up && (project.seen == Seen::Beside || is_moved(project));
    names(&known.iter().filter(may_be).collect::<Vec<_>>())
}

fn names(projects: &[&Known]) -> Vec<ProjectName> {
    projects.iter().map(|project| project.name.clone()).collect()
}

#[cfg(test)]
mod tests;

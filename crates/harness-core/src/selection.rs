//! Which project is meant, as a pure function of what is known of projects and what is seen of their files.
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
//! A copy of a folder, a git worktree say, has a file with the same name; what runs is not its own. So a name alone means
//! nobody while the file that it was started from is there.

use std::path::{Path, PathBuf};

use harness_model::ProjectName;
use harness_model::spec::NamedBy;

/// What is known of a project.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) name: ProjectName,
    /// The file it was started from.
    pub(crate) source: PathBuf,
    /// The folder in which that was called; a link may lead to the file from anywhere.
    pub(crate) folder: PathBuf,
    pub(crate) named_by: NamedBy,
    /// Whether something of it runs or is going to.
    pub(crate) up: bool,
    /// What is to be seen of its file.
    pub(crate) seen: Seen,
}

/// What is to be seen of the file that a project was started from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It is the file that is asked about, in the same folder by whatever way.
    Asked,
    /// It is the file that is asked about, to which a link leads from another folder.
    Linked,
    /// It or its folder is gone, and that folder is now the one of the file that is asked about.
    Moved,
    /// It is gone, and the file that is asked about is in its folder now, under another name.
    Beside,
    /// It or its folder is gone.
    Gone,
    /// It is there, or that cannot be told.
    There,
}

/// The file that is asked about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) file: &'a Path,
    /// What it calls its project, where that can be told.
    pub(crate) name: Option<&'a ProjectName>,
    /// Where it was looked for, if it was found above.
    pub(crate) way: Option<Way<'a>>,
}

/// The folders between a caller and the file that was found above.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way<'a> {
    /// Where the caller is.
    pub(crate) from: &'a Path,
    /// The folder of the file.
    pub(crate) to: &'a Path,
}

/// The project that is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meant {
    pub(crate) name: ProjectName,
    /// Its file is the one asked about from now on, and was another.
    pub(crate) moved: bool,
    pub(crate) remark: Option<Remark>,
}

/// What should be said about the choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Remark {
    /// The file calls its project otherwise, and it was not started under its name with `-p`.
    Renamed(ProjectName),
    /// The file calls its project otherwise: this one was started under its name with `-p`.
    NamedByCaller,
    /// Others that were started from the same file run, too.
    AlsoUp(Vec<ProjectName>),
    /// There is no file: it is the only project.
    Only,
}

/// Why no project is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotMeant {
    /// Nothing was started from the file. `lost`: projects whose file is gone and who may be its own under a former name.
    NotStarted { lost: Vec<ProjectName> },
    /// The name belongs to a project whose file is still there.
    Elsewhere {
        name: ProjectName,
        file: PathBuf,
        folder: PathBuf,
    },
    /// Several projects were started from here, and none is called as the file says; or that one is down while another
    /// runs.
    Several(Vec<ProjectName>),
    /// There is no file, and no project was started here.
    NoFile,
    /// The file has another name now; what runs under a former one.
    Renamed(Vec<ProjectName>),
    /// The file is in a folder above, and these run and were started nearer to the caller.
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

/// The project that a file means.
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

/// Refuses a file that was found above when what runs in a folder on the way may be meant: its own file was deleted, say,
/// or given with `-c`.
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
                // What runs under a former name must not pass for stopped.
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

/// The project that a folder means in which, and above which, there is no file. A look may fall back to the only
/// project there is: nothing can go wrong by it.
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

/// What a start under this name changes about which file is whose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Starting {
    /// The project is new. `former`: what was started from the same file under other names, and is stopped. `also_up`: what
    /// runs of that; its name was given with `-p` then. `lost`: as for [`NotMeant::NotStarted`].
    New {
        former: Vec<ProjectName>,
        also_up: Vec<ProjectName>,
        lost: Vec<ProjectName>,
    },
    /// It was started from this file before.
    Again,
    /// Its file was another, which is gone.
    Moved,
    /// Its file was another, which is still there; that it is meant was said with `-p`.
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
        // By a link from elsewhere it is another project: relative paths mean something else there.
        Seen::There | Seen::Linked => Err(NotMeant::elsewhere(project)),
    }
}

/// The projects of the file that is asked about: by its path, else by the folder that was moved with it.
fn started_here(known: &[Known]) -> Vec<&Known> {
    let seen = |wanted: Seen| -> Vec<&Known> { known.iter().filter(|p| p.seen == wanted).collect() };
    match seen(Seen::Asked) {
        here if here.is_empty() => seen(Seen::Moved),
        here => here,
    }
}

/// The projects that a file may have had before it was moved and lost its name on the way: one that it got from its
/// folder or with `-p` says nothing of where it is now. A file may also have got another name in its folder.
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

//! The error when no project can be chosen, and what to do about it.

use std::path::Path;

use harness_model::ProjectName;
use harness_wire::message::{ErrorBody, ErrorCode};

use crate::selection::{Known, NotMeant};

/// The error when no project can be chosen for a file, or for a folder without a file.
pub(super) fn refusal(
    error: NotMeant,
    known: &[Known],
    (file, folder): (Option<&Path>, &Path),
    start: bool,
) -> ErrorBody {
    let at = file.unwrap_or(folder).display();
    let with_files = |names: &[ProjectName]| {
        let named = known.iter().filter(|project| names.contains(&project.name));
        let shown = named.map(|project| format!("{} ({})", project.name, project.source.display()));
        shown.collect::<Vec<_>>().join(", ")
    };
    let all: Vec<ProjectName> = known.iter().map(|project| project.name.clone()).collect();
    let (code, message, hint) = match error {
        NotMeant::NoFile if known.is_empty() => (
            ErrorCode::NoSuchProject(all),
            "no project has been started".to_owned(),
            None,
        ),
        NotMeant::NoFile => {
            let hint = format!("choose one with -p: {}", with_files(&all));
            let message = format!(
                "there is no services.yaml in {at} or above, and no project was started \
                from here"
            );
            (ErrorCode::ProjectUnclear(all), message, Some(hint))
        }
        NotMeant::NotStarted { lost } if lost.is_empty() => (
            ErrorCode::NoSuchProject(all),
            format!("no project was started from {at}"),
            None,
        ),
        NotMeant::NotStarted { lost } => {
            let message = format!(
                "no project was started from {at}; if the file was moved or renamed, it may be one of \
                    these projects, whose files no longer exist: {}",
                with_files(&lost)
            );
            (
                ErrorCode::ProjectUnclear(lost),
                message,
                Some("choose one with -p; `harness -p NAME start` here connects it to this file".to_owned()),
            )
        }
        NotMeant::Several(names) => {
            let list: Vec<&str> = names.iter().map(ProjectName::as_str).collect();
            let (list, message) = (
                list.join(", "),
                format!("several projects were started from {at}"),
            );
            (
                ErrorCode::ProjectUnclear(names),
                message,
                Some(format!("choose one with -p: {list}")),
            )
        }
        NotMeant::Elsewhere {
            name,
            file: other,
            folder: its_own,
        } => {
            let other_file = other.display();
            let message = match file == Some(other.as_path()) {
                true => format!(
                    "project `{name}` was started from {other_file} in {}, not in {}",
                    its_own.display(),
                    folder.display()
                ),
                false => format!(
                    "project `{name}` was started from {other_file}, which still exists, not from {at}"
                ),
            };
            let hint = if start {
                format!(
                    "give this project another name with `name:` or -p; or `harness -p {name} start` makes \
                        this file the one of `{name}`"
                )
            } else {
                format!(
                    "use -p {name} for that project, or give this one another name with `name:` in the \
                    file or -p"
                )
            };
            (ErrorCode::NameTaken, message, Some(hint))
        }
        NotMeant::Renamed(names) => {
            let list: Vec<&str> = names.iter().map(ProjectName::as_str).collect();
            let stops: Vec<String> = list
                .iter()
                .map(|name| format!("`harness -p {name} stop --all`"))
                .collect();
            let hint = format!(
                "{}, then start again; or keep the name: -p {}",
                stops.join(" and "),
                list.join(" or -p ")
            );
            let message = format!(
                "{at} now has another project name, and project `{}` still runs from it",
                list.join("`, `")
            );
            (ErrorCode::ProjectRenamed(names), message, Some(hint))
        }
        NotMeant::Nearer { nearer, above } => {
            let message = match &above {
                Some(above) => format!(
                    "the file found in a folder above, {at}, belongs to project `{above}`, but these \
                        projects run from a nearer folder: {}",
                    with_files(&nearer)
                ),
                None => format!(
                    "nothing was started from the file found in a folder above, {at}, but these projects \
                        run from a nearer folder: {}",
                    with_files(&nearer)
                ),
            };
            let all: Vec<ProjectName> = nearer.into_iter().chain(above).collect();
            let list: Vec<&str> = all.iter().map(ProjectName::as_str).collect();
            let hint = format!("choose one with -p: {}", list.join(", "));
            (ErrorCode::ProjectUnclear(all), message, Some(hint))
        }
    };
    ErrorBody { code, message, hint }
}

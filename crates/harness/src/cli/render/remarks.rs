//! Notes about which project was chosen, where that is not obvious.

use harness_wire::message::{Remark, Selected};

use super::list;

/// One line per remark.
pub(crate) fn told(selected: &Selected) -> String {
    let remarks = selected.remarks.iter();
    remarks
        .map(|remark| format!("note: {}\n", words(selected, remark)))
        .collect()
}

fn words(selected: &Selected, remark: &Remark) -> String {
    let project = &selected.project;
    match remark {
        Remark::Moved { from, to } => format!(
            "project `{project}` was moved: {} no longer exists, and its file is now {}",
            from.display(),
            to.display()
        ),
        Remark::TakenOver { from, to } => format!(
            "project `{project}` was started from {}; its file is now {}",
            from.display(),
            to.display()
        ),
        Remark::Renamed { to } => format!(
            "this is project `{project}`, but the project name in its file is now `{to}`; to rename the project: \
             harness -p {project} stop --all && harness start"
        ),
        Remark::NamedByCaller {} => {
            format!("this is project `{project}`, which was started from this file with -p {project}")
        }
        Remark::AlsoUp(others) => format!(
            "this is project `{project}`; these were started from the same file and are up too: {} (choose \
                with -p)",
            list(others)
        ),
        Remark::Former(others) => format!(
            "started from the same file under another name, and stopped now: {} (harness project forget NAME)",
            list(others)
        ),
        Remark::Lost(others) => format!(
            "up, but their files no longer exist: {} (if one was moved here: harness -p NAME start)",
            list(others)
        ),
        Remark::Only {} => {
            let file = selected
                .files
                .first()
                .map(|file| format!(" ({})", file.display()));
            format!(
                "there is no services.yaml in this folder or above; this is project `{project}`{}",
                file.unwrap_or_default()
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use harness_model::ProjectName;

    use super::*;

    #[test]
    fn each_remark_is_a_line() {
        let name = |text: &str| ProjectName::new(text).unwrap();
        let remarks = vec![
            Remark::Moved {
                from: "/a/services.yaml".into(),
                to: "/b/services.yaml".into(),
            },
            Remark::Renamed { to: name("pub") },
            Remark::Only {},
        ];
        let selected = Selected {
            project: name("shop"),
            files: vec!["/b/services.yaml".into()],
            remarks,
        };
        assert_eq!(
            told(&selected),
            "note: project `shop` was moved: /a/services.yaml no longer exists, and its file is now /b/services.yaml\n\
             note: this is project `shop`, but the project name in its file is now `pub`; to rename the project: \
             harness -p shop stop --all && harness start\n\
             note: there is no services.yaml in this folder or above; this is project `shop` (/b/services.yaml)\n"
        );
    }
}

//! Which project is chosen for each place, one row each.

use super::*;

fn name(text: &str) -> ProjectName {
    ProjectName::new(text).unwrap()
}

/// Parses `name seen up by file`, one project per line.
fn known(lines: &str) -> Vec<Known> {
    let read = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [called, seen, up, by, file] = words.as_slice() else {
            panic!("{line}")
        };
        Known {
            name: name(called),
            source: file.into(),
            folder: Path::new(file).parent().unwrap().into(),
            named_by: match *by {
                "file" => NamedBy::File,
                "folder" => NamedBy::Folder,
                _ => NamedBy::Caller,
            },
            up: *up == "up",
            seen: match *seen {
                "asked" => Seen::Asked,
                "linked" => Seen::Linked,
                "moved" => Seen::Moved,
                "beside" => Seen::Beside,
                "gone" => Seen::Gone,
                _ => Seen::There,
            },
        }
    };
    lines.lines().map(read).collect()
}

fn told(found: Result<Meant, NotMeant>) -> String {
    let list = |names: Vec<ProjectName>| {
        names
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(",")
    };
    match found {
        Ok(meant) => {
            let moved = if meant.moved { " moved" } else { "" };
            let remark = match meant.remark {
                None => String::new(),
                Some(Remark::Renamed(name)) => format!(" renamed {name}"),
                Some(Remark::NamedByCaller) => " by caller".to_owned(),
                Some(Remark::AlsoUp(names)) => format!(" also {}", list(names)),
                Some(Remark::Only) => " only".to_owned(),
            };
            format!("{}{moved}{remark}", meant.name)
        }
        Err(NotMeant::NotStarted { lost }) if lost.is_empty() => "not started".to_owned(),
        Err(NotMeant::NotStarted { lost }) => format!("lost {}", list(lost)),
        Err(NotMeant::Elsewhere { name, file, .. }) => format!("{name} is in {}", file.display()),
        Err(NotMeant::Several(names)) => format!("several {}", list(names)),
        Err(NotMeant::NoFile) => "no file".to_owned(),
        Err(NotMeant::Renamed(names)) => format!("runs as {}", list(names)),
        Err(NotMeant::Nearer { nearer, above }) => {
            format!("{} before {}", list(nearer), list(above.into_iter().collect()))
        }
    }
}

#[test]
fn a_file_means_its_own_project_alone() {
    for (projects, called, wanted) in [
        // Found by its path, whatever else there is.
        ("shop asked up file /a/s", "shop", "shop"),
        ("shop asked up file /a/s\nblog there up file /b/s", "shop", "shop"),
        ("shop asked up file /a/s", "?", "shop"),
        // The only project, a parent's project, or one with another name is not the file's own.
        ("", "shop", "not started"),
        ("blog there up file /a/s", "shop", "not started"),
        ("blog there up file /s", "?", "not started"),
        ("blog gone up file /b/s", "shop", "not started"),
        // Renamed in the file: the running project is still the one.
        ("old asked up file /a/s", "shop", "old renamed shop"),
        ("old asked down file /a/s", "shop", "old renamed shop"),
        ("ci asked up caller /a/s", "shop", "ci by caller"),
        (
            "old asked up file /a/s\nshop there up file /b/s",
            "shop",
            "old renamed shop",
        ),
        // Several from one file.
        (
            "shop asked up file /a/s\nci asked down caller /a/s",
            "shop",
            "shop",
        ),
        (
            "shop asked down file /a/s\nci asked up caller /a/s",
            "shop",
            "shop also ci",
        ),
        (
            "one asked up caller /a/s\ntwo asked down caller /a/s",
            "shop",
            "several one,two",
        ),
        (
            "one asked up file /a/s\ntwo asked up file /a/s",
            "?",
            "several one,two",
        ),
        (
            "shop asked down file /a/s\nold asked up file /a/s",
            "shop",
            "several shop,old",
        ),
        (
            "shop asked up file /a/s\nold asked down file /a/s",
            "shop",
            "shop",
        ),
        (
            "shop asked down file /a/s\nold asked down file /a/s",
            "shop",
            "shop",
        ),
        // Moved: found by the folder, then by the name if the recorded file is gone.
        ("shop moved up file /b/s", "shop", "shop moved"),
        ("shop moved up folder /b/s", "other", "shop moved renamed other"),
        ("shop moved up file /b/s", "?", "shop moved"),
        ("shop gone up file /b/s", "shop", "shop moved"),
        ("shop gone down file /b/s", "shop", "shop moved"),
        (
            "old moved up file /b/s\nshop gone up file /c/s",
            "shop",
            "old moved renamed shop",
        ),
        ("shop asked up file /a/s\nold moved up file /b/s", "shop", "shop"),
        // The same file through a link from another folder. Without a name in it, the project there has another name.
        ("shop linked up file /b/s", "shop", "shop"),
        ("shop linked up file /b/s", "?", "shop"),
        ("shop linked up folder /b/s", "other", "not started"),
        (
            "one linked up folder /b/s\ntwo linked up folder /c/s",
            "two",
            "two",
        ),
        (
            "one linked up folder /b/s\ntwo linked up folder /c/s",
            "?",
            "not started",
        ),
        // A copy.
        ("shop there up file /b/s", "shop", "shop is in /b/s"),
        ("shop there down file /b/s", "shop", "shop is in /b/s"),
        // The move has changed the name too.
        ("shop gone up folder /b/s", "other", "lost shop"),
        ("ci gone up caller /b/s", "other", "lost ci"),
        ("shop gone down folder /b/s", "other", "not started"),
        ("shop gone up folder /b/t", "other", "not started"),
        // The file has another name in its folder.
        ("shop beside up file /a/t", "shop", "shop moved"),
        ("shop beside up file /a/t", "other", "lost shop"),
        ("ci beside up caller /a/t", "?", "lost ci"),
        ("ci beside down caller /a/t", "shop", "not started"),
        ("shop there up folder /b/s", "other", "not started"),
    ] {
        let called = (called != "?").then(|| name(called));
        let asked = Asked {
            file: Path::new("/a/s"),
            name: called.as_ref(),
            way: None,
        };
        assert_eq!(
            told(by_file(&known(projects), asked)),
            wanted,
            "{projects} {called:?}"
        );
    }
}

#[test]
fn what_runs_nearer_than_a_file_found_above_may_be_meant() {
    for (projects, from, wanted) in [
        (
            "top asked up file /a/s\nsub gone up file /a/b/s",
            "/a/b",
            "sub before top",
        ),
        (
            "top asked up file /a/s\nsub there up file /a/b/t",
            "/a/b",
            "sub before top",
        ),
        (
            "top asked up file /a/s\nsub gone up file /a/b/s",
            "/a/b/c/d",
            "sub before top",
        ),
        ("sub gone up file /a/b/s", "/a/b", "sub before "),
        (
            "one gone up file /a/b/s\ntwo there up file /a/b/c/t",
            "/a/b/c",
            "one,two before ",
        ),
        // Projects that do not run, are elsewhere, or belong to the file itself.
        ("top asked up file /a/s\nsub gone down file /a/b/s", "/a/b", "top"),
        ("top asked up file /a/s\nsub there up file /a/bc/s", "/a/b", "top"),
        (
            "top asked up file /a/s\nsub there up file /a/b/c/s",
            "/a/b",
            "top",
        ),
        ("top asked up file /a/s\nbeside there up file /a/t", "/a/b", "top"),
        ("top asked up file /a/s\nover there up file /s", "/a/b", "top"),
        ("top gone up file /a/b/s", "/a/b", "top moved"),
    ] {
        let top = name("top");
        let asked = Asked {
            file: Path::new("/a/s"),
            name: Some(&top),
            way: Some(Way {
                from: Path::new(from),
                to: Path::new("/a"),
            }),
        };
        assert_eq!(
            told(by_file(&known(projects), asked)),
            wanted,
            "{projects} {from}"
        );
    }
}

#[test]
fn without_a_file_only_a_recorded_folder_means_a_project() {
    for (projects, look, change) in [
        ("", "no file", "no file"),
        ("shop there up file /a/s", "shop", "shop"),
        (
            "shop gone up file /a/dev\nblog there up file /b/s",
            "shop",
            "shop",
        ),
        ("shop there up file /b/s", "shop only", "no file"),
        ("shop there up file /s", "shop only", "no file"),
        ("shop there up file /a/b/s", "shop only", "no file"),
        (
            "shop there up file /s\nblog there up file /b/s",
            "no file",
            "no file",
        ),
        (
            "shop there up file /a/s\nblog there up file /a/t",
            "several shop,blog",
            "several shop,blog",
        ),
    ] {
        let known = known(projects);
        assert_eq!(told(by_folder(&known, Path::new("/a"), true)), look, "{projects}");
        assert_eq!(
            told(by_folder(&known, Path::new("/a"), false)),
            change,
            "{projects}"
        );
    }
}

#[test]
fn a_start_takes_nothing_over_silently() {
    let told = |found: Result<Starting, NotMeant>| match found {
        Ok(Starting::New {
            former,
            also_up,
            lost,
        }) => {
            let told = [("was", former), ("beside", also_up), ("lost", lost)];
            let told = told.into_iter().filter(|(_, names)| !names.is_empty());
            let told: Vec<String> = told.map(|(word, names)| format!(", {word} {names:?}")).collect();
            format!("new{}", told.concat())
        }
        Ok(Starting::Again) => "again".to_owned(),
        Ok(Starting::Moved) => "moved".to_owned(),
        Ok(Starting::TakenOver) => "taken over".to_owned(),
        Err(error) => told(Err(error)),
    };
    for (projects, plain, named) in [
        ("", "new", "new"),
        ("blog there up file /b/s", "new", "new"),
        ("blog gone up file /b/s", "new", "new"),
        ("blog gone up folder /b/s", "new, lost [blog]", "new, lost [blog]"),
        ("blog gone down folder /b/s", "new", "new"),
        ("shop asked up file /a/s", "again", "again"),
        ("shop gone up file /b/s", "moved", "moved"),
        ("shop moved up file /b/s", "moved", "moved"),
        ("shop there up file /b/s", "shop is in /b/s", "taken over"),
        ("shop there down file /b/s", "shop is in /b/s", "taken over"),
        ("shop linked up file /b/s", "shop is in /b/s", "taken over"),
        ("other linked up folder /b/s", "new", "new"),
        // Under another name from the same file.
        ("old asked up file /a/s", "runs as old", "new, beside [old]"),
        ("old asked down file /a/s", "new, was [old]", "new, was [old]"),
        ("old moved up folder /b/s", "runs as old", "new, beside [old]"),
        (
            "old asked up file /a/s\nolder asked down file /a/s",
            "runs as old",
            "new, was [older], beside [old]",
        ),
        // Both run already: an earlier version did not record that a name was given with -p.
        (
            "ci asked up folder /a/s\nshop asked up folder /a/s",
            "again",
            "again",
        ),
        ("shop beside up file /a/t", "moved", "moved"),
        ("old beside up file /a/t", "new, lost [old]", "new, lost [old]"),
        (
            "old asked up file /a/s\nshop asked down file /a/s",
            "runs as old",
            "again",
        ),
        (
            "old asked up file /a/s\nshop gone up file /b/s",
            "runs as old",
            "moved",
        ),
        ("ci asked up caller /a/s", "new", "new"),
        (
            "ci asked up caller /a/s\nshop asked up file /a/s",
            "again",
            "again",
        ),
    ] {
        let known = known(projects);
        assert_eq!(
            told(to_start(&known, &name("shop"), Path::new("/a/s"), false)),
            plain,
            "{projects}"
        );
        assert_eq!(
            told(to_start(&known, &name("shop"), Path::new("/a/s"), true)),
            named,
            "{projects}"
        );
    }
}

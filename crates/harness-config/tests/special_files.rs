//! A file that is not a regular file is reported with its path, without waiting for it; and root does not read
//! through links that others made.

#![cfg(test)]

mod common;

use std::error::Error as _;
use std::os::unix::fs::{chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use common::{Folder, good};
use harness_config::{LoadError, LoadOptions, load, load_files};
use rustix::fs::{CWD, FileType, Mode, mknodat};

const BASE: &str = "services:\n  a:\n    type: process\n    binary: sh\n";

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
}

/// Loads, which must end at once, and returns the mistakes or the error with its cause, each on one line.
fn ends(options: &LoadOptions) -> String {
    let (options, (told, answer)) = (options.clone(), mpsc::channel());
    std::thread::spawn(move || {
        let words = match load(&options) {
            Ok(loaded) => {
                let mut project = loaded.project;
                match load_files(&mut project, &options.environment) {
                    Ok(()) => loaded.missing_files.to_string(),
                    Err(error) => words(&error),
                }
            }
            Err(error) => words(&error),
        };
        told.send(words)
    });
    answer
        .recv_timeout(Duration::from_secs(30))
        .expect("it does not wait for anybody")
}

fn words(error: &LoadError) -> String {
    let cause = error
        .source()
        .map(|cause| format!(": {cause}"))
        .unwrap_or_default();
    format!("{error}{cause}")
}

#[test]
fn a_pipe_in_the_place_of_any_file_is_told() {
    const PIPE: &str = "it is a pipe (FIFO), not a regular file";
    // Found by its name, given with `-c`, the second of two.
    for files in [&[][..], &["services.yaml"], &["good.yaml", "services.yaml"]] {
        let folder = Folder::new("");
        std::fs::remove_file(folder.path().join("services.yaml")).unwrap();
        folder.write("good.yaml", BASE);
        fifo(&folder.path().join("services.yaml"));
        let options = LoadOptions {
            files: files.iter().map(PathBuf::from).collect(),
            ..folder.options()
        };
        let said = ends(&options);
        let wanted = format!("cannot read {}/services.yaml: {PIPE}", folder.path().display());
        assert_eq!(said, wanted, "{files:?}");
    }
    for (name, more) in [
        (".env", ""),
        ("app.env", "    env_file: app.env\n"),
        ("app.tpl", "    files: [{template: app.tpl, target: out}]\n"),
        ("c/compose.yaml", "  c: {type: compose, file: c/compose.yaml}\n"),
        ("c/.env", "  c: {type: compose, file: c/good.yaml}\n"),
        ("c/app.env", "  c: {type: compose, file: c/env.yaml}\n"),
    ] {
        let folder = Folder::new(&format!("{BASE}{more}"));
        folder.write("c/good.yaml", "services: {x: {image: y}}\n");
        folder.write("c/env.yaml", "services: {x: {image: y, env_file: app.env}}\n");
        fifo(&folder.path().join(name));
        let said = ends(&folder.options());
        assert!(said.contains(name) && said.contains(PIPE), "{name}: {said}");
    }
}

#[test]
fn whatever_else_is_no_file_is_told_too() {
    let folder = Folder::new(BASE);
    let _socket = UnixListener::bind(folder.path().join("socket")).unwrap();
    symlink("/dev/zero", folder.path().join("zero")).unwrap();
    symlink("loop", folder.path().join("loop")).unwrap();
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    for (file, wanted) in [
        ("socket", "it is a socket"),
        ("zero", "it is a device"),
        ("/dev/tty", "it is a device"),
        ("folder", "Is a directory"),
        ("loop", "Too many levels of symbolic links"),
        ("none", "No such file"),
        ("/proc/kcore", "it is larger than"),
    ] {
        if file == "/proc/kcore" && !Path::new(file).exists() {
            continue;
        }
        let options = LoadOptions {
            files: vec![file.into()],
            ..folder.options()
        };
        let said = ends(&options);
        let told = said.contains(wanted) || (file.starts_with('/') && said.contains("denied"));
        assert!(told && said.contains(file), "{file}: {said}");
    }
}

#[test]
fn the_files_of_a_project_are_known_to_it() {
    let folder = Folder::new(&format!(
        "{BASE}    env_file: app.env\n    files: [{{template: t, target: o}}]\n"
    ));
    folder
        .write(".env", "A=1\n")
        .write("app.env", "B=1\n")
        .write("over.yaml", "name: n\n");
    let options = LoadOptions {
        files: vec!["services.yaml".into(), "./over.yaml".into()],
        ..folder.options()
    };
    let own: Vec<String> = good(&options)
        .project
        .own_files()
        .iter()
        .map(|path| path.strip_prefix(folder.path()).unwrap().display().to_string())
        .collect();
    assert_eq!(own, [".env", "app.env", "over.yaml", "services.yaml", "t"]);
}

#[test]
fn root_reads_no_file_through_links_of_a_services_user() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can be others");
        return;
    }
    let more = "    env_file: run/app.env\n    files: [{template: run/conf/t, target: o}]\n";
    let folder = Folder::new(&format!("{BASE}{more}"));
    let at = |name: &str| folder.path().join(name);
    folder
        .write("secret/t", "hunter2")
        .write("secret/app.env", "A_KEY=hunter2\n");
    std::fs::create_dir(at("run")).unwrap();
    symlink(at("secret"), at("run/conf")).unwrap();
    symlink(at("secret/app.env"), at("run/app.env")).unwrap();
    // While the folder belongs to root, the links do too.
    assert_eq!(ends(&folder.options()), "");
    chown(at("run"), Some(65534), Some(65534)).unwrap();
    let said = ends(&folder.options());
    assert!(
        said.contains("run/conf is a link that others could have put there"),
        "{said}"
    );
    std::fs::remove_file(at("run/conf")).unwrap();
    folder.write("run/conf/t", "theirs");
    let said = ends(&folder.options());
    assert!(said.contains("run/app.env is a link that others"), "{said}");
    // If others may write the project's file itself, links make no difference.
    chown(folder.path(), Some(65534), Some(65534)).unwrap();
    assert_eq!(ends(&folder.options()), "");
}

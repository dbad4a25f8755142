//! The programs of earlier commits, built from the history of this repository, and the homes that they wrote.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::TaskError;
use crate::program::Program;
use crate::root;

/// The variable that tells a test where the programs of an earlier commit are.
pub(crate) const VARIABLE: &str = "HARNESS_EARLIER";

const PROGRAMS: [&str; 3] = ["harness", "harness-executor-daemon", "harness-shim"];

/// A commit with programs that may still run somewhere, and with homes that must load.
pub(crate) struct Earlier {
    /// Its name in the history. Seven digits are enough.
    pub(crate) commit: &'static str,
}

/// All of them. When a version is published, add a line and record its home: `cargo xtask record COMMIT`.
pub(crate) const EARLIER: [Earlier; 1] = [
    // The last one in which probes, hooks and execs had no supervisor of their own.
    Earlier { commit: "f974fc6" },
];

/// The folder for the programs of a commit.
pub(crate) fn folder(commit: &str) -> PathBuf {
    all().join(commit).join("bin")
}

fn all() -> PathBuf {
    root().join("target/earlier")
}

/// Builds the programs of a commit, unless they exist already.
///
/// # Errors
/// When the history does not reach back to the commit, or it cannot be built.
pub(crate) fn build(commit: &str) -> Result<(), TaskError> {
    let to = folder(commit);
    if PROGRAMS.iter().all(|program| to.join(program).is_file()) {
        return Ok(());
    }
    let object = format!("{commit}^{{commit}}");
    if !Program::new("git").args(["cat-file", "-e", &object]).succeeds() {
        return Err(TaskError::NoHistory(commit.to_owned()));
    }
    let source = all().join(commit).join("source");
    // If an interrupted build left something, start again.
    let _ = fs::remove_dir_all(&source);
    fs::create_dir_all(&source).map_err(TaskError::file("create", &source))?;
    let archive = source.with_extension("tar");
    let path = |path: &Path| path.display().to_string();
    Program::new("git")
        .args(["archive", "--output", &path(&archive), commit])
        .run()?;
    Program::new("tar")
        .args(["-xf", &path(&archive), "-C", &path(&source)])
        .run()?;
    // One folder for all commits, because their dependencies are mostly the same.
    let target = all().join("target");
    Program::cargo()
        .args(["build", "--locked", "--package", "harness", "--bins"])
        .directory(&source)
        .env("CARGO_TARGET_DIR", &target)
        .run()?;
    fs::create_dir_all(&to).map_err(TaskError::file("create", &to))?;
    for program in PROGRAMS {
        let built = target.join("debug").join(program);
        fs::copy(&built, to.join(program)).map_err(TaskError::file("copy", built))?;
    }
    Ok(())
}

/// Makes the programs of a commit write a home, which is kept for the tests of all later commits.
///
/// # Errors
/// When they cannot be built, or the home exists already.
pub(crate) fn record(commit: &str) -> Result<(), TaskError> {
    build(commit)?;
    Program::cargo()
        .args(["test", "--package", "harness", "--test", "e2e_recorded"])
        .args(["record_a_home", "--", "--ignored", "--nocapture"])
        .env("HARNESS_RECORD", commit)
        .env(VARIABLE, folder(commit))
        .run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_earlier_commit_has_its_home_and_each_home_its_commit() {
        let homes = root().join("crates/harness/tests/fixtures/homes");
        let mut kept: Vec<String> = fs::read_dir(homes)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        kept.sort();
        let mut listed: Vec<&str> = EARLIER.iter().map(|earlier| earlier.commit).collect();
        listed.sort();
        assert_eq!(kept, listed);
    }

    #[test]
    fn a_commit_that_is_not_in_the_history_is_named() {
        let error = build("0000000").unwrap_err().to_string();
        assert!(
            error.contains("0000000") && error.contains("git fetch --unshallow"),
            "{error}"
        );
    }
}

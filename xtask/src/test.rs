//! `test`: the command that runs all tests.

use std::path::Path;

use crate::env::ForTests;
use crate::error::TaskError;
use crate::program::Program;
use crate::session::Session;
use crate::{leftovers, requirements};

/// The feature that turns on the tests that need a Docker engine.
pub(crate) const FEATURE: &str = "docker-tests";

/// If this is set, a missing engine is an error.
const CONTAINERS: (&str, &str) = ("HARNESS_TEST_CONTAINERS", "required");

/// Installs what the tests need, builds and runs them, and looks for what they left running.
pub(crate) fn run(args: &[String]) -> Result<(), TaskError> {
    requirements::meet()?;
    let mut left_out = None;
    let containers = if wants_containers(args) {
        match ForTests::begin() {
            Ok(engine) => Some(engine),
            Err(error) if std::env::var(CONTAINERS.0).is_ok_and(|value| value == CONTAINERS.1) => {
                return Err(error.into());
            }
            // The other tests are worth running on a machine without an engine.
            Err(error) => {
                left_out = Some(format!("the tests of containers were left out: {error}"));
                None
            }
        }
    } else {
        None
    };
    tell(left_out.as_deref());
    let ran = run_with(args, containers.as_ref());
    let ended = containers.map_or(Ok(()), ForTests::end);
    tell(left_out.as_deref());
    ran.and(ended.map_err(TaskError::from))
}

fn tell(left_out: Option<&str>) {
    if let Some(why) = left_out {
        eprintln!("{why}");
    }
}

/// Whether the tests of containers are among these: by default, and if somebody asks for their feature.
fn wants_containers(args: &[String]) -> bool {
    args.is_empty() || args.iter().any(|word| word.contains(FEATURE))
}

fn run_with(args: &[String], containers: Option<&ForTests>) -> Result<(), TaskError> {
    let everything = match containers {
        Some(_) => vec![
            "--workspace".to_owned(),
            "--features".to_owned(),
            FEATURE.to_owned(),
        ],
        None => vec!["--workspace".to_owned()],
    };
    let which = if args.is_empty() { &everything } else { args };
    // Build this separately first: the tests' deadlines should not include the time of a compiler.
    let (for_cargo, _) = which.split_at(which.iter().position(|word| word == "--").unwrap_or(which.len()));
    Program::cargo()
        .args(["test", "--no-run"])
        .args(for_cargo)
        .run()?;
    let session = Session::begin()?;
    let tests = aimed(Program::cargo(), containers)?
        .args(["test", "--no-fail-fast"])
        .args(which)
        .env("HARNESS_TEST_LOGS", session.logs())
        // No test may find the developer's own daemon.
        .env("HARNESS_HOME", session.temporary().join("home"))
        .env("TMPDIR", session.temporary())
        .run_recorded(&session.tests_log());
    if let Some(containers) = containers {
        containers.keep_log(&session.logs().join("docker"));
    }
    let left = leftovers::check(session.temporary());
    println!("{}", summary(&session.tests_log()));
    println!("logs: test-activity/logs/current/ (tests.log, harness.log, services/, docker/)");
    tests.and(left).and_then(|()| session.end())
}

/// Tells the tests which engine to use.
pub(crate) fn aimed(mut tests: Program, containers: Option<&ForTests>) -> Result<Program, TaskError> {
    if let Some(containers) = containers {
        tests = tests.env("DOCKER_HOST", containers.host());
        if let Some(own) = containers.own() {
            tests = tests.env("HARNESS_TEST_DOCKER_RUN", own);
            // If a test kills the engine, it uses this to start it again.
            let task = std::env::current_exe().map_err(TaskError::file("find", "the task"))?;
            tests = tests.env("HARNESS_TEST_XTASK", task);
        }
    }
    Ok(tests)
}

/// Adds up cargo's summaries.
fn summary(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let results: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("test result: "))
        .collect();
    let sum = |what: &str| -> u64 { results.iter().map(|line| count(line, what)).sum() };
    format!(
        "{} passed, {} failed, {} ignored in {} test programs",
        sum("passed"),
        sum("failed"),
        sum("ignored"),
        results.len()
    )
}

/// The number before `what`: `12` from `test result: ok. 12 passed; 0 failed; …` for `passed`.
fn count(line: &str, what: &str) -> u64 {
    let mut words = line.split([' ', ';', '.']).filter(|word| !word.is_empty());
    let mut last = "";
    for word in &mut words {
        if word == what {
            return last.parse().unwrap_or_default();
        }
        last = word;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_of_all_programs_are_added() {
        let file = std::env::temp_dir().join(format!("xtask-summary-{}", std::process::id()));
        let text = "running 3 tests\n\
            test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
            test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.20s\n";
        std::fs::write(&file, text).unwrap();
        assert_eq!(
            summary(&file),
            "15 passed, 2 failed, 1 ignored in 2 test programs"
        );
        std::fs::remove_file(&file).unwrap();
    }
}

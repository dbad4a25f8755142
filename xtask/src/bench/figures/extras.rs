//! Measurements without a target, which explain the figures that have one.

use std::fs;

use super::{marker, sleepers, status};
use crate::bench::home::Home;
use crate::bench::stats::{Samples, Unit};
use crate::bench::table::{Row, Target};
use crate::bench::{Bench, alternate, samples};
use crate::error::TaskError;

/// How many times short commands are measured.
const RUNS: u32 = 100;

/// Measures the parts of `status`, the starts of the daemon, and sizes.
pub(crate) fn measure(bench: &Bench) -> Result<Vec<Row>, TaskError> {
    let mut rows = short_commands(bench)?;
    rows.extend(daemon_starts(bench)?);
    for program in ["harness", "harness-executor-daemon", "harness-shim"] {
        let path = bench.programs.join(program);
        let size = fs::metadata(&path)
            .map_err(TaskError::file("look at", &path))?
            .len();
        rows.push(row(
            &format!("size of `{program}`"),
            Unit::Bytes,
            Samples::one(size as f64),
            None,
        ));
    }
    Ok(rows)
}

/// Commands that ask the daemon and commands that do not: the difference is the connection with its mutual TLS.
fn short_commands(bench: &Bench) -> Result<Vec<Row>, TaskError> {
    let home = Home::with_daemon(bench, "extras", &sleepers(1, &marker()))?;
    home.run(&["start"])?;
    let (baseline, version) = alternate(RUNS, status::process, || home.run(&["--version"]))?;
    let (again, one) = alternate(RUNS, status::process, || home.run(&["status"]))?;
    Ok(vec![
        row(
            "`--version`, which asks nobody (over `true`)",
            Unit::Seconds,
            version,
            Some(baseline),
        ),
        row(
            "`status` of 1 service (over `true`)",
            Unit::Seconds,
            one,
            Some(again),
        ),
    ])
}

fn daemon_starts(bench: &Bench) -> Result<Vec<Row>, TaskError> {
    let mut first = Vec::new();
    let mut later = Vec::new();
    for _ in 0..bench.runs {
        let home = Home::new(bench, "daemon")?;
        first.push(home.run(&["daemon", "start"])?);
        home.run(&["daemon", "stop"])?;
        later.push(home.run(&["daemon", "start"])?);
    }
    Ok(vec![
        row(
            "`daemon start` in a new home, making its certificates",
            Unit::Seconds,
            samples(first)?,
            None,
        ),
        row("`daemon start` later", Unit::Seconds, samples(later)?, None),
    ])
}

fn row(figure: &str, unit: Unit, measured: Samples, baseline: Option<Samples>) -> Row {
    Row {
        figure: figure.to_owned(),
        unit,
        measured,
        baseline,
        target: Target::None,
    }
}

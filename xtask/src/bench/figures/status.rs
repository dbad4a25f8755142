//! `harness status` as a whole process, including mutual TLS, compared with the cheapest possible process.

use std::path::Path;
use std::time::Instant;

use super::{marker, sleepers};
use crate::bench::home::Home;
use crate::bench::stats::Unit;
use crate::bench::table::{Row, Target};
use crate::bench::{Bench, alternate, command};
use crate::error::TaskError;

/// How many times to measure. It is short.
const RUNS: u32 = 200;

/// Measures 100 services.
pub(crate) fn measure(bench: &Bench) -> Result<Vec<Row>, TaskError> {
    let home = Home::with_daemon(bench, "status", &sleepers(100, &marker()))?;
    home.run(&["start"])?;
    Ok(vec![compare(
        &home,
        "`status` of 100 services, the whole process (over `true`)",
    )?])
}

/// Measures with what runs in a home.
pub(super) fn compare(home: &Home, figure: &str) -> Result<Row, TaskError> {
    let (baseline, measured) = alternate(RUNS, process, || home.run(&["status"]))?;
    Ok(Row {
        figure: figure.to_owned(),
        unit: Unit::Seconds,
        measured,
        baseline: Some(baseline),
        target: Target::AtMost(0.005),
    })
}

/// A process that does nothing.
pub(super) fn process() -> Result<f64, TaskError> {
    let begun = Instant::now();
    command(Path::new("/bin/true"))
        .status()
        .map_err(TaskError::file("run", "/bin/true"))?;
    Ok(begun.elapsed().as_secs_f64())
}

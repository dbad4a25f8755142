//! From the start of `harness start -d` until all services run, compared with a bare loop that spawns the same
//! commands.

use std::path::Path;
use std::time::Instant;

use super::{PATIENCE, marker, sleepers};
use crate::bench::bare::Bare;
use crate::bench::home::Home;
use crate::bench::processes::Marked;
use crate::bench::stats::Unit;
use crate::bench::table::{Row, Target};
use crate::bench::{Bench, alternate, samples};
use crate::error::TaskError;

const TARGET: Target = Target::Ratio(2.5);

/// Measures 100 services, with a running daemon and with one that must be started.
pub(crate) fn measure_hundred(bench: &Bench) -> Result<Vec<Row>, TaskError> {
    let home = Home::with_daemon(bench, "start", "")?;
    let warm = compare(bench, &home, 100)?;
    let mut cold = Vec::new();
    for _ in 0..bench.runs {
        home.run(&["daemon", "stop"])?;
        cold.push(start(&home, 100)?);
    }
    let baseline = warm.baseline.clone();
    Ok(vec![
        warm,
        Row {
            figure: "the same, starting the daemon, too".to_owned(),
            unit: Unit::Seconds,
            measured: samples(cold)?,
            baseline,
            target: Target::None,
        },
    ])
}

/// Measures 1,000 services.
pub(crate) fn measure_thousand(bench: &Bench) -> Result<Vec<Row>, TaskError> {
    let home = Home::with_daemon(bench, "start1000", "")?;
    Ok(vec![compare(bench, &home, 1000)?])
}

fn compare(bench: &Bench, home: &Home, count: usize) -> Result<Row, TaskError> {
    let (baseline, measured) = alternate(bench.runs, || spawn(bench, count), || start(home, count))?;
    Ok(Row {
        figure: format!("`start -d` of {count} services until all run"),
        unit: Unit::Seconds,
        measured,
        baseline: Some(baseline),
        target: TARGET,
    })
}

/// A spawn returns when the program is executed, so all of them run when the loop is over.
fn spawn(bench: &Bench, count: usize) -> Result<f64, TaskError> {
    let marker = marker();
    let arguments = std::iter::repeat_n(vec![marker.as_str()], count);
    let begun = Instant::now();
    let all = Bare::spawn(Path::new("sleep"), arguments, &bench.temporary)?;
    let took = begun.elapsed().as_secs_f64();
    all.stop();
    Ok(took)
}

/// The time until the command has returned and the last process exists. Stops the services afterwards.
fn start(home: &Home, count: usize) -> Result<f64, TaskError> {
    let marker = marker();
    home.write_services(&sleepers(count, &marker))?;
    let mut services = Marked::new(&marker);
    let begun = Instant::now();
    let mut command = home.spawn(&["start", "-d"])?;
    let all = services.await_count(count, PATIENCE);
    let status = command.wait().map_err(TaskError::file("wait for", "harness"))?;
    let took = begun.elapsed().as_secs_f64();
    all?;
    if !status.success() {
        return Err(TaskError::Bench(format!("`harness start -d` failed ({status})")));
    }
    home.stop_all()?;
    Ok(took)
}

//! The memory of the daemon and all shims, in PSS: their own memory, plus their part of what they share. The
//! services' own memory does not count.

use std::time::Duration;

use super::{marker, sleepers};
use crate::bench::home::Home;
use crate::bench::stats::{Samples, Unit};
use crate::bench::table::{Row, Target};
use crate::bench::{Bench, processes};
use crate::error::TaskError;

/// The time from the end of a start until everything is quiet.
const SETTLE: Duration = Duration::from_secs(5);

/// Measures no services, 100 and 200 services.
pub(crate) fn measure(bench: &Bench) -> Result<Vec<Row>, TaskError> {
    let home = Home::with_daemon(bench, "memory", "")?;
    let none = settled(bench, &home)?;
    let marker = marker();
    let with = |count: usize| {
        home.write_services(&sleepers(count, &marker))?;
        home.run(&["start"])?;
        settled(bench, &home)
    };
    let hundred = with(100)?;
    let two_hundred = with(200)?;
    let row = |figure: &str, measured: f64, baseline: Option<f64>, limit: f64| Row {
        figure: figure.to_owned(),
        unit: Unit::Bytes,
        measured: Samples::one(measured),
        baseline: baseline.map(Samples::one),
        target: Target::AtMost(limit * 1024.0 * 1024.0),
    };
    Ok(vec![
        row(
            "PSS of daemon and shims with 100 services (over none)",
            hundred,
            Some(none),
            20.0,
        ),
        row(
            "PSS of each further service",
            (two_hundred - hundred) / 100.0,
            None,
            0.15,
        ),
    ])
}

/// The memory of a home, after a while.
pub(super) fn settled(bench: &Bench, home: &Home) -> Result<f64, TaskError> {
    std::thread::sleep(SETTLE);
    let pids = processes::of_home(&home.path(), &bench.programs);
    pids.into_iter().map(processes::pss).sum()
}

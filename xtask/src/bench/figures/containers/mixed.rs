//! 20 containers and 80 processes: the speed of `status`, and the memory of the daemon.

use super::mixture;
use crate::bench::figures::{memory, status};
use crate::bench::home::Home;
use crate::bench::stats::{Samples, Unit};
use crate::bench::table::{Row, Target};
use crate::bench::{Bench, figures};
use crate::error::TaskError;

/// Compares with a project of 100 processes.
pub(crate) fn measure(bench: &Bench) -> Result<Vec<Row>, TaskError> {
    let home = Home::with_daemon(bench, "processes", &figures::sleepers(100, &figures::marker()))?;
    home.run(&["start"])?;
    let processes = memory::settled(bench, &home)?;
    drop(home);
    let home = Home::with_daemon(bench, "mixed", &mixture(80))?;
    home.run(&["start"])?;
    let mixed = memory::settled(bench, &home)?;
    Ok(vec![
        status::compare(&home, "`status` of 20 containers and 80 processes (over `true`)")?,
        Row {
            figure: "PSS of daemon and shims with 20 containers and 80 processes (over 100 processes)"
                .to_owned(),
            unit: Unit::Bytes,
            measured: Samples::one(mixed),
            baseline: Some(Samples::one(processes)),
            target: Target::AtMost(20.0 * 1024.0 * 1024.0),
        },
    ])
}

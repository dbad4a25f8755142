//! `harness stop --all` of services that end when asked, compared with a bare loop that signals and waits.

use std::path::Path;
use std::time::Instant;

use super::{PATIENCE, marker, sleepers};
use crate::bench::bare::Bare;
use crate::bench::home::Home;
use crate::bench::processes::Marked;
use crate::bench::stats::Unit;
use crate::bench::table::{Row, Target};
use crate::bench::{Bench, alternate};
use crate::error::TaskError;

const SERVICES: usize = 100;

/// Measures 100 services.
pub(crate) fn measure(bench: &Bench) -> Result<Vec<Row>, TaskError> {
    let marker = marker();
    let home = Home::with_daemon(bench, "stop", &sleepers(SERVICES, &marker))?;
    let (baseline, measured) = alternate(
        bench.runs,
        || {
            let arguments = std::iter::repeat_n(vec![marker.as_str()], SERVICES);
            let all = Bare::spawn(Path::new("sleep"), arguments, &bench.temporary)?;
            let begun = Instant::now();
            all.stop();
            Ok(begun.elapsed().as_secs_f64())
        },
        || {
            home.run(&["start"])?;
            Marked::new(&marker).await_count(SERVICES, PATIENCE)?;
            let took = home.stop_all()?;
            match Marked::new(&marker).look() {
                0 => Ok(took),
                left => Err(TaskError::Bench(format!("{left} services outlived `stop --all`"))),
            }
        },
    )?;
    Ok(vec![Row {
        figure: "`stop --all` of 100 services".to_owned(),
        unit: Unit::Seconds,
        measured,
        baseline: Some(baseline),
        target: Target::AtMost(0.3),
    }])
}

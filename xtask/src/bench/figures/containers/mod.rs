//! What harness does with containers, compared with Docker's own client on the same engine.

mod logs;
mod mixed;
mod start;

pub(super) use logs::measure as measure_logs;
pub(super) use mixed::measure as measure_mixed;
pub(super) use start::measure as measure_start;

use super::marker;
use crate::bench::engine::{Engine, IMAGE};
use crate::bench::{Bench, figures};
use crate::error::TaskError;

/// How many containers are started.
const COUNT: usize = 20;

/// The engine. It exists whenever these figures are measured.
fn engine(bench: &Bench) -> Result<&Engine, TaskError> {
    let engine = bench.engine.as_ref();
    engine.ok_or_else(|| TaskError::Bench("there is no Docker engine".to_owned()))
}

/// The services c1 to c`count`. Each is a container with a `sleep` of this marker. `sleep` is the first process of
/// its container, so it ignores SIGTERM.
fn sleepers(count: usize, marker: &str) -> String {
    let sleeper = |number| {
        format!(
            "  c{number}: {{type: docker, image: {IMAGE}, command: [sleep, \"{marker}\"], stop_signal: SIGKILL}}\n"
        )
    };
    (1..=count).map(sleeper).collect()
}

/// Services of both kinds: [`COUNT`] containers and `processes` processes.
fn mixture(processes: usize) -> String {
    sleepers(COUNT, &marker()) + &figures::sleepers(processes, &marker())
}

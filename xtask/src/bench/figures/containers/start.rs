//! From the start of `harness start` until all containers run, compared with the same number of `docker run -d` at
//! once. Both sides make a network and put the containers on it. Both are watched in the same way, because watching
//! takes time too.

use std::time::Instant;

use super::{COUNT, engine, sleepers};
use crate::bench::engine::IMAGE;
use crate::bench::figures::{PATIENCE, marker};
use crate::bench::home::Home;
use crate::bench::processes::Marked;
use crate::bench::stats::Unit;
use crate::bench::table::{Row, Target};
use crate::bench::{Bench, samples};
use crate::error::TaskError;

/// Measures the time until all of them run, and until the command returns that waits for them.
pub(crate) fn measure(bench: &Bench) -> Result<Vec<Row>, TaskError> {
    let home = Home::with_daemon(bench, "containers", "")?;
    let (mut bare, mut detached, mut waited) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.runs {
        bare.push(run(bench)?);
        detached.push(start(&home, &["start", "-d"])?);
        waited.push(start(&home, &["start"])?);
    }
    let (bare, detached, waited) = (samples(bare)?, samples(detached)?, samples(waited)?);
    let row = |figure: &str, measured, target| Row {
        figure: figure.to_owned(),
        unit: Unit::Seconds,
        measured,
        baseline: Some(bare.clone()),
        target,
    };
    Ok(vec![
        row(
            "`start -d` of 20 containers until all run (over `docker run -d` of 20 at once)",
            detached,
            Target::Ratio(1.0),
        ),
        row(
            "`start` of 20 containers, which looks for 300 ms whether they stay",
            waited,
            Target::None,
        ),
    ])
}

/// The time until all of the commands have returned and the last process exists.
fn run(bench: &Bench) -> Result<f64, TaskError> {
    let engine = engine(bench)?;
    let marker = marker();
    let network = format!("bench-{marker}");
    let begun = Instant::now();
    engine.create_network(&network)?;
    let mut clients = Vec::new();
    for _ in 0..COUNT {
        clients.push(engine.spawn_run(&["--detach", "--network", &network, IMAGE, "sleep", &marker])?);
    }
    let all = Marked::new(&marker).await_count(COUNT, PATIENCE);
    let mut failed = 0;
    for mut client in clients {
        let status = client.wait().map_err(TaskError::file("wait for", "docker"))?;
        failed += u32::from(!status.success());
    }
    let took = begun.elapsed().as_secs_f64();
    engine.clear()?;
    if failed != 0 {
        return Err(TaskError::Bench(format!(
            "{failed} of {COUNT} `docker run` failed"
        )));
    }
    all.map(|()| took)
}

/// The time until the command has returned and the last process exists. Stops the services afterwards.
fn start(home: &Home, words: &[&str]) -> Result<f64, TaskError> {
    let marker = marker();
    home.write_services(&sleepers(COUNT, &marker))?;
    let mut services = Marked::new(&marker);
    let begun = Instant::now();
    let mut command = home.spawn(words)?;
    let all = services.await_count(COUNT, PATIENCE);
    let status = command.wait().map_err(TaskError::file("wait for", "harness"))?;
    let took = begun.elapsed().as_secs_f64();
    all?;
    if !status.success() {
        let words = words.join(" ");
        return Err(TaskError::Bench(format!("`harness {words}` failed ({status})")));
    }
    home.stop_all()?;
    Ok(took)
}

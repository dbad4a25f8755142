//! Capture of 100 MB of a container's lines, compared with `docker logs -f > file` of the same. Both are checked
//! against what was written, by content or by length.

use std::fs::{self, File};
use std::time::Instant;

use super::engine;
use crate::bench::engine::IMAGE;
use crate::bench::figures::logs::captured;
use crate::bench::figures::marker;
use crate::bench::home::Home;
use crate::bench::program::{self, LINE};
use crate::bench::stats::Unit;
use crate::bench::table::{Row, Target};
use crate::bench::{Bench, alternate};
use crate::error::TaskError;

const LINES: u64 = 1_000_000;

/// The path of the bench's own program in a container.
const PROGRAM: &str = "/bench";

/// Measures 100 MB.
pub(crate) fn measure(bench: &Bench) -> Result<Vec<Row>, TaskError> {
    let (baseline, measured) = alternate(bench.runs, || follow(bench), || capture(bench))?;
    Ok(vec![Row {
        figure: "capture of 100 MB of a container's lines (over `docker logs -f > file`)".to_owned(),
        unit: Unit::Seconds,
        measured,
        baseline: Some(baseline),
        target: Target::Ratio(1.5),
    }])
}

/// From the start of `docker run -d` until `docker logs` ends, which it does when the container ends.
fn follow(bench: &Bench) -> Result<f64, TaskError> {
    let engine = engine(bench)?;
    let path = bench.temporary.join("followed");
    let file = File::create(&path).map_err(TaskError::file("create", &path))?;
    let name = format!("bench-{}", marker());
    let mount = format!("{}:{PROGRAM}:ro", bench.own.display());
    let lines = LINES.to_string();
    let words = [
        "--detach",
        "--name",
        &name,
        "--volume",
        &mount,
        IMAGE,
        PROGRAM,
        program::WORD,
        "lines",
        &lines,
    ];
    let begun = Instant::now();
    let waited = |status: std::io::Result<std::process::ExitStatus>| {
        let status = status.map_err(TaskError::file("wait for", "docker"))?;
        match status.success() {
            true => Ok(()),
            false => Err(TaskError::Bench(format!("`docker` failed ({status})"))),
        }
    };
    waited(engine.spawn_run(&words)?.wait())?;
    waited(engine.client(&["logs", "--follow", &name]).stdout(file).status())?;
    let took = begun.elapsed().as_secs_f64();
    engine.clear()?;
    let length = fs::metadata(&path)
        .map_err(TaskError::file("look at", &path))?
        .len();
    fs::remove_file(&path).map_err(TaskError::file("remove", &path))?;
    if length == LINES * LINE as u64 {
        return Ok(took);
    }
    Err(TaskError::Bench(format!("`docker logs` returned {length} bytes")))
}

/// From the start of `harness start` until it returns. Then the one-shot has completed and everything is captured.
fn capture(bench: &Bench) -> Result<f64, TaskError> {
    let service = format!(
        "  lines: {{type: docker, oneshot: true, image: {IMAGE}, command: [{PROGRAM}, {}, lines, \"{LINES}\"], \
         volumes: [\"{}:{PROGRAM}:ro\"], logs: {{max_size: 64MiB, max_files: 64}}, startup_timeout: 600}}\n",
        program::WORD,
        bench.own.display()
    );
    let home = Home::with_daemon(bench, "containerlogs", &service)?;
    let took = home.run(&["start"])?;
    captured(&home, LINES)?;
    Ok(took)
}

//! `bench`: measures every figure that must be reached, in one run, together with a bare baseline on the same
//! machine.
//!
//! The developer's `xtask` builds the programs in release mode, including itself, and hands over to that new `xtask`.
//! That one measures, and it is also the program that services run where `sleep` is not enough. The guard ends
//! everything that was started, however the bench ends.

mod announcements;
mod bare;
mod clock;
mod engine;
mod figures;
mod guard;
mod home;
mod machine;
mod processes;
mod program;
mod stats;
mod table;

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use clap::Args;

use self::engine::Engine;
use self::figures::Figure;
use self::guard::Guard;
use self::stats::Samples;
use crate::error::TaskError;
use crate::program::Program;

/// What to measure, and how.
#[derive(Args)]
pub(crate) struct Options {
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Only these figures
    #[arg(long, value_name = "FIGURE", num_args = 1..)]
    only: Vec<Figure>,
    /// How many times to measure long actions; short ones are always measured a hundred times
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// The programs are already built: only measure
    #[arg(long, hide = true)]
    built: bool,
}

/// The data that every figure needs.
pub(crate) struct Bench {
    /// The folder for all files.
    temporary: PathBuf,
    /// The folder of the programs.
    programs: PathBuf,
    /// The program that services run.
    own: PathBuf,
    /// How many times long actions are measured.
    runs: u32,
    /// The engine for the figures of containers.
    engine: Option<Engine>,
}

/// Does the work of a hidden first argument, if there is one.
pub(crate) fn hidden() -> Option<Result<(), TaskError>> {
    let mut arguments = std::env::args_os().skip(1);
    let word = arguments.next()?;
    if word == program::WORD {
        return Some(program::run(arguments).map_err(TaskError::file("run", program::WORD)));
    }
    (word == guard::WORD).then(|| guard::run(arguments))
}

/// Builds, measures and prints the table. The table shows a figure that misses its target. A figure that cannot be
/// measured is an error, which is reported after the others.
pub(crate) fn run(options: &Options) -> Result<(), TaskError> {
    if options.built {
        measure(options)
    } else {
        build_and_hand_over(options)
    }
}

fn build_and_hand_over(options: &Options) -> Result<(), TaskError> {
    Program::cargo()
        .args([
            "build",
            "--release",
            "--package",
            "harness",
            "--package",
            "xtask",
            "--bins",
        ])
        .run()?;
    let own = std::env::current_exe().map_err(TaskError::file("find", "this program"))?;
    let target = own.ancestors().nth(2).map(PathBuf::from).unwrap_or_default();
    let runs = options.runs.to_string();
    let mut arguments = vec!["bench", "--built", "--runs", &runs];
    if options.json {
        arguments.push("--json");
    }
    for figure in &options.only {
        arguments.extend(["--only", figure.name()]);
    }
    Program::new(target.join("release/xtask")).args(arguments).run()
}

fn measure(options: &Options) -> Result<(), TaskError> {
    let own = std::env::current_exe().map_err(TaskError::file("find", "this program"))?;
    let programs = own.parent().map(PathBuf::from).unwrap_or_default();
    // The path must be short, because Unix sockets are in it.
    let temporary = std::env::temp_dir().join(format!("hxb{}", std::process::id()));
    fs::create_dir(&temporary).map_err(TaskError::file("create", &temporary))?;
    let engine = Engine::find(&temporary);
    let guard = Guard::start(&programs.join("harness"), &temporary, engine.as_ref())?;
    let bench = Bench {
        temporary,
        programs,
        own,
        runs: options.runs,
        engine,
    };
    let machine = machine::describe();
    let mut rows = Vec::new();
    let mut failed = Vec::new();
    let mut left_out = Vec::new();
    for figure in Figure::ALL {
        if !options.only.is_empty() && !options.only.contains(&figure) {
            continue;
        }
        if figure.is_of_containers() && bench.engine.is_none() {
            left_out.push(figure.name());
            continue;
        }
        eprintln!("measuring {}", figure.name());
        match figure.measure(&bench) {
            Ok(more) => rows.extend(more),
            Err(error) => {
                eprintln!("error: {}: {error}", figure.name());
                failed.push(figure.name());
            }
        }
    }
    let tidy = guard.finish();
    if options.json {
        println!("{:#}", table::json(machine, &rows, &left_out));
    } else {
        print!("{}\n{}", machine::words(&machine), table::markdown(&rows));
    }
    if !left_out.is_empty() {
        eprintln!(
            "left out, because no Docker engine with {} is reachable here (run cargo xtask env up): {}",
            engine::IMAGE,
            left_out.join(", ")
        );
    }
    tidy?;
    if failed.is_empty() {
        return Ok(());
    }
    Err(TaskError::Steps(failed.join(", ")))
}

/// Measures both sides in turn, `runs` times each, so that both are affected by whatever else the machine does.
fn alternate(
    runs: u32,
    mut baseline: impl FnMut() -> Result<f64, TaskError>,
    mut measured: impl FnMut() -> Result<f64, TaskError>,
) -> Result<(Samples, Samples), TaskError> {
    let mut left = Vec::new();
    let mut right = Vec::new();
    for _ in 0..runs {
        left.push(baseline()?);
        right.push(measured()?);
    }
    Ok((samples(left)?, samples(right)?))
}

fn samples(values: Vec<f64>) -> Result<Samples, TaskError> {
    Samples::new(values).ok_or_else(|| TaskError::Bench("nothing was measured".to_owned()))
}

/// A program to run.
fn command(program: impl AsRef<OsStr>) -> Command {
    #[expect(
        clippy::disallowed_methods,
        reason = "the bench compares with processes that are started as directly as possible"
    )]
    Command::new(program)
}

//! Developer tasks, each in a file of its own:
//! `cargo xtask quickstart | test | ci | bench | soak | record | env | generate`.
//!
//! They only run other programs: cargo, the package manager, the `harness` that was just built. No crate of the
//! workspace is a dependency, so that the tasks start fast and work even if the workspace does not compile.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a task talks to the developer who runs it"
)]

mod bench;
mod ci;
mod env;
mod error;
mod generate;
mod history;
mod leftovers;
mod program;
mod quickstart;
mod requirements;
mod session;
mod soak;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Developer tasks of harness.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build everything, start the quickstart example and show its status
    Quickstart,
    /// Run every test; as root on Debian, first install what they need
    Test {
        /// Run in a container with its own engine, isolated from this machine
        #[arg(long)]
        isolated: bool,
        /// Arguments for `cargo test`, instead of `--workspace`
        #[arg(last = true, value_name = "ARGS")]
        args: Vec<String>,
    },
    /// Check everything that must hold: format, lints, docs, generated files, dependencies, tests
    Ci,
    /// Measure every figure and a bare baseline in release mode, and print the table
    Bench(bench::Options),
    /// Run the long variants of the stress tests, with new seeds each round, until the time is over
    Soak(soak::Options),
    /// Record a home written by the programs of a commit, for the tests of all later commits
    Record {
        /// The first seven digits of the commit
        commit: String,
    },
    /// Manage the Docker engine and the images that the tests of containers use
    Env {
        #[command(subcommand)]
        action: env::Action,
    },
    /// Write the generated files of docs/
    Generate {
        /// Change nothing; fail if a file is out of date
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    if let Some(done) = bench::hidden() {
        return ended(done);
    }
    let done = match Arguments::parse().task {
        Task::Quickstart => quickstart::run(),
        Task::Test { isolated: true, args } => env::isolated::test(&args),
        Task::Test {
            isolated: false,
            args,
        } => test::run(&args),
        Task::Ci => ci::run(),
        Task::Bench(options) => bench::run(&options),
        Task::Soak(options) => soak::run(&options),
        Task::Record { commit } => history::record(&commit),
        Task::Env { action } => env::run(&action),
        Task::Generate { check } => generate::run(check),
    };
    ended(done)
}

fn ended(done: Result<(), error::TaskError>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the workspace.
fn root() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    own.parent().map_or(own.clone(), PathBuf::from)
}

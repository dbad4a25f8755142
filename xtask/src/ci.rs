//! `ci`: checks everything that must hold.

use crate::error::TaskError;
use crate::generate;
use crate::program::{Program, in_path};

/// A step: its name, and its function.
type Step = (&'static str, fn() -> Result<(), TaskError>);

const STEPS: [Step; 6] = [
    ("fmt", fmt),
    ("clippy", clippy),
    ("doc", doc),
    ("generate --check", || generate::run(true)),
    ("deny", deny),
    ("test", test),
];

/// Runs all steps, even after one has failed.
pub(crate) fn run() -> Result<(), TaskError> {
    let mut failed = Vec::new();
    for (name, step) in STEPS {
        eprintln!("== {name}");
        if let Err(error) = step() {
            eprintln!("error: {error}");
            failed.push(name);
        }
    }
    if failed.is_empty() {
        eprintln!("== all good");
        return Ok(());
    }
    Err(TaskError::Steps(failed.join(", ")))
}

fn fmt() -> Result<(), TaskError> {
    component("fmt", "rustfmt")?;
    Program::cargo().args(["fmt", "--all", "--check"]).run()
}

fn clippy() -> Result<(), TaskError> {
    component("clippy", "clippy")?;
    Program::cargo()
        .args(["clippy", "--workspace", "--all-targets", "--all-features"])
        .args(["--", "-D", "warnings"])
        .run()
}

fn doc() -> Result<(), TaskError> {
    Program::cargo()
        .args(["doc", "--workspace", "--no-deps"])
        .env("RUSTDOCFLAGS", "-D warnings")
        .run()
}

fn deny() -> Result<(), TaskError> {
    if !Program::cargo().args(["deny", "--version"]).succeeds() {
        Program::cargo()
            .args(["install", "--locked", "cargo-deny"])
            .run()?;
    }
    Program::cargo()
        .args(["deny", "check", "bans", "licenses", "sources"])
        .run()
}

/// The same command that the README names.
fn test() -> Result<(), TaskError> {
    Program::cargo().args(["xtask", "test"]).run()
}

/// Adds a component of the toolchain that a minimal installation does not have.
fn component(subcommand: &str, name: &str) -> Result<(), TaskError> {
    if Program::cargo().args([subcommand, "--version"]).succeeds() || !in_path("rustup") {
        return Ok(());
    }
    Program::new("rustup").args(["component", "add", name]).run()
}

//! A short run of every fuzz target.

#![cfg(test)]

use std::path::Path;

use harness_fuzz::{TARGETS, bounded, target};

fn run(name: &str) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(name);
    bounded(target(name), &corpus, Path::new(env!("CARGO_TARGET_TMPDIR")));
}

#[test]
fn yaml() {
    run("yaml");
}

#[test]
fn interpolation() {
    run("interpolation");
}

#[test]
fn wire_frames() {
    run("wire_frames");
}

#[test]
fn run_dir() {
    run("run_dir");
}

#[test]
fn records() {
    run("records");
}

#[test]
fn log_segments() {
    run("log_segments");
}

#[test]
fn control() {
    run("control");
}

/// cargo-fuzz finds its targets by their files and not by the table.
#[test]
fn every_target_has_its_file_and_its_corpus() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for target in TARGETS {
        let name = target.name;
        let program = std::fs::read_to_string(fuzz.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(program.contains(&format!("\"{name}\"")), "{name}");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        assert!(fuzz.join("corpus").join(name).is_dir(), "{name}");
    }
}

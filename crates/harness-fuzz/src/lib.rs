//! What must hold for any input, however broken: one check for each kind of text and bytes that harness reads.
//!
//! ```text
//! fuzz/corpus/<target>/  ---> mutated by [`bounded`], a few seconds in `cargo test` --.
//!                         \-> mutated by libFuzzer, `cargo fuzz run <target>` ---------+--> Target::check
//! ```
//!
//! A check panics when a property does not hold. It does not know where its input comes from, and keeps nothing from
//! one input to the next. A target consists of a file here, a line in [`TARGETS`], a file in `fuzz/fuzz_targets`, and
//! a folder in `fuzz/corpus`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a check reports a fault by panicking, and so does a check that cannot be set up"
)]

mod bounded;
mod control;
mod folder;
mod interpolation;
mod log_segments;
mod mutate;
mod records;
mod run_dir;
mod segment_bytes;
mod wire_frames;
mod yaml;

pub use bounded::bounded;

/// One kind of input.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, which is also the name of its corpus folder and of its cargo-fuzz target.
    pub name: &'static str,
    /// Panics when a property does not hold for this input.
    pub check: fn(&[u8]),
    /// Words that such inputs consist of, for the mutator.
    pub words: &'static [&'static str],
}

/// Every target.
pub const TARGETS: [Target; 7] = [
    Target {
        name: "yaml",
        check: yaml::check,
        words: yaml::WORDS,
    },
    Target {
        name: "interpolation",
        check: interpolation::check,
        words: interpolation::WORDS,
    },
    Target {
        name: "wire_frames",
        check: wire_frames::check,
        words: wire_frames::WORDS,
    },
    Target {
        name: "run_dir",
        check: run_dir::check,
        words: run_dir::WORDS,
    },
    Target {
        name: "records",
        check: records::check,
        words: records::WORDS,
    },
    Target {
        name: "log_segments",
        check: log_segments::check,
        words: log_segments::WORDS,
    },
    Target {
        name: "control",
        check: control::check,
        words: control::WORDS,
    },
];

/// The target with this name.
///
/// # Panics
/// When there is no such target.
pub fn target(name: &str) -> &'static Target {
    match TARGETS.iter().find(|target| target.name == name) {
        Some(target) => target,
        None => panic!("there is no fuzz target `{name}`"),
    }
}

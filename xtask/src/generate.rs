//! `generate`: writes the files of docs/ that are made from the code.
//!
//! The test `generated` of the package harness makes and compares them. So a plain `cargo test` also fails if one is
//! out of date.

use crate::error::TaskError;
use crate::program::Program;

/// Writes the files, or only checks them.
pub(crate) fn run(check: bool) -> Result<(), TaskError> {
    let test = Program::cargo().args(["test", "--quiet", "--package", "harness", "--test", "generated"]);
    test.env("HARNESS_GENERATE", if check { "check" } else { "write" })
        .run()
}

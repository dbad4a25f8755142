//! `harness` with `type: clock`.

use std::process::ExitCode;

fn main() -> ExitCode {
    match clock_example::types() {
        Ok(types) => harness::cli::main_with(types),
        Err(_) => ExitCode::FAILURE,
    }
}

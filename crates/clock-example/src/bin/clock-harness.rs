//! `harness` with `type: clock`.

use std::process::ExitCode;

use harness_config::TypeError;

fn main() -> Result<ExitCode, TypeError> {
    Ok(harness::cli::main_with(clock_example::types()?))
}

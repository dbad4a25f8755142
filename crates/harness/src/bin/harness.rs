//! The `harness` command; everything is in [`harness::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    harness::cli::main()
}

//! The daemon with `type: clock`.

use std::process::ExitCode;

fn main() -> ExitCode {
    harness::daemon::main_with(clock_example::add)
}

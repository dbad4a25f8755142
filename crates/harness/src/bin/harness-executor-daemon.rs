//! The daemon that owns the services; everything is in [`harness::daemon`].

use std::process::ExitCode;

fn main() -> ExitCode {
    harness::daemon::main()
}

//! The command line of `harness-shim`.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::{command, exec, supervise, write, zygote};

const USAGE: &str = "\
usage: harness-shim supervise RUNDIR
       harness-shim zygote PADDING
       harness-shim command [OPTIONS OF exec]... -- PROGRAM [ARGS]...
       harness-shim exec [--user USER] [--cwd DIR] [--tty] [--limit NAME=N]... -- PROGRAM [ARGS]...
       harness-shim write USER MODE [DEVICE:INODE]...
       harness-shim --version
";

/// The `harness-shim` program. It must be called before any thread is started.
pub fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let verb = args.next();
    let verb = verb.as_ref().and_then(|verb| verb.to_str());
    match (verb, args.len()) {
        (Some("supervise"), 1) => args
            .next()
            .map_or(ExitCode::FAILURE, |path| supervise::run(&path)),
        (Some(zygote::VERB), 1) => zygote::run(),
        (Some("exec"), _) => match exec::Options::parse(args) {
            Ok(options) => exec::run(&options),
            Err(mistake) => usage(&mistake),
        },
        (Some(command::VERB), _) => match exec::Options::parse(args) {
            Ok(options) => command::run(&options),
            Err(mistake) => usage(&mistake),
        },
        (Some(write::VERB), _) => match write::Options::parse(args) {
            Ok(options) => write::run(&options),
            Err(mistake) => usage(&mistake),
        },
        (Some("--version"), 0) => {
            let line = format!("harness-shim {}\n", env!("CARGO_PKG_VERSION"));
            match io::stdout().write_all(line.as_bytes()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            }
        }
        _ => usage("not a command of this program"),
    }
}

fn usage(mistake: &str) -> ExitCode {
    let _ = write!(io::stderr(), "harness-shim: {mistake}\n{USAGE}");
    ExitCode::from(2)
}

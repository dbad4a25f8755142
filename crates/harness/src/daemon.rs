//! The daemon that owns the services: `harness-core`'s lifecycle with the executors and actions of harness.

use std::process::ExitCode;
use std::sync::Arc;

use clap::builder::Resettable;
use clap::{CommandFactory, FromArgMatches, Parser};
use docker_executor::DockerExecutor;
use harness_core::lifecycle::DaemonError;
use harness_core::{DEFAULT_PORT, DaemonBuilder, Home};
use harness_model::foreign::shown;
use service_orchestration::words::chain;

use crate::actions::ServiceSignal;

/// Owns and supervises services; `harness` drives it. Started by hand, it runs in the foreground until
/// Ctrl-C; services keep running without it, and the next daemon takes them over.
#[derive(Parser)]
#[command(name = "harness-executor-daemon", version)]
struct Arguments {
    /// Listen on this port of 127.0.0.1 (0: any free port)
    #[arg(long, env = "HARNESS_PORT", default_value_t = DEFAULT_PORT)]
    port: u16,
    /// Detach, and report on stdout once when ready (used by `harness`)
    #[arg(long, hide = true)]
    background: bool,
    /// Stop what an earlier daemon left running, and start none of it again first (used by `harness`)
    #[arg(long, hide = true)]
    stop_services: bool,
}

/// Runs the daemon's program.
pub fn main() -> ExitCode {
    main_with(|daemon| daemon)
}

/// The same for a program that adds executors, probes or actions. The CLI that belongs to it reads the files: see
/// [`crate::cli::main_with`].
pub fn main_with(add: impl FnOnce(DaemonBuilder) -> DaemonBuilder) -> ExitCode {
    let mut command = Arguments::command();
    // An empty variable is one that is not set.
    if std::env::var_os("HARNESS_PORT").is_some_and(|port| port.is_empty()) {
        command = command.mut_arg("port", |port| port.env(Resettable::Reset));
    }
    let arguments = match Arguments::from_arg_matches(&command.get_matches()) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    match run(&arguments, add) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {}", chain(&error)));
            if let Some(remedy) = error.remedy() {
                say(&format!("  next: {remedy}"));
            }
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments, add: impl FnOnce(DaemonBuilder) -> DaemonBuilder) -> Result<(), DaemonError> {
    let home = Home::from_environment()?;
    if !arguments.background {
        say(&format!(
            "harness-executor-daemon: home {}; Ctrl-C ends the daemon, services keep running",
            home.path().display()
        ));
    }
    let containers = Arc::new(DockerExecutor::new(home.path()));
    let daemon = DaemonBuilder::new("harness-executor-daemon", home)
        .executor(containers)
        .port(arguments.port)
        .background(arguments.background)
        .stop_services(arguments.stop_services)
        .action(ServiceSignal);
    smol::block_on(add(daemon).run())
}

fn say(words: &str) {
    use std::io::Write;
    // Nobody may be listening on stderr.
    let _ = writeln!(std::io::stderr(), "{}", shown(words));
}

//! The command line: the global options, the verbs, and their parsing.
//!
//! [`super::reference`] makes `docs/cli-reference.md` from the help texts here.

mod hints;
mod values;
mod verbs;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use harness_model::ProjectName;
use harness_model::foreign::shown;

pub(crate) use values::{Moment, parse_duration};
pub(crate) use verbs::*;

/// Start a distributed system from one YAML file, inspect it, stop it.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "harness",
    version,
    max_term_width = 110,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Start with: harness init && harness start\n\n\
        Exit codes: 0 ok, 1 error, 2 usage or invalid file, 3 not running, 4 no such service, \
        17 --timeout passed, 18 a service failed, 19 a place was not reached, 130 interrupted"
)]
pub(crate) struct Cli {
    /// Options of every verb.
    #[command(flatten)]
    pub(crate) globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Options of every verb.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// The file to use, instead of the services.yaml in this folder or one above; several files are merged in the
    /// given order
    #[arg(short, long, global = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) config: Vec<PathBuf>,
    /// The project, instead of the one that belongs to this folder
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(crate) project: Option<ProjectName>,
    /// Print only JSON on stdout (streams: one object per line); text for people goes to stderr
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No colours (the variable NO_COLOR does the same)
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
    /// Print only errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Print more
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    /// The port for a daemon that is started, instead of 9443; a running daemon is found without it
    #[arg(
        long,
        global = true,
        value_name = "PORT",
        env = hints::PORT_VARIABLE,
        hide_env_values = true
    )]
    pub(crate) port: Option<u16>,
}

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Verb {
    /// Write a services.yaml to start from
    Init(InitArgs),
    /// Check the file and report every mistake in it
    Validate(ValidateArgs),
    /// Print the file with all files merged, variables replaced and secrets hidden
    Config(ConfigArgs),
    /// Start services, in order, until they are healthy
    Start(StartArgs),
    /// Stop services and leave nothing behind
    Stop(StopArgs),
    /// Stop and start services again
    Restart(RestartArgs),
    /// Show the state of the services
    Status(StatusArgs),
    /// Show the output of the services
    Logs(LogsArgs),
    /// Wait until services are up, completed or stopped
    Wait(WaitArgs),
    /// Start services, run a command, then stop them again
    Run(RunArgs),
    /// Run a command where a service runs, with its environment
    Exec(ExecArgs),
    /// Connect this terminal to a running service
    Attach(AttachArgs),
    /// Explain why a service is in its state
    Why(WhyArgs),
    /// Show which services depend on which
    Graph(GraphArgs),
    /// Show what happened to the services
    Events(EventsArgs),
    /// Print the services' addresses as environment variables
    Env(EnvArgs),
    /// Show one service in detail, or list all of them
    #[command(subcommand, arg_required_else_help = true)]
    Service(ServiceVerb),
    /// List or forget the projects that the daemon knows
    #[command(subcommand, arg_required_else_help = true)]
    Project(ProjectVerb),
    /// Control the daemon that owns the services
    #[command(subcommand, arg_required_else_help = true)]
    Daemon(DaemonVerb),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print the JSON Schema of services.yaml
    Schema,
    /// Check whether this machine has what harness needs
    Doctor,
    /// Names of projects, for the completion scripts
    #[command(name = "__complete-projects", hide = true)]
    CompleteProjects,
    /// Names of the file's profiles, for the completion scripts
    #[command(name = "__complete-profiles", hide = true)]
    CompleteProfiles,
    /// Names of services, for the completion scripts
    #[command(name = "__complete-services", hide = true)]
    CompleteServices,
}

/// Verbs about one service.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ServiceVerb {
    /// List the services of the project
    List,
    /// Show everything about one service
    Show(ServiceShowArgs),
}

/// Verbs about projects as a whole.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ProjectVerb {
    /// List every project that was started, with its file and state
    List,
    /// Forget a stopped project: its services and their logs. Its files and named volumes stay
    Forget(ProjectForgetArgs),
}

/// Verbs about the daemon.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum DaemonVerb {
    /// Start the daemon in the background, if none runs
    Start,
    /// End the daemon; services keep running, unless --services is given
    Stop(DaemonStopArgs),
    /// Replace the daemon while services keep running, for example after an upgrade
    Restart,
    /// Show whether the daemon runs, and what it knows
    Status,
    /// Show the daemon's own log
    Logs(DaemonLogsArgs),
    /// Print a systemd unit for the daemon
    Install,
}

impl Cli {
    /// Parses this process's arguments.
    ///
    /// # Errors
    /// clap's error, which has the text to show (help and version are "errors" too).
    pub(crate) fn from_env() -> Result<Self, clap::Error> {
        let words: Vec<OsString> = std::env::args_os().collect();
        let shown = |word: &OsString| shown(&word.to_string_lossy()).into_owned().into();
        let harmless = words.iter().map(shown).collect();
        // The error repeats arguments, which a script may have got from elsewhere, so they are made harmless first.
        Self::try_parse_from_words(words)
            .map_err(|error| Self::try_parse_from_words(harmless).err().unwrap_or(error))
    }

    /// clap counts a variable as an argument. Without arguments the help should come, so the variable is left out
    /// then. It reads the variable for the verb too when the option stands before it, so it is left out there as well.
    fn try_parse_from_words(words: Vec<OsString>) -> Result<Self, clap::Error> {
        let mut command = Self::command();
        // An empty variable is one that is not set.
        let is_empty = std::env::var_os(hints::PORT_VARIABLE).is_some_and(|port| port.is_empty());
        if words.len() < 2 || is_empty || hints::has_port(&words) {
            command = command.mut_arg("port", |port| port.env(clap::builder::Resettable::Reset));
        }
        let matches = command
            .try_get_matches_from_mut(&words)
            .map_err(|error| hints::explained(error, &words, &mut command))?;
        Self::from_arg_matches(&matches)
    }

    /// The clap command, for completions and the reference.
    pub(crate) fn clap_command() -> clap::Command {
        Self::command()
    }
}

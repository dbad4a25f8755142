//! What may be typed: the global options, the verbs, and the parsing of them.
//!
//! The help texts here are also `docs/cli-reference.md`, through [`super::reference`].

mod values;
mod verbs;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use harness_model::ProjectName;
use harness_model::foreign::shown;

pub(crate) use values::{Moment, parse_duration};
pub(crate) use verbs::*;

/// Bring up a distributed system from one YAML file, look into it, take it down.
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
        17 --timeout passed, 18 a service failed, 130 interrupted"
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
    /// The file to use, instead of the services.yaml here or in a folder above; given several times, they are
    /// merged in order
    #[arg(short, long, global = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) config: Vec<PathBuf>,
    /// The project, instead of the one this folder means
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(crate) project: Option<ProjectName>,
    /// JSON alone on stdout (streams: one object a line); words for people go to stderr
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No colours (as does the variable NO_COLOR)
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
    /// Say only what went wrong
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say more
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    /// The port for a daemon that is started, instead of 9443; one that runs is found by itself
    #[arg(
        long,
        global = true,
        value_name = "PORT",
        env = "HARNESS_PORT",
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
    /// Bring services up, in order, until they are healthy
    Start(StartArgs),
    /// Take services down, leaving nothing behind
    Stop(StopArgs),
    /// Stop and start services again
    Restart(RestartArgs),
    /// How the services are
    Status(StatusArgs),
    /// What the services print
    Logs(LogsArgs),
    /// Wait until services are up, completed or stopped
    Wait(WaitArgs),
    /// Start, run a command among the services, stop again
    Run(RunArgs),
    /// Run a command in a service's place, with its environment
    Exec(ExecArgs),
    /// Connect this terminal to a running service
    Attach(AttachArgs),
    /// Why a service is as it is
    Why(WhyArgs),
    /// Who needs whom
    Graph(GraphArgs),
    /// What happened to the services
    Events(EventsArgs),
    /// The services' addresses, as environment variables
    Env(EnvArgs),
    /// One service, or all of them, in detail
    #[command(subcommand, arg_required_else_help = true)]
    Service(ServiceVerb),
    /// The projects that the daemon knows
    #[command(subcommand, arg_required_else_help = true)]
    Project(ProjectVerb),
    /// The daemon that owns the services
    #[command(subcommand, arg_required_else_help = true)]
    Daemon(DaemonVerb),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print the JSON Schema of services.yaml
    Schema,
    /// Check this machine for what harness needs
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
    /// The services of the project
    List,
    /// Everything about one service
    Show(ServiceShowArgs),
}

/// Verbs about projects as a whole.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ProjectVerb {
    /// Every project that was started, with its file and how it is
    List,
    /// Forget a stopped project: its services and their logs. Its files stay, and so do named volumes
    Forget(ProjectForgetArgs),
}

/// Verbs about the daemon.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum DaemonVerb {
    /// Start the daemon in the background, if none runs
    Start,
    /// End the daemon; services run on, unless --services is given
    Stop(DaemonStopArgs),
    /// Replace the daemon under running services, after an upgrade say
    Restart,
    /// Whether the daemon runs, and what it knows
    Status,
    /// What the daemon wrote to its log
    Logs(DaemonLogsArgs),
    /// Print a systemd unit for the daemon
    Install,
}

impl Cli {
    /// The words of this process.
    ///
    /// # Errors
    /// clap's, which holds the text to show (help and version are such "errors" too).
    pub(crate) fn from_env() -> Result<Self, clap::Error> {
        let words: Vec<OsString> = std::env::args_os().collect();
        let shown = |word: &OsString| shown(&word.to_string_lossy()).into_owned().into();
        let harmless = words.iter().map(shown).collect();
        // The error repeats words, which a script may have from others.
        Self::try_parse_from_words(words)
            .map_err(|error| Self::try_parse_from_words(harmless).err().unwrap_or(error))
    }

    /// A variable counts as an argument for clap, so without words it is left out: that asks for the help.
    fn try_parse_from_words(words: Vec<OsString>) -> Result<Self, clap::Error> {
        let mut command = Self::command();
        // An empty variable is one that is not set.
        let is_empty = std::env::var_os("HARNESS_PORT").is_some_and(|port| port.is_empty());
        if words.len() < 2 || is_empty {
            command = command.mut_arg("port", |port| port.env(clap::builder::Resettable::Reset));
        }
        let matches = command.try_get_matches_from(words)?;
        Self::from_arg_matches(&matches)
    }

    /// The clap command, for completions and the reference.
    pub(crate) fn clap_command() -> clap::Command {
        Self::command()
    }
}

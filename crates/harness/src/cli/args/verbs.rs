//! The arguments of each verb.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum, ValueHint};
use harness_model::{ProjectName, ServiceName};

use super::{Moment, parse_duration};

/// Arguments of `init`.
#[derive(Debug, Clone, Args)]
pub(crate) struct InitArgs {
    /// Start from the compose file, Procfile or package.json found here, without asking
    #[arg(long, value_name = "WHAT")]
    pub(crate) from: Option<InitSource>,
    /// The folder to write services.yaml into
    #[arg(default_value = ".", hide_default_value = true, value_hint = ValueHint::DirPath)]
    pub(crate) folder: PathBuf,
}

/// What `init` can start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum InitSource {
    /// docker-compose.yml or compose.yaml
    Compose,
    /// Procfile, with the variables of the .env beside it
    Procfile,
    /// package.json: its script `dev` or `start`, and what that runs side by side
    #[value(name = "package.json")]
    PackageJson,
    /// None of them: the small example
    Example,
}

/// Arguments of `config`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConfigArgs {
    /// Show where each value comes from
    #[arg(long)]
    pub(crate) origins: bool,
    /// Services of this profile too (may be given several times)
    #[arg(long = "profile", value_name = "NAME")]
    pub(crate) profiles: Vec<String>,
}

/// Arguments of `validate`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ValidateArgs {
    /// Include the services of this profile too (can be given several times)
    #[arg(long = "profile", value_name = "NAME")]
    pub(crate) profiles: Vec<String>,
}

/// Arguments of `start`.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct StartArgs {
    /// The services, with those they depend on; all if none is named
    pub(crate) services: Vec<ServiceName>,
    /// Return once the plan is accepted, without waiting until everything is healthy
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Stop waiting after this time (exit code 17); the services continue
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Leave out the services that the named ones depend on
    #[arg(long)]
    pub(crate) no_deps: bool,
    /// Only print what would happen
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Stop services that are no longer in the file; those of other profiles stay
    #[arg(long)]
    pub(crate) prune: bool,
    /// Write a JUnit report, the result as JSON and the services' logs into this folder
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with_all = ["detach", "dry_run"])]
    pub(crate) report: Option<PathBuf>,
    /// When a service fails, stop the services that this start began
    #[arg(long, conflicts_with = "detach")]
    pub(crate) rollback_on_failure: bool,
    /// Include the services of this profile too (can be given several times)
    #[arg(long = "profile", value_name = "NAME")]
    pub(crate) profiles: Vec<String>,
}

/// Arguments of `stop`.
#[derive(Debug, Clone, Args)]
pub(crate) struct StopArgs {
    /// The services; those that depend on them keep running
    #[arg(conflicts_with = "all")]
    pub(crate) services: Vec<ServiceName>,
    /// The whole project
    #[arg(short, long)]
    pub(crate) all: bool,
    /// With --all: also remove the project's named volumes and everything in them
    #[arg(long, requires = "all")]
    pub(crate) volumes: bool,
}

/// Arguments of `restart`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RestartArgs {
    /// The services; all if none is named
    pub(crate) services: Vec<ServiceName>,
    /// Stop waiting after this time (exit code 17); the services continue
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Leave out the services that the named ones depend on
    #[arg(long)]
    pub(crate) no_deps: bool,
    /// Include the services of this profile too (can be given several times)
    #[arg(long = "profile", value_name = "NAME")]
    pub(crate) profiles: Vec<String>,
}

/// Arguments of `status`.
#[derive(Debug, Clone, Args)]
pub(crate) struct StatusArgs {
    /// The services; all if none is named
    pub(crate) services: Vec<ServiceName>,
}

/// Arguments of `logs`.
#[derive(Debug, Clone, Args)]
pub(crate) struct LogsArgs {
    /// The services to print; all if none is named
    pub(crate) services: Vec<ServiceName>,
    /// Keep printing new lines, across restarts
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only this many of the last lines
    #[arg(short = 'n', long, value_name = "LINES")]
    pub(crate) tail: Option<u64>,
    /// Only lines since this time: `10m` (ago), `14:30`, `2025-12-31T23:59:00Z`
    #[arg(long, value_name = "WHEN")]
    pub(crate) since: Option<Moment>,
    /// Only lines before this time
    #[arg(long, value_name = "WHEN")]
    pub(crate) until: Option<Moment>,
    /// Only lines that match this regular expression
    #[arg(long, value_name = "REGEX")]
    pub(crate) grep: Option<String>,
    /// Print the time before each line
    #[arg(short, long)]
    pub(crate) timestamps: bool,
    /// Send the services' output to a terminal unchanged, including control characters; it is always unchanged
    /// elsewhere
    #[arg(long)]
    pub(crate) raw: bool,
}

/// Arguments of `wait`.
#[derive(Debug, Clone, Args)]
pub(crate) struct WaitArgs {
    /// The services; all if none is named
    pub(crate) services: Vec<ServiceName>,
    /// What to wait for
    #[arg(long = "for", value_name = "STATE", default_value = "ready")]
    pub(crate) until: WaitState,
    /// Give up after this time (exit code 17)
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
}

/// What `wait` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WaitState {
    /// Up: healthy if it has a health check, completed if it is a one-shot, else running
    Ready,
    /// Ended with exit code 0
    Completed,
    /// Not running, for whatever reason
    Stopped,
}

/// Arguments of `run`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunArgs {
    /// The services, with those they depend on; all if none is named
    pub(crate) services: Vec<ServiceName>,
    /// Give up after this time (exit code 17): end the command, and stop what was started
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Include the services of this profile too (can be given several times)
    #[arg(long = "profile", value_name = "NAME")]
    pub(crate) profiles: Vec<String>,
    /// The command, after `--`; its environment has the services' addresses
    #[arg(last = true, required = true, value_name = "CMD", value_hint = ValueHint::CommandWithArguments)]
    pub(crate) command: Vec<String>,
}

/// Arguments of `exec`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ExecArgs {
    /// Pass stdin on to the command
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Add a variable to its environment (can be given several times)
    #[arg(short, long = "env", value_name = "NAME=VALUE", value_parser = parse_assignment)]
    pub(crate) env: Vec<(String, String)>,
    /// Run as this user instead of the service's
    #[arg(short, long, value_name = "USER", value_hint = ValueHint::Username)]
    pub(crate) user: Option<String>,
    /// Run in this folder instead of the service's
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// The service
    pub(crate) service: ServiceName,
    /// The command
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required = true,
        value_name = "CMD"
    )]
    pub(crate) command: Vec<String>,
}

/// Arguments of `attach`.
#[derive(Debug, Clone, Args)]
pub(crate) struct AttachArgs {
    /// The service
    pub(crate) service: ServiceName,
    /// The keys that detach, as in docker
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    pub(crate) detach_keys: String,
    /// Only watch: pass on nothing from stdin
    #[arg(long)]
    pub(crate) no_stdin: bool,
}

/// Arguments of `why`.
#[derive(Debug, Clone, Args)]
pub(crate) struct WhyArgs {
    /// The service
    pub(crate) service: ServiceName,
}

/// Arguments of `graph`.
#[derive(Debug, Clone, Args)]
pub(crate) struct GraphArgs {
    /// How to print it
    #[arg(long, default_value = "text")]
    pub(crate) format: GraphFormat,
}

/// How `graph` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// In start order, for people
    Text,
    /// For Markdown pages
    Mermaid,
    /// For programs
    Json,
}

/// Arguments of `events`.
#[derive(Debug, Clone, Args)]
pub(crate) struct EventsArgs {
    /// The services; all if none is named
    pub(crate) services: Vec<ServiceName>,
    /// Keep printing new events
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only events since this time: `10m` (ago), `14:30`, `2025-12-31T23:59:00Z`
    #[arg(long, value_name = "WHEN")]
    pub(crate) since: Option<Moment>,
    /// Events of every project that the daemon knows
    #[arg(long, conflicts_with = "project")]
    pub(crate) all_projects: bool,
}

/// Arguments of `env`.
#[derive(Debug, Clone, Args)]
pub(crate) struct EnvArgs {
    /// How to print it
    #[arg(long, default_value = "shell")]
    pub(crate) format: EnvFormat,
}

/// How `env` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EnvFormat {
    /// `export NAME='value'`, for `eval "$(harness env)"`
    Shell,
    /// `NAME=value`, for .env files
    Dotenv,
    /// A JSON object
    Json,
}

/// Arguments of `service show`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServiceShowArgs {
    /// The service
    pub(crate) service: ServiceName,
}

/// Arguments of `project forget`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ProjectForgetArgs {
    /// The project
    pub(crate) name: ProjectName,
}

/// Arguments of `daemon stop`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DaemonStopArgs {
    /// Stop every service of every project first
    #[arg(long)]
    pub(crate) services: bool,
}

/// Arguments of `daemon logs`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DaemonLogsArgs {
    /// Keep printing new lines
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only this many of the last lines
    #[arg(short = 'n', long, value_name = "LINES")]
    pub(crate) tail: Option<usize>,
}

/// Arguments of `completions`.
#[derive(Debug, Clone, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: CompletionShell,
}

/// Shells that completions are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompletionShell {
    /// source <(harness completions bash)
    Bash,
    /// harness completions zsh > "${fpath[1]}/_harness"
    Zsh,
    /// harness completions fish > ~/.config/fish/completions/harness.fish
    Fish,
}

fn parse_assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

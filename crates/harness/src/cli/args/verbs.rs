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

/// What `init` may start from.
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

/// Arguments of `validate`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ValidateArgs {
    /// Services of this profile too (may be given several times)
    #[arg(long = "profile", value_name = "NAME")]
    pub(crate) profiles: Vec<String>,
}

/// Arguments of `start`.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct StartArgs {
    /// Which services, with what they need; all if none is named
    pub(crate) services: Vec<ServiceName>,
    /// Return once the plan is accepted, instead of when everything is healthy
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Give up waiting after this long (exit code 17); the services go on
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Leave out what the named services need
    #[arg(long)]
    pub(crate) no_deps: bool,
    /// Only print what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Stop services that are no longer in the file; those of other profiles stay
    #[arg(long)]
    pub(crate) prune: bool,
    /// Write a JUnit report, the result as JSON and the services' logs into this folder
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with_all = ["detach", "dry_run"])]
    pub(crate) report: Option<PathBuf>,
    /// When a service fails, stop again what this start began
    #[arg(long, conflicts_with = "detach")]
    pub(crate) rollback_on_failure: bool,
    /// Services of this profile too (may be given several times)
    #[arg(long = "profile", value_name = "NAME")]
    pub(crate) profiles: Vec<String>,
}

/// Arguments of `stop`.
#[derive(Debug, Clone, Args)]
pub(crate) struct StopArgs {
    /// Which services; what depends on them runs on
    #[arg(conflicts_with = "all")]
    pub(crate) services: Vec<ServiceName>,
    /// The whole project
    #[arg(short, long)]
    pub(crate) all: bool,
    /// With --all: remove the project's named volumes, too, with everything in them
    #[arg(long, requires = "all")]
    pub(crate) volumes: bool,
}

/// Arguments of `restart`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RestartArgs {
    /// Which services; all if none is named
    pub(crate) services: Vec<ServiceName>,
    /// Give up waiting after this long (exit code 17); the services go on
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Leave out what the named services need
    #[arg(long)]
    pub(crate) no_deps: bool,
    /// Services of this profile too (may be given several times)
    #[arg(long = "profile", value_name = "NAME")]
    pub(crate) profiles: Vec<String>,
}

/// Arguments of `status`.
#[derive(Debug, Clone, Args)]
pub(crate) struct StatusArgs {
    /// Which services; all if none is named
    pub(crate) services: Vec<ServiceName>,
}

/// Arguments of `logs`.
#[derive(Debug, Clone, Args)]
pub(crate) struct LogsArgs {
    /// Whose lines; everybody's if none is named
    pub(crate) services: Vec<ServiceName>,
    /// Go on with what comes, across restarts
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only the last so many lines
    #[arg(short = 'n', long, value_name = "LINES")]
    pub(crate) tail: Option<u64>,
    /// Only lines since then: `10m` (ago), `14:30`, `2025-12-31T23:59:00Z`
    #[arg(long, value_name = "WHEN")]
    pub(crate) since: Option<Moment>,
    /// Only lines before then
    #[arg(long, value_name = "WHEN")]
    pub(crate) until: Option<Moment>,
    /// Only lines that match this regular expression
    #[arg(long, value_name = "REGEX")]
    pub(crate) grep: Option<String>,
    /// Put the time before each line
    #[arg(short, long)]
    pub(crate) timestamps: bool,
    /// Send the services' bytes to a terminal as they are, whatever they make it do; elsewhere they always are
    #[arg(long)]
    pub(crate) raw: bool,
}

/// Arguments of `wait`.
#[derive(Debug, Clone, Args)]
pub(crate) struct WaitArgs {
    /// Which services; all if none is named
    pub(crate) services: Vec<ServiceName>,
    /// What to wait for
    #[arg(long = "for", value_name = "STATE", default_value = "ready")]
    pub(crate) until: WaitState,
    /// Give up after this long (exit code 17)
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
}

/// What `wait` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WaitState {
    /// Up: healthy if it has a health check, completed if a one-shot, else running
    Ready,
    /// Ended with exit code 0
    Completed,
    /// Not running, however that came
    Stopped,
}

/// Arguments of `run`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunArgs {
    /// Which services, with what they need; all if none is named
    pub(crate) services: Vec<ServiceName>,
    /// Give up after this long (exit code 17): the command is ended, and what was started is stopped
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Services of this profile too (may be given several times)
    #[arg(long = "profile", value_name = "NAME")]
    pub(crate) profiles: Vec<String>,
    /// The command, after `--`; the services' addresses are in its environment
    #[arg(last = true, required = true, value_name = "CMD", value_hint = ValueHint::CommandWithArguments)]
    pub(crate) command: Vec<String>,
}

/// Arguments of `exec`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ExecArgs {
    /// Pass on what is typed or piped in
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Another variable in its environment (may be given several times)
    #[arg(short, long = "env", value_name = "NAME=VALUE", value_parser = parse_assignment)]
    pub(crate) env: Vec<(String, String)>,
    /// As another user than the service's
    #[arg(short, long, value_name = "USER", value_hint = ValueHint::Username)]
    pub(crate) user: Option<String>,
    /// In another folder than the service's
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// In whose place
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
    /// To which service
    pub(crate) service: ServiceName,
    /// The keys that let go of it again, as in docker
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    pub(crate) detach_keys: String,
    /// Only watch: pass on nothing that is typed
    #[arg(long)]
    pub(crate) no_stdin: bool,
}

/// Arguments of `why`.
#[derive(Debug, Clone, Args)]
pub(crate) struct WhyArgs {
    /// Which service
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
    /// About which services; all if none is named
    pub(crate) services: Vec<ServiceName>,
    /// Go on with what comes
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only events since then: `10m` (ago), `14:30`, `2025-12-31T23:59:00Z`
    #[arg(long, value_name = "WHEN")]
    pub(crate) since: Option<Moment>,
    /// Of every project of the daemon
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
    /// An object
    Json,
}

/// Arguments of `service show`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServiceShowArgs {
    /// Which service
    pub(crate) service: ServiceName,
}

/// Arguments of `project forget`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ProjectForgetArgs {
    /// Which project
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
    /// Go on with what comes
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only the last so many lines
    #[arg(short = 'n', long, value_name = "LINES")]
    pub(crate) tail: Option<usize>,
}

/// Arguments of `completions`.
#[derive(Debug, Clone, Args)]
pub(crate) struct CompletionsArgs {
    /// For which shell
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

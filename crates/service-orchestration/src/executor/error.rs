//! Why a service, or a command in its place, could not be launched.

use std::path::PathBuf;
use std::time::Duration;

use command_executor::host::{HostError, NotReached};

/// Why a service could not be launched.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// No executor is registered for the type.
    #[error("services of type `{type_name}` cannot be run yet")]
    NoExecutor {
        /// The type.
        type_name: String,
    },
    /// It is to run on a node, and its executor runs services on this machine only.
    #[error("services of type `{type_name}` cannot run on a node yet")]
    NotOnNode {
        /// The type.
        type_name: String,
    },
    /// No probe is registered for the key.
    #[error("there is no health check `{name}` here: the program that runs the daemon does not have it")]
    NoProbe {
        /// The key.
        name: String,
    },
    /// Its settings do not fit its type.
    #[error(transparent)]
    Settings(#[from] harness_model::spec::SettingsError),
    /// The home is gone or may belong to another daemon, so nothing is launched.
    #[error(transparent)]
    HomeGone(#[from] crate::layout::HomeGone),
    /// None of the folders in its PATH contains its program.
    #[error("{}", not_in_path(program, path))]
    NotInPath {
        /// The program.
        program: String,
        /// The PATH searched.
        path: String,
    },
    /// Its program, or one of its folders or files, is missing or cannot be used.
    #[error("{what} {}: {source}", path.display())]
    Path {
        /// What the path is for: `binary`, `working_dir`, …
        what: &'static str,
        /// The path.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// Its program is a script for an interpreter that does not exist.
    #[error("binary {} is a script for {interpreter}, which does not exist", script.display())]
    NoInterpreter {
        /// The script.
        script: PathBuf,
        /// The text after `#!`.
        interpreter: String,
    },
    /// Its program is a script with the line ends of another system, which belong to the name of its interpreter here.
    #[error("binary {} has Windows line ends (CRLF), so its `#!` line names a program that does not exist: run `sed -i 's/\\r$//'` on it", script.display())]
    LineEnds {
        /// The script.
        script: PathBuf,
    },
    /// What the file asks for cannot be had on this machine.
    #[error("{why}")]
    Refused {
        /// What, and why not.
        why: String,
    },
    /// It asks for something that services of its type do not have. The daemon refuses that, and does not just ignore
    /// it.
    #[error("`{key}` {why}")]
    NotForType {
        /// The key of the file.
        key: &'static str,
        /// Why not, and what to do.
        why: String,
    },
    /// An error of an executor in another crate.
    #[error(transparent)]
    Place(Box<dyn std::error::Error + Send + Sync>),
    /// The specification still contains a reference; it should have been resolved before.
    #[error("`{text}` is not resolved")]
    Unresolved {
        /// The template, redacted.
        text: String,
    },
    /// A former daemon was about to launch it and never did.
    #[error("it never started")]
    NeverStarted,
    /// The image that it runs in did not arrive.
    #[error("its image did not arrive within {}s{}", within.as_secs_f32(), doing.as_ref().map(|doing| format!(": {doing}")).unwrap_or_default())]
    NotHere {
        /// How long nothing was heard of it.
        within: Duration,
        /// What was last heard of it.
        doing: Option<String>,
    },
    /// The open files of this process allow no more services.
    #[error(
        "the daemon may have {limit} files open (RLIMIT_NOFILE), enough for {services} services: raise the limit \
         (ulimit -n, or LimitNOFILE in its unit), then `harness daemon restart`"
    )]
    NoRoom {
        /// The limit.
        limit: u64,
        /// How many services the limit is enough for.
        services: usize,
    },
    /// The host of the service was not reached.
    #[error(transparent)]
    NotReached(#[from] NotReached),
    /// The supervisor could not be started, or it reported why it could not start the program.
    #[error(transparent)]
    Supervisor(#[from] command_executor::supervised::LaunchError),
    /// A command in the service's place could not be started.
    #[error("cannot run `{program}`: {source}")]
    Command {
        /// Its program.
        program: String,
        /// The cause.
        source: command_executor::process::SpawnError,
    },
    /// The connection to a command in the service's place was lost before it ended.
    #[error("lost track of `{program}`: {source}")]
    Run {
        /// Its program.
        program: String,
        /// The cause.
        source: HostError<std::io::Error>,
    },
}

/// Why a command was not run, as shells tell it by their exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandFailure {
    /// Its program does not exist.
    NotFound,
    /// Its program exists, but cannot be run.
    NotRunnable,
}

impl<E> From<HostError<E>> for LaunchError
where
    E: std::error::Error + 'static,
    Self: From<E>,
{
    fn from(error: HostError<E>) -> Self {
        match error {
            HostError::NotReached(error) => error.into(),
            HostError::Failed(error) => error.into(),
        }
    }
}

impl LaunchError {
    /// Whether the program of a command is the reason.
    pub fn command_failure(&self) -> Option<CommandFailure> {
        match self {
            Self::NotInPath { .. } | Self::NoInterpreter { .. } => Some(CommandFailure::NotFound),
            Self::Path {
                what: "binary",
                source,
                ..
            } => Some(match source.kind() {
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => CommandFailure::NotFound,
                _ => CommandFailure::NotRunnable,
            }),
            Self::LineEnds { .. } | Self::Command { .. } => Some(CommandFailure::NotRunnable),
            _ => None,
        }
    }
}

/// Lists each folder of the PATH once: a shell's PATH often names one several times.
fn not_in_path(program: &str, path: &str) -> String {
    let mut folders: Vec<&str> = Vec::new();
    for folder in path.split(':').filter(|folder| !folder.is_empty()) {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    let remedy = if program.contains(char::is_whitespace) {
        "; arguments belong in `args`"
    } else {
        ""
    };
    format!(
        "`{program}` was not found in PATH ({}){remedy}",
        folders.join(":")
    )
}

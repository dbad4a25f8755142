//! Why a task failed.

use std::io;
use std::path::PathBuf;

use crate::env::EnvError;

/// Why a task failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TaskError {
    /// A program could not be started.
    #[error("cannot run `{command}`: {source}")]
    Spawn {
        /// The program and its arguments.
        command: String,
        /// The error of the system.
        source: io::Error,
    },
    /// A program failed.
    #[error("`{command}` failed ({status})")]
    Failed {
        /// The program and its arguments.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
    },
    /// A program failed, and its output was not shown.
    #[error("`{command}` failed ({status}): {said}")]
    Refused {
        /// The program and its arguments.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it wrote to stderr.
        said: String,
    },
    /// A file or folder could not be used.
    #[error("cannot {operation} {}: {source}", path.display())]
    File {
        /// The operation.
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// Something must be installed first.
    #[error("the tests need packages that are not installed:\n{missing}{remedy}")]
    Missing {
        /// One line for each package.
        missing: String,
        /// What to do.
        remedy: String,
    },
    /// The history does not contain a commit, but its programs are needed.
    #[error(
        "commit {0} is needed to build its programs, but it is not in the history of this clone: fetch the rest with \
         `git fetch --unshallow`"
    )]
    NoHistory(String),
    /// Processes were left behind.
    #[error("these processes were left running (they have been killed now):\n{0}")]
    Leftovers(String),
    /// A figure could not be measured.
    #[error("{0}")]
    Bench(String),
    /// The environment for the container tests could not be set up.
    #[error(transparent)]
    Env(#[from] EnvError),
    /// Some steps failed. Each has already reported why.
    #[error("failed: {0}")]
    Steps(String),
}

impl TaskError {
    /// For `map_err` after a file operation.
    pub(crate) fn file(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            operation,
            path,
            source,
        }
    }
}

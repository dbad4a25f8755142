//! Why a task did not succeed.

use std::io;
use std::path::PathBuf;

use crate::env::EnvError;

/// Why a task did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TaskError {
    /// A program could not be started.
    #[error("cannot run `{command}`: {source}")]
    Spawn {
        /// Its words.
        command: String,
        /// What the system said.
        source: io::Error,
    },
    /// A program did not end well.
    #[error("`{command}` failed ({status})")]
    Failed {
        /// Its words.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
    },
    /// A program that is not shown did not end well.
    #[error("`{command}` failed ({status}): {said}")]
    Refused {
        /// Its words.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it said on stderr.
        said: String,
    },
    /// A file or folder could not be used.
    #[error("cannot {operation} {}: {source}", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something must be installed first.
    #[error("the tests need what is not installed:\n{missing}{remedy}")]
    Missing {
        /// A line for each.
        missing: String,
        /// What to do.
        remedy: String,
    },
    /// A commit whose programs are needed is not in the history.
    #[error(
        "commit {0}, whose programs are to be built, is not in the history of this clone: get all of it with \
         `git fetch --unshallow`"
    )]
    NoHistory(String),
    /// Processes were left behind.
    #[error("left running (and it was killed now):\n{0}")]
    Leftovers(String),
    /// A figure could not be measured.
    #[error("{0}")]
    Bench(String),
    /// The surroundings of the container tests could not be had.
    #[error(transparent)]
    Env(#[from] EnvError),
    /// Some steps failed; each has told why already.
    #[error("failed: {0}")]
    Steps(String),
}

impl TaskError {
    /// For `map_err` on a file operation.
    pub(crate) fn file(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            operation,
            path,
            source,
        }
    }
}

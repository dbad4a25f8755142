//! Why a host did not do something.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use harness_files::FileError;

pub use crate::write::WriteError;

/// A host could not be reached, or its answer did not arrive. Nobody knows more than before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{host} was not reached: {why}")]
pub struct NotReached {
    /// The host, for people.
    pub host: String,
    /// Why.
    pub why: String,
    /// Whether the request may have arrived, so that the host may have done what was asked.
    pub sent: bool,
}

/// Why a host did not do something: it was not reached, or this is its answer.
#[derive(Debug, thiserror::Error)]
pub enum HostError<E: Error + 'static> {
    /// It was not reached.
    #[error(transparent)]
    NotReached(#[from] NotReached),
    /// It was reached, and this is its answer.
    #[error(transparent)]
    Failed(E),
}

/// Why a program was not found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FindError {
    /// The folder that it is to run in cannot be entered.
    #[error("cannot enter {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// No folder of the path has it.
    #[error("`{program}` is in none of the folders {path}")]
    NotInPath {
        /// The program.
        program: String,
        /// The folders, separated by colons.
        path: String,
    },
    /// It does not exist, or cannot be executed.
    #[error("cannot run {}: {source}", path.display())]
    Program {
        /// Its path.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// It is a script for an interpreter that does not exist.
    #[error("{} is a script for {interpreter}, which does not exist", script.display())]
    NoInterpreter {
        /// The script.
        script: PathBuf,
        /// The text after `#!`.
        interpreter: String,
    },
    /// It is a script with the line ends of another system, which belong to the name of its interpreter here.
    #[error("{} has Windows line ends (CRLF), so its `#!` line names a program that does not exist", script.display())]
    LineEnds {
        /// The script.
        script: PathBuf,
    },
}

/// Why a file was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// For the user of the host's own processes.
    #[error(transparent)]
    Own(FileError),
    /// For another user.
    #[error(transparent)]
    ForUser(WriteError),
}

impl PutError {
    /// What kind of error of the system it is.
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Own(error) => error.kind(),
            Self::ForUser(_) => io::ErrorKind::Other,
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The name has no address.
    #[error("the name {0} cannot be resolved")]
    Unresolved(String),
    /// Nobody accepts there.
    #[error(transparent)]
    Io(io::Error),
}

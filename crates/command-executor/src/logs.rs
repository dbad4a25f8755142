//! Follows the records of a run directory. A follower sleeps until inotify reports something new.
//!
//! A follower ends when the run is over and everything that it wrote was read. The last read begins *after* the run
//! is known to be over, so that nothing written in between is missed.

mod records;
mod watch;

use std::io;
use std::path::PathBuf;

pub use harness_shim::log::{GapCause, Line, Lines, LogError, MAX_LINE, ReadItem, Record, Stream};
pub use harness_shim::run_dir::RunDirError;
pub use records::{Read, RecordFollower};

/// Where to begin in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFrom {
    /// With the first line that exists.
    Start,
    /// With this many of the last lines.
    Tail(u64),
    /// With the first line at or after this moment, in nanoseconds since the Unix epoch.
    Since(u64),
    /// With the record that has this sequence number, or the first later one.
    Record(u64),
    /// With what is written from now on.
    End,
}

/// Why a log cannot be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// The run directory cannot be watched for changes.
    #[error("cannot watch {} for changes", path.display())]
    Watch {
        /// The path of the run directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The log cannot be read.
    #[error("cannot read the log")]
    Log(#[from] LogError),
    /// The state of the run cannot be read, so it is unknown whether the run is over.
    #[error("cannot find out whether the run is over")]
    RunDir(#[from] RunDirError),
}

impl FollowError {
    /// Whether the run directory or its log does not exist: not yet, or not any more.
    pub fn is_not_found(&self) -> bool {
        let source = match self {
            Self::Watch { source, .. }
            | Self::Log(LogError { source, .. })
            | Self::RunDir(RunDirError::Io { source, .. }) => source,
            Self::RunDir(_) => return false,
        };
        source.kind() == io::ErrorKind::NotFound
    }
}

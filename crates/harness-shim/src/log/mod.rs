//! A run's output on disk: numbered segments of records, with one record for each `read(2)`.
//!
//! ```text
//! log/000001.seg   header: magic, format, number of the first record, lines before this segment, created
//!                  record: sequence, wall time, length, stream, flags, check · raw bytes
//!                  record: …
//! log/000002.seg   …
//! ```
//!
//! The writer appends. When a segment is full, it begins the next one and removes the oldest ones as a whole. Every
//! header counts the lines (newlines) before it, so a reader knows exactly how many it missed. When the disk is full,
//! output is dropped and counted. As soon as there is space again, the count is written to the log as a record of its
//! own. The writer never waits for a reader.
//!
//! Readers cut records into lines with [`Lines`].

mod format;
mod lines;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub use format::{Position, Record, Stream};
pub use lines::{Line, Lines, MAX_LINE};
pub use reader::{GapCause, ReadItem, Reader};
pub use writer::{Dropped, Writer};

/// Why a log could not be read or written.
#[derive(Debug)]
pub struct LogError {
    /// The operation that failed.
    pub operation: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// The cause.
    pub source: io::Error,
}

impl LogError {
    fn new(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self {
            operation,
            path,
            source,
        }
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot {} {}: {}",
            self.operation,
            self.path.display(),
            self.source
        )
    }
}

impl std::error::Error for LogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

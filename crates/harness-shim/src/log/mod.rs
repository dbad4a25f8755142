//! A run's output on disk: numbered segments of records, one record for each `read(2)`.
//!
//! ```text
//! log/000001.seg   header: magic, format, number of the first record, lines before this segment, created
//!                  record: sequence, wall time, length, stream, flags, check · raw bytes
//!                  record: …
//! log/000002.seg   …
//! ```
//!
//! The writer appends and, when a segment is full, begins the next and removes whole oldest ones. Because
//! every header counts the lines (newlines) before it, a reader knows exactly how many it missed. When the
//! disk is full, output is dropped and counted; the count stands in the log as a record of its own once
//! there is space again. The writer never waits for a reader.
//!
//! Lines are the reader's business: [`Lines`] cuts records into them.

mod format;
mod lines;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub use format::{Record, Stream};
pub use lines::{Line, Lines, MAX_LINE};
pub use reader::{GapCause, ReadItem, Reader};
pub use writer::{Dropped, Writer};

/// Why a log could not be read or written.
#[derive(Debug)]
pub struct LogError {
    /// What was tried.
    pub operation: &'static str,
    /// On what.
    pub path: PathBuf,
    /// Why not.
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

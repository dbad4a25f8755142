//! The single line that a starting shim writes to fd 1 before it closes it. It says whether the process runs.

use std::fmt;

/// What the starter learns. If there is no line at all (end of file), the shim itself died.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handshake {
    /// The program was executed. The identity file is written, and the control socket listens.
    Started {
        /// Pid of the main process.
        pid: u32,
        /// Its start time in clock ticks since boot.
        start_time: u64,
    },
    /// The program was not executed. The exit record says the same.
    Failed {
        /// The step that failed: one of the words of [`crate::run_dir::Outcome::SpawnFailed`].
        operation: String,
        /// The errno.
        errno: i32,
    },
}

impl fmt::Display for Handshake {
    /// Writes the line without its newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { pid, start_time } => write!(f, "started {pid} {start_time}"),
            Self::Failed { operation, errno } => write!(f, "failed {operation} {errno}"),
        }
    }
}

impl Handshake {
    /// Parses a complete line, with or without its newline; `None` if it is not one.
    ///
    /// ```
    /// use harness_shim::handshake::Handshake;
    /// let line = Handshake::parse(b"started 812 94112\n");
    /// assert_eq!(line, Some(Handshake::Started { pid: 812, start_time: 94112 }));
    /// ```
    pub fn parse(line: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(line).ok()?;
        let mut words = text.strip_suffix('\n').unwrap_or(text).split(' ');
        let parsed = match words.next()? {
            "started" => Self::Started {
                pid: words.next()?.parse().ok()?,
                start_time: words.next()?.parse().ok()?,
            },
            "failed" => Self::Failed {
                operation: words.next()?.to_owned(),
                errno: words.next()?.parse().ok()?,
            },
            _ => return None,
        };
        words.next().is_none().then_some(parsed)
    }
}

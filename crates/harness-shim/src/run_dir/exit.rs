//! The exit record: how a run ended.

use crate::text::{ParseError, TextWriter, parse};

/// How the main process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It exited with this code.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
    /// It never ran.
    SpawnFailed {
        /// The step that failed: `spec`, `log`, `control`, `tty`, `pipe`, `fork`, `identity`, `session`, `limits`,
        /// `user`, `cwd` or `exec`.
        operation: String,
        /// The errno; 0 if the operating system was not involved (for example, for an unreadable spec).
        errno: i32,
    },
}

/// What a program left running that went into the background.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Background {
    /// The name of the first process of it, as the kernel knows it: at most 15 bytes.
    pub name: String,
    /// How many processes there were.
    pub processes: u32,
}

/// The last thing that the shim writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitRecord {
    /// How the main process ended.
    pub outcome: Outcome,
    /// When the main process was started, in nanoseconds since the Unix epoch.
    pub started_at_ns: u64,
    /// When it ended, in nanoseconds since the Unix epoch. Its descendants may have ended later.
    pub ended_at_ns: u64,
    /// Whether somebody asked for a stop or kill before it ended.
    pub stop_requested: bool,
    /// Whether something had to be killed: the grace period ran out, or somebody asked for a kill.
    pub killed: bool,
    /// What ran on in sessions of its own when the main process exited 0 unasked: a program that makes itself a daemon
    /// leaves that. It was stopped like the rest.
    pub background: Option<Background>,
    /// Output that could not be written to the log, in bytes.
    pub dropped_log_bytes: u64,
    /// The same in lines.
    pub dropped_log_lines: u64,
}

impl ExitRecord {
    const TITLE: &'static str = "harness-exit";
    const FORMAT: u64 = 1;

    /// The content of the file.
    pub(crate) fn to_text(&self) -> Vec<u8> {
        let mut writer = TextWriter::new(Self::TITLE, Self::FORMAT);
        match &self.outcome {
            Outcome::Exited(code) => writer.value("outcome", format_args!("exited {code}")),
            Outcome::Signaled(signal) => writer.value("outcome", format_args!("signaled {signal}")),
            Outcome::SpawnFailed { operation, errno } => {
                writer.value("outcome", format_args!("spawn-failed {operation} {errno}"))
            }
        };
        writer
            .value("started_at_ns", self.started_at_ns)
            .value("ended_at_ns", self.ended_at_ns)
            .value("stop_requested", self.stop_requested)
            .value("killed", self.killed)
            .value("dropped_log_bytes", self.dropped_log_bytes)
            .value("dropped_log_lines", self.dropped_log_lines);
        if let Some(Background { name, processes }) = &self.background {
            writer.value("background", format_args!("{processes} {name}"));
        }
        writer.finish()
    }

    /// Parses the content of the file.
    pub(crate) fn from_text(text: &[u8]) -> Result<Self, ParseError> {
        let mut outcome = None;
        let mut record = Self {
            outcome: Outcome::Exited(0),
            started_at_ns: 0,
            ended_at_ns: 0,
            stop_requested: false,
            killed: false,
            background: None,
            dropped_log_bytes: 0,
            dropped_log_lines: 0,
        };
        for line in parse(text, Self::TITLE, Self::FORMAT)? {
            let line = line?;
            match line.key {
                "outcome" => outcome = Some(parse_outcome(&line.words()?).ok_or_else(|| line.bad())?),
                "started_at_ns" => record.started_at_ns = line.parse()?,
                "ended_at_ns" => record.ended_at_ns = line.parse()?,
                "stop_requested" => record.stop_requested = line.parse()?,
                "killed" => record.killed = line.parse()?,
                "background" => {
                    record.background = Some(parse_background(line.text()?).ok_or_else(|| line.bad())?);
                }
                "dropped_log_bytes" => record.dropped_log_bytes = line.parse()?,
                "dropped_log_lines" => record.dropped_log_lines = line.parse()?,
                _ => return Err(line.bad()),
            }
        }
        record.outcome = outcome.ok_or(ParseError::Missing("outcome"))?;
        Ok(record)
    }
}

fn parse_background(text: &str) -> Option<Background> {
    let (processes, name) = text.split_once(' ')?;
    Some(Background {
        name: name.to_owned(),
        processes: processes.parse().ok()?,
    })
}

fn parse_outcome(words: &[&str]) -> Option<Outcome> {
    match words {
        ["exited", code] => Some(Outcome::Exited(code.parse().ok()?)),
        ["signaled", signal] => Some(Outcome::Signaled(signal.parse().ok()?)),
        ["spawn-failed", operation, errno] => Some(Outcome::SpawnFailed {
            operation: (*operation).to_owned(),
            errno: errno.parse().ok()?,
        }),
        _ => None,
    }
}

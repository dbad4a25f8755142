//! What to run, and by which rules.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use crate::text::{MAX_FILE, ParseError, TextWriter, parse};

/// A resource with a limit, see `setrlimit(2)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resource {
    /// Open files (RLIMIT_NOFILE).
    OpenFiles,
    /// Processes of the user (RLIMIT_NPROC).
    Processes,
    /// Address space in bytes (RLIMIT_AS).
    Memory,
    /// Size of a core dump in bytes (RLIMIT_CORE).
    Core,
    /// Size of a file it may write, in bytes (RLIMIT_FSIZE).
    FileSize,
    /// CPU time in seconds (RLIMIT_CPU).
    CpuSeconds,
}

impl Resource {
    const NAMES: [(Self, &'static str); 6] = [
        (Self::OpenFiles, "open_files"),
        (Self::Processes, "processes"),
        (Self::Memory, "memory"),
        (Self::Core, "core"),
        (Self::FileSize, "file_size"),
        (Self::CpuSeconds, "cpu_seconds"),
    ];

    /// Its name in the spec and in `--limit name=N` and `--soft-limit name=N`.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenFiles => "open_files",
            Self::Processes => "processes",
            Self::Memory => "memory",
            Self::Core => "core",
            Self::FileSize => "file_size",
            Self::CpuSeconds => "cpu_seconds",
        }
    }

    /// The resource with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, n)| *n == name).map(|(r, _)| *r)
    }
}

/// What the process reads from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stdin {
    /// `/dev/null`.
    #[default]
    Null,
    /// A pipe that stays open and is fed by [`crate::control::Request::Stdin`]. With a terminal, it is always the
    /// terminal.
    Keep,
}

/// The size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TtySize {
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
}

/// Which processes get the stop signal first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StopMode {
    /// The main process. The rest gets it when the main process has exited.
    #[default]
    Mixed,
    /// Every process of the tree, at the same time.
    Group,
}

/// How to stop a process and all its descendants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopPolicy {
    /// The first signal.
    pub signal: i32,
    /// Which processes get it first.
    pub mode: StopMode,
    /// How long they have until SIGKILL.
    pub grace: Duration,
}

impl Default for StopPolicy {
    /// SIGTERM to the main process, and ten seconds.
    fn default() -> Self {
        Self {
            signal: libc::SIGTERM,
            mode: StopMode::Mixed,
            grace: Duration::from_secs(10),
        }
    }
}

/// How much output to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// The bytes in a segment.
    pub max_size: u64,
    /// How many segments to keep. At least one is kept.
    pub max_files: u32,
}

impl Default for LogLimits {
    /// 5 segments of 64 MiB.
    fn default() -> Self {
        Self {
            max_size: 64 * 1024 * 1024,
            max_files: 5,
        }
    }
}

/// What a shim runs, and how. It contains secrets: `Debug` shows the names of variables but not their values.
#[derive(Clone, PartialEq, Eq)]
pub struct LaunchSpec {
    /// The program. Without a slash, it is searched in the PATH of `env`.
    pub program: PathBuf,
    /// Its arguments, without its name.
    pub args: Vec<OsString>,
    /// Its whole environment. HARNESS_RUN_ID is added, and with `user` also HOME, USER, LOGNAME and SHELL.
    pub env: Vec<(OsString, OsString)>,
    /// Its working directory.
    pub cwd: PathBuf,
    /// The user that it runs as: a name or a numeric uid that the system knows. `None`: the user that runs the shim.
    pub user: Option<String>,
    /// Its umask, the lower nine bits; `None`: 022.
    pub umask: Option<u32>,
    /// Its resource limits. Each sets both the soft and the hard limit.
    pub limits: Vec<(Resource, u64)>,
    /// Soft limits only, applied before `limits`: the ones that the starter had before it raised its own.
    pub soft_limits: Vec<(Resource, u64)>,
    /// What it reads from.
    pub stdin: Stdin,
    /// The size of its terminal. `None`: no terminal, but separate pipes for stdout and stderr.
    pub tty: Option<TtySize>,
    /// How to stop what it leaves behind when it exits by itself.
    pub stop: StopPolicy,
    /// How much of its output to keep.
    pub log: LogLimits,
    /// A cgroup to create and to move it into. `None`: its processes are found by walking its descendants.
    pub cgroup: Option<PathBuf>,
    /// Unique to this run. It is HARNESS_RUN_ID in its environment, and leftovers are found by it.
    pub run_id: String,
}

impl LaunchSpec {
    const TITLE: &'static str = "harness-spec";
    const FORMAT: u64 = 1;

    /// A specification with these values, and defaults for everything else.
    pub fn new(program: impl Into<PathBuf>, cwd: impl Into<PathBuf>, run_id: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            cwd: cwd.into(),
            user: None,
            umask: None,
            limits: Vec::new(),
            soft_limits: Vec::new(),
            stdin: Stdin::Null,
            tty: None,
            stop: StopPolicy::default(),
            log: LogLimits::default(),
            cgroup: None,
            run_id: run_id.into(),
        }
    }

    /// The content of the file.
    pub(crate) fn to_text(&self) -> Vec<u8> {
        let mut writer = TextWriter::new(Self::TITLE, Self::FORMAT);
        writer
            .value("run_id", &self.run_id)
            .bytes("program", self.program.as_os_str().as_bytes())
            .bytes("cwd", self.cwd.as_os_str().as_bytes());
        for arg in &self.args {
            writer.bytes("arg", arg.as_bytes());
        }
        for (name, value) in &self.env {
            writer.bytes("env", &[name.as_bytes(), b"=", value.as_bytes()].concat());
        }
        if let Some(user) = &self.user {
            writer.value("user", user);
        }
        if let Some(umask) = self.umask {
            writer.value("umask", format_args!("{umask:04o}"));
        }
        for (resource, limit) in &self.limits {
            writer.value("limit", format_args!("{} {limit}", resource.name()));
        }
        for (resource, limit) in &self.soft_limits {
            writer.value("soft_limit", format_args!("{} {limit}", resource.name()));
        }
        let stdin = match self.stdin {
            Stdin::Null => "null",
            Stdin::Keep => "keep",
        };
        writer.value("stdin", stdin);
        if let Some(TtySize { cols, rows }) = self.tty {
            writer.value("tty", format_args!("{cols} {rows}"));
        }
        let mode = match self.stop.mode {
            StopMode::Mixed => "mixed",
            StopMode::Group => "group",
        };
        let grace = u64::try_from(self.stop.grace.as_nanos()).unwrap_or(u64::MAX);
        writer.value("stop", format_args!("{} {mode} {grace}", self.stop.signal));
        writer.value(
            "log",
            format_args!("{} {}", self.log.max_size, self.log.max_files),
        );
        if let Some(cgroup) = &self.cgroup {
            writer.bytes("cgroup", cgroup.as_os_str().as_bytes());
        }
        writer.finish()
    }

    /// Reads an open file from its beginning. It is the lock file that a shim holds, and may have no name any more.
    ///
    /// # Errors
    /// When it cannot be read, or is not a specification.
    pub fn read(file: File) -> io::Result<Self> {
        let mut text = Vec::new();
        // Read one byte more than allowed, so that a file that is too large is noticed.
        file.take(MAX_FILE + 1).read_to_end(&mut text)?;
        if text.len() as u64 > MAX_FILE {
            return Err(io::Error::other(ParseError::TooLarge));
        }
        Self::from_text(&text).map_err(io::Error::other)
    }

    /// Parses the content of the file.
    pub(crate) fn from_text(text: &[u8]) -> Result<Self, ParseError> {
        let mut spec = Self::new("", "", "");
        for line in parse(text, Self::TITLE, Self::FORMAT)? {
            let line = line?;
            match line.key {
                "run_id" => spec.run_id = line.text()?.to_owned(),
                "program" => spec.program = line.os().into(),
                "cwd" => spec.cwd = line.os().into(),
                "arg" => spec.args.push(line.os()),
                "env" => spec
                    .env
                    .push(split_variable(line.bytes()).ok_or_else(|| line.bad())?),
                "user" => spec.user = Some(line.text()?.to_owned()),
                "umask" => spec.umask = Some(parse_umask(line.text()?).ok_or_else(|| line.bad())?),
                "limit" => spec
                    .limits
                    .push(parse_limit(&line.words()?).ok_or_else(|| line.bad())?),
                "soft_limit" => spec
                    .soft_limits
                    .push(parse_limit(&line.words()?).ok_or_else(|| line.bad())?),
                "stdin" => {
                    spec.stdin = match line.text()? {
                        "null" => Stdin::Null,
                        "keep" => Stdin::Keep,
                        _ => return Err(line.bad()),
                    }
                }
                "tty" => spec.tty = Some(parse_size(&line.words()?).ok_or_else(|| line.bad())?),
                "stop" => spec.stop = parse_stop(&line.words()?).ok_or_else(|| line.bad())?,
                "log" => spec.log = parse_log(&line.words()?).ok_or_else(|| line.bad())?,
                "cgroup" => spec.cgroup = Some(line.os().into()),
                _ => return Err(line.bad()),
            }
        }
        if spec.program.as_os_str().is_empty() {
            return Err(ParseError::Missing("program"));
        }
        if spec.cwd.as_os_str().is_empty() {
            return Err(ParseError::Missing("cwd"));
        }
        if spec.run_id.is_empty() {
            return Err(ParseError::Missing("run_id"));
        }
        Ok(spec)
    }
}

fn split_variable(bytes: &[u8]) -> Option<(OsString, OsString)> {
    let at = bytes.iter().position(|&b| b == b'=')?;
    let (name, value) = (bytes.get(..at)?, bytes.get(at + 1..)?);
    Some((
        OsString::from_vec(name.to_vec()),
        OsString::from_vec(value.to_vec()),
    ))
}

/// The bits of a umask written in octal.
pub(crate) fn parse_umask(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 8).ok().filter(|bits| *bits <= 0o777)
}

fn parse_limit(words: &[&str]) -> Option<(Resource, u64)> {
    let [name, limit] = words else { return None };
    Some((Resource::from_name(name)?, limit.parse().ok()?))
}

fn parse_size(words: &[&str]) -> Option<TtySize> {
    let [cols, rows] = words else { return None };
    Some(TtySize {
        cols: cols.parse().ok()?,
        rows: rows.parse().ok()?,
    })
}

fn parse_stop(words: &[&str]) -> Option<StopPolicy> {
    let [signal, mode, grace] = words else { return None };
    Some(StopPolicy {
        signal: signal.parse().ok().filter(|s| (1..=64).contains(s))?,
        mode: match *mode {
            "mixed" => StopMode::Mixed,
            "group" => StopMode::Group,
            _ => return None,
        },
        grace: Duration::from_nanos(grace.parse().ok()?),
    })
}

fn parse_log(words: &[&str]) -> Option<LogLimits> {
    let [max_size, max_files] = words else { return None };
    Some(LogLimits {
        max_size: max_size.parse().ok()?,
        max_files: max_files.parse().ok()?,
    })
}

impl fmt::Debug for LaunchSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.env.iter().map(|(name, _)| name).collect();
        f.debug_struct("LaunchSpec")
            .field("program", &self.program)
            .field("args", &self.args.len())
            .field("env", &names)
            .field("cwd", &self.cwd)
            .field("user", &self.user)
            .field("umask", &self.umask)
            .field("limits", &self.limits)
            .field("soft_limits", &self.soft_limits)
            .field("stdin", &self.stdin)
            .field("tty", &self.tty)
            .field("stop", &self.stop)
            .field("log", &self.log)
            .field("cgroup", &self.cgroup)
            .field("run_id", &self.run_id)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> LaunchSpec {
        LaunchSpec {
            args: vec![
                "a b".into(),
                OsString::from_vec(vec![0xff, b'\n', b'\\']),
                "".into(),
            ],
            env: vec![("A".into(), "x=y".into()), ("PASSWORD".into(), "hunter2".into())],
            user: Some("nobody".into()),
            umask: Some(0o27),
            limits: vec![(Resource::OpenFiles, 64), (Resource::Core, 0)],
            soft_limits: vec![(Resource::OpenFiles, 32)],
            stdin: Stdin::Keep,
            tty: Some(TtySize { cols: 80, rows: 24 }),
            stop: StopPolicy {
                signal: 2,
                mode: StopMode::Group,
                grace: Duration::from_millis(1500),
            },
            log: LogLimits {
                max_size: 1,
                max_files: 2,
            },
            cgroup: Some("/sys/fs/cgroup/x".into()),
            ..LaunchSpec::new("/bin/sh", "/tmp", "r-1")
        }
    }

    #[test]
    fn the_file_survives_the_round_trip() {
        for spec in [full(), LaunchSpec::new("sh", "/", "r")] {
            assert_eq!(LaunchSpec::from_text(&spec.to_text()), Ok(spec));
        }
    }

    #[test]
    fn values_of_variables_are_not_shown() {
        assert!(!format!("{:?}", full()).contains("hunter2"));
    }

    #[test]
    fn every_resource_has_its_name() {
        for (resource, name) in Resource::NAMES {
            assert_eq!(
                (resource.name(), Resource::from_name(name)),
                (name, Some(resource))
            );
        }
    }
}

//! Runs commands on this machine. With a shim, they run under `harness-shim command`. There they have a session of
//! their own, so that they cannot reach the terminal of whoever started this process, and a supervisor ends everything
//! that they leave. The shim also switches users and sets up terminals, so that no code runs between fork and exec in
//! this large process.

use std::collections::VecDeque;
use std::process::ExitStatus;
use std::time::Duration;

use futures_lite::future;
use harness_shim::run_dir::Resource;

use crate::command::{Command, Form};
use crate::layer::Layer;
use crate::patience::pass;
use crate::process::{ProcessEvent, Running, SpawnError};
use crate::shim_binary::Shim;

/// How many bytes of each stream [`Executor::run`] keeps: the last 256 KiB.
pub const OUTPUT_TAIL: usize = 256 * 1024;

/// Runs commands on this machine. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Executor {
    shim: Option<Shim>,
    soft_limits: Vec<(Resource, u64)>,
}

impl Executor {
    /// Runs commands on this machine, without switching users and without terminals.
    pub fn local() -> Self {
        Self::default()
    }

    /// Sets the shim binary. Commands are then supervised, and can have users and terminals.
    #[must_use]
    pub fn with_shim(mut self, shim: impl Into<Shim>) -> Self {
        self.shim = Some(shim.into());
        self
    }

    /// Gives every supervised command these soft limits instead of this process's own.
    #[must_use]
    pub fn with_soft_limits(mut self, limits: Vec<(Resource, u64)>) -> Self {
        self.soft_limits = limits;
        self
    }

    /// Starts a command, which the handle owns.
    ///
    /// # Errors
    /// When this machine cannot start it.
    pub fn spawn(&self, command: Command) -> Result<Running, SpawnError> {
        Running::spawn(match &self.shim {
            Some(shim) => self.supervised(shim, command),
            None => command,
        })
    }

    /// The command of the supervisor.
    fn supervised(&self, shim: &Shim, mut command: Command) -> Command {
        let mut args = vec![harness_shim::command::VERB.into()];
        if let Some(user) = command.user.take() {
            args.extend(["--user".into(), user.into()]);
        }
        if let Some(umask) = command.umask.take() {
            args.extend(["--umask".into(), format!("{umask:04o}").into()]);
        }
        if let Some(dir) = command.cwd.take() {
            args.extend(["--cwd".into(), dir.into()]);
        }
        if command.tty.is_some() {
            args.push("--tty".into());
        }
        for (resource, limit) in &self.soft_limits {
            args.extend([
                "--soft-limit".into(),
                format!("{}={limit}", resource.name()).into(),
            ]);
        }
        args.push("--".into());
        command.form = Form::Supervised(shim.clone());
        command.through(Layer::new(shim.path()).args::<std::ffi::OsString>(args))
    }

    /// Runs a command to its end and keeps the tail of its output. Its stdin is empty. When `timeout` passes or this
    /// future is dropped, everything of the command is killed. What the command leaves behind when it ends is killed
    /// too.
    ///
    /// # Errors
    /// When it cannot be started, its output cannot be read, or the timeout passes.
    pub async fn run(&self, command: Command, timeout: Option<Duration>) -> Result<Output, RunError> {
        let program = command.program.to_string_lossy().into_owned();
        let expired = async {
            match timeout {
                Some(timeout) => pass(timeout).await,
                None => future::pending().await,
            }
        };
        let ran = self.run_until(command, expired).await?;
        match ran.status {
            Some(status) => Ok(Output {
                status,
                stdout: ran.stdout,
                stderr: ran.stderr,
            }),
            None => Err(RunError::Timeout {
                program,
                after: timeout.unwrap_or_default(),
                stdout: ran.stdout,
                stderr: ran.stderr,
            }),
        }
    }

    /// Runs a command until it ends or `expired` completes; in the second case everything of it is gone when this
    /// returns. Its stdin is empty, and the tail of its output is kept. Dropping this future kills everything of it.
    ///
    /// # Errors
    /// When it cannot be started, its output cannot be read, or something of it does not end.
    pub async fn run_until(
        &self,
        command: Command,
        expired: impl Future<Output = ()>,
    ) -> Result<Ran, RunError> {
        let program = command.program.to_string_lossy().into_owned();
        let mut running = self.spawn(command)?;
        // Nobody will write to it, so it reads end of file.
        drop(running.take_stdin());
        let mut stdout = Tail::default();
        let mut stderr = Tail::default();
        let ended = {
            let drain = async {
                loop {
                    match running.next_event().await? {
                        Some(ProcessEvent::Stdout(bytes)) => stdout.push(&bytes),
                        Some(ProcessEvent::Stderr(bytes)) => stderr.push(&bytes),
                        Some(ProcessEvent::Exited(status)) => return Ok(Some(status)),
                        None => return running.wait().await.map(Some),
                    }
                }
            };
            let expired = async {
                expired.await;
                Ok(None)
            };
            future::or(drain, expired).await
        };
        let failed = |source| RunError::Io { program, source };
        let status = match ended {
            Ok(status) => status,
            Err(source) => return Err(failed(source)),
        };
        let rest = match status {
            Some(_) => Some(running),
            None => {
                running.end().await.map_err(failed)?;
                None
            }
        };
        Ok(Ran {
            status,
            stdout: stdout.into(),
            stderr: stderr.into(),
            rest,
        })
    }
}

/// What became of a command that ran until it ended or something else happened.
#[derive(Debug)]
pub struct Ran {
    /// How it ended; `None` if it was killed.
    pub status: Option<ExitStatus>,
    /// What it wrote to stdout.
    pub stdout: TailBytes,
    /// What it wrote to stderr.
    pub stderr: TailBytes,
    /// What it left behind, if anything. Dropping this ends it.
    pub rest: Option<Running>,
}

/// How a command ended, and the end of its output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to stdout.
    pub stdout: TailBytes,
    /// What it wrote to stderr.
    pub stderr: TailBytes,
}

/// The last bytes of a stream, at most [`OUTPUT_TAIL`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TailBytes {
    /// The bytes kept.
    pub bytes: Vec<u8>,
    /// How many bytes before them were dropped.
    pub dropped: u64,
}

impl TailBytes {
    /// The bytes as text. Invalid UTF-8 is replaced.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }
}

/// Why a command did not run to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// It could not be started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// It did not end in time, so everything of it was killed.
    #[error("`{program}` did not end within {after:?} and was killed")]
    Timeout {
        /// The program.
        program: String,
        /// The time that it was given.
        after: Duration,
        /// What it had written to stdout.
        stdout: TailBytes,
        /// What it had written to stderr.
        stderr: TailBytes,
    },
    /// Its output or exit status could not be read.
    #[error("cannot follow `{program}`")]
    Io {
        /// The program.
        program: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

/// The last [`OUTPUT_TAIL`] bytes of everything that is pushed.
#[derive(Default)]
struct Tail {
    kept: VecDeque<u8>,
    dropped: u64,
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.kept.extend(bytes);
        let excess = self.kept.len().saturating_sub(OUTPUT_TAIL);
        self.kept.drain(..excess);
        self.dropped += excess as u64;
    }
}

impl From<Tail> for TailBytes {
    fn from(tail: Tail) -> Self {
        Self {
            bytes: tail.kept.into(),
            dropped: tail.dropped,
        }
    }
}

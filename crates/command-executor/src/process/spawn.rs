//! Starts a child in the fast way. Everything here makes sure that `std` uses `posix_spawn` (no `pre_exec`, no user
//! switch, and the program is already a path), because a fork copies the page tables of a large process.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;

use async_io::Async;
use harness_shim::command::Channel;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::supervision::Supervision;
use super::{Phase, Running, Source, Stdin};
use crate::command::{Command, Form, StdinMode};
use crate::pty;

/// Why a process could not be started. Nothing of it runs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// Switching users, a terminal or a umask needs the shim, but the command was to be started without it.
    #[error("switching users, terminals and umasks need the harness-shim binary, but none was given")]
    ShimNeeded,
    /// The program has no slash and is in no directory of `PATH`.
    #[error("`{program}` is not in PATH ({path})")]
    NotFound {
        /// The program.
        program: String,
        /// The directories that were searched.
        path: String,
    },
    /// The working directory cannot be entered.
    #[error("cannot enter the working directory {}", path.display())]
    WorkingDir {
        /// The directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// An operation of the system failed.
    #[error("cannot start {}: {operation} failed", program.display())]
    System {
        /// The program.
        program: PathBuf,
        /// The operation that failed.
        operation: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Kills and reaps a child if its start is given up halfway.
struct Guard(Option<Child>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // Both fail only if it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Running {
    /// Starts a command on this machine as a direct child, without a supervisor.
    ///
    /// # Errors
    /// When it cannot be started, or asks for what only the shim can do.
    pub fn spawn(command: Command) -> Result<Self, SpawnError> {
        let is_plain = command.user.is_none() && command.tty.is_none() && command.umask.is_none();
        if !is_plain && !matches!(command.form, Form::Supervised(_)) {
            return Err(SpawnError::ShimNeeded);
        }
        let program = resolve(&command)?;
        let fail = |operation: &'static str| {
            let program = program.clone();
            move |source: io::Error| SpawnError::System {
                program,
                operation,
                source,
            }
        };

        let mut plain = new_command(&program);
        plain.arg0(&command.program).args(&command.args);
        if command.clear_env {
            plain.env_clear();
        }
        plain.envs(&command.env);
        if let Some(dir) = &command.cwd {
            plain.current_dir(dir);
        }
        let mut master = None;
        let mut stdin = None;
        let mut channel = None;
        if let Some(size) = command.tty {
            let pair = pty::open(size)
                .map_err(io::Error::from)
                .map_err(fail("opening a terminal"))?;
            let copy = || pair.slave.try_clone().map_err(fail("opening a terminal"));
            plain.stdin(copy()?).stdout(copy()?).stderr(copy()?);
            if let Form::Supervised(_) = command.form {
                channel =
                    Some(supervise(&mut plain, Some(copy()?.as_fd())).map_err(fail("opening a channel"))?);
            }
            master = Some(pair.master);
        } else {
            let theirs = if command.stdin == StdinMode::Piped {
                let (theirs, mine) = io::pipe().map_err(fail("opening a pipe"))?;
                stdin = Some(OwnedFd::from(mine));
                Some(OwnedFd::from(theirs))
            } else {
                None
            };
            plain.stdout(Stdio::piped()).stderr(Stdio::piped());
            if let Form::Supervised(_) = command.form {
                let stdin = theirs.as_ref().map(AsFd::as_fd);
                channel = Some(supervise(&mut plain, stdin).map_err(fail("opening a channel"))?);
            } else {
                plain.stdin(theirs.map_or_else(Stdio::null, Stdio::from));
            }
        }
        if command.form == Form::Direct && master.is_none() {
            plain.process_group(0);
        }

        let spawned = match &command.form {
            Form::Supervised(shim) => shim.start(|_| plain.spawn()),
            Form::Direct | Form::OwnSession => plain.spawn(),
        };
        let child = spawned.map_err(|source| match &command.cwd {
            Some(dir) if !dir.is_dir() => SpawnError::WorkingDir {
                path: dir.clone(),
                source: std::fs::read_dir(dir).err().unwrap_or(source),
            },
            _ => fail("exec")(source),
        })?;
        // Its copies of the terminal's other end must be closed, or the end of the output is never seen.
        drop(plain);
        let pid = child_pid(&child);
        let mut guard = Guard(Some(child));
        let pidfd = pidfd_open(pid, PidfdFlags::empty())
            .map_err(io::Error::from)
            .and_then(Async::new)
            .map_err(fail("pidfd_open"))?;

        let watch = fail("watching its streams");
        let streams = guard
            .0
            .as_mut()
            .map(|child| (child.stdout.take(), child.stderr.take()));
        let (stdout, stderr) = streams.unwrap_or_default();
        let (stdin, stdout, stderr, terminal) = match master {
            Some(master) => {
                let master = Arc::new(Async::new(master).map_err(watch)?);
                let stdin = Stdin::terminal(Arc::clone(&master));
                let stdout = Source::terminal(Arc::clone(&master));
                (Some(stdin), Some(stdout), None, Some(master))
            }
            None => {
                let stdin = stdin.map(Stdin::pipe).transpose().map_err(watch.clone())?;
                let source = |fd: OwnedFd| Source::pipe(fd).map_err(watch.clone());
                let stdout = stdout.map(|fd| source(fd.into())).transpose()?;
                let stderr = stderr.map(|fd| source(fd.into())).transpose()?;
                (stdin, stdout, stderr, None)
            }
        };
        let supervisor = channel
            .map(|channel| Supervision::new(channel, &command))
            .transpose()
            .map_err(fail("watching it"))?;
        guard.0 = None;
        Ok(Self {
            pid,
            pidfd: Some(pidfd),
            supervision: supervisor,
            stdin,
            stdout,
            stderr,
            terminal,
            phase: Phase::Running,
        })
    }
}

/// Gives the supervisor its end of a channel, and sends it the stdin of its program over the channel.
fn supervise(supervisor: &mut std::process::Command, stdin: Option<BorrowedFd<'_>>) -> io::Result<Channel> {
    let (channel, theirs) = Channel::pair()?;
    channel.give_stdin(stdin)?;
    supervisor.stdin(theirs);
    Ok(channel)
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the place that spawns processes"
)]
fn new_command(program: &Path) -> std::process::Command {
    std::process::Command::new(program)
}

fn child_pid(child: &Child) -> Pid {
    #[expect(clippy::expect_used, reason = "the id of a running child is never 0")]
    i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .expect("a child has a pid")
}

/// The path of the command's program. It is searched in the command's own `PATH`, as `execvp` would do in the child.
fn resolve(command: &Command) -> Result<PathBuf, SpawnError> {
    let program = Path::new(&command.program);
    if program.as_os_str().as_encoded_bytes().contains(&b'/') {
        return Ok(program.to_path_buf());
    }
    let path = match command.env.get("PATH".as_ref() as &std::ffi::OsStr) {
        Some(path) => path.clone(),
        None if command.clear_env => OsString::from("/bin:/usr/bin"),
        None => std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into()),
    };
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|candidate| is_executable(command, candidate))
        .ok_or_else(|| SpawnError::NotFound {
            program: program.display().to_string(),
            path: path.to_string_lossy().into_owned(),
        })
}

fn is_executable(command: &Command, candidate: &Path) -> bool {
    let candidate = match &command.cwd {
        Some(dir) => dir.join(candidate),
        None => candidate.to_path_buf(),
    };
    candidate.is_file() && rustix::fs::access(&candidate, rustix::fs::Access::EXEC_OK).is_ok()
}

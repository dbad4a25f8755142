//! A direct child. This process may stop it, and reads its output while it runs.
//!
//! ```text
//!   spawn ──▶ Stdout | Stderr … ──▶ Exited ──▶ (end of events)
//! ```
//!
//! `Exited` comes after everything that the process itself had written. It does not wait for the output of processes
//! that were left behind, because they may keep the pipe open forever.
//!
//! The child is not reaped until its handle is dropped, so that its pid, and with it its process group, cannot come
//! to mean another process. Dropping the handle kills the group. Use [`Running::detach`] to let a process go on.
//!
//! With a shim, the child is a supervisor just for this command. Then dropping the handle ends everything that came
//! from the command, whatever session or environment that has, including what the command left behind when it ended.

mod spawn;
mod stream;
mod supervision;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;

use async_io::{Async, Timer};
use async_trait::async_trait;
use blocking::unblock;
use futures_lite::future;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_send_signal, waitid};

use harness_shim::command::Request;
use harness_shim::tree;

use crate::attached::signal_from_number;
use crate::command::WindowSize;
use crate::host::{HostError, Input, Managed};
use crate::pty;
use crate::reaper::{self, Reaping};

pub use spawn::SpawnError;
use stream::Source;
pub use stream::Stdin;
use supervision::Supervision;
pub(crate) use supervision::Supervisor;

/// Something that happens to a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessEvent {
    /// It wrote this to stdout, or to its terminal.
    Stdout(Vec<u8>),
    /// It wrote this to stderr.
    Stderr(Vec<u8>),
    /// It ended.
    Exited(ExitStatus),
}

/// A managed process: a direct child that is killed, together with its process group, when this is dropped.
#[derive(Debug)]
pub struct Running {
    pid: Pid,
    /// Only `detach` and `drop` take it.
    pidfd: Option<Async<OwnedFd>>,
    supervision: Option<Supervision>,
    stdin: Option<Stdin>,
    stdout: Option<Source>,
    stderr: Option<Source>,
    terminal: Option<Arc<Async<OwnedFd>>>,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Running as far as we know.
    Running,
    /// It has ended. `Exited` follows when the streams are read.
    Draining(ExitStatus),
    /// `Exited` was reported.
    Ended(ExitStatus),
}

/// What one turn of the event loop found.
enum Turn {
    Stdout(io::Result<Vec<u8>>),
    Stderr(io::Result<Vec<u8>>),
    Exit(io::Result<ExitStatus>),
}

impl Running {
    /// Its process id, on this machine.
    pub fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Its standard input, to be written and closed from elsewhere; `None` if it has none or if it was taken already.
    pub fn take_stdin(&mut self) -> Option<Stdin> {
        self.stdin.take()
    }

    /// The next event; `None` after `Exited`. Cancelling the future loses nothing.
    ///
    /// If a process writes more than its pipes hold, it waits until its events are read, here or in [`Self::wait`].
    /// Both streams are always read together, so that neither can block the other.
    ///
    /// # Errors
    /// When a stream or the exit status cannot be read.
    pub async fn next_event(&mut self) -> io::Result<Option<ProcessEvent>> {
        loop {
            match self.phase {
                Phase::Ended(_) => return Ok(None),
                Phase::Draining(status) => {
                    if let Some(bytes) = rest(&mut self.stdout)? {
                        return Ok(Some(ProcessEvent::Stdout(bytes)));
                    }
                    if let Some(bytes) = rest(&mut self.stderr)? {
                        return Ok(Some(ProcessEvent::Stderr(bytes)));
                    }
                    self.phase = Phase::Ended(status);
                    return Ok(Some(ProcessEvent::Exited(status)));
                }
                Phase::Running => {}
            }
            let Some(pidfd) = &self.pidfd else { return Ok(None) };
            let turn = future::race(
                future::race(
                    async { Turn::Stdout(next_bytes(&mut self.stdout).await) },
                    async { Turn::Stderr(next_bytes(&mut self.stderr).await) },
                ),
                async {
                    Turn::Exit(match &self.supervision {
                        Some(supervision) => supervision.exit_status().await,
                        None => exit_status(pidfd).await,
                    })
                },
            )
            .await;
            match turn {
                Turn::Stdout(bytes) => match bytes? {
                    bytes if bytes.is_empty() => self.stdout = None,
                    bytes => return Ok(Some(ProcessEvent::Stdout(bytes))),
                },
                Turn::Stderr(bytes) => match bytes? {
                    bytes if bytes.is_empty() => self.stderr = None,
                    bytes => return Ok(Some(ProcessEvent::Stderr(bytes))),
                },
                Turn::Exit(status) => {
                    let status = status?;
                    for source in [&mut self.stdout, &mut self.stderr].into_iter().flatten() {
                        source.limit_to_written()?;
                    }
                    self.phase = Phase::Draining(status);
                }
            }
        }
    }

    /// Waits for its end and discards what it still writes. Returns at once if it has ended.
    ///
    /// # Errors
    /// When a stream or the exit status cannot be read.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        loop {
            if let Phase::Ended(status) = self.phase {
                return Ok(status);
            }
            self.next_event().await?;
        }
    }

    /// Sends a signal to the process itself. Succeeds if the process has ended.
    ///
    /// # Errors
    /// When there is no such signal, or the process belongs to another user.
    pub fn signal(&self, number: i32) -> io::Result<()> {
        let signal = signal_from_number(number)?;
        if let Some(supervision) = &self.supervision {
            return supervision.ask(Request::Signal(number));
        }
        match &self.pidfd {
            Some(pidfd) => ended_is_fine(pidfd_send_signal(pidfd, signal)),
            None => Ok(()),
        }
    }

    /// Sends a signal to its process group: to itself and to whatever it started that has not left the group.
    ///
    /// # Errors
    /// When there is no such signal, or we may not signal anybody in the group.
    pub fn signal_group(&self, number: i32) -> io::Result<()> {
        let signal = signal_from_number(number)?;
        match &self.supervision {
            Some(supervision) => supervision.ask(Request::SignalGroup(number)),
            None => ended_is_fine(kill_process_group(self.pid, signal)),
        }
    }

    /// Kills everything that came from the command, without waiting for that. Without a supervisor, this kills the
    /// process, its group, and (while the process runs) its descendants outside of the group. A process that has lost
    /// its parents and left the group is not found in that case.
    pub fn kill_tree(&self) {
        let Some(pidfd) = &self.pidfd else { return };
        if let Some(supervision) = &self.supervision {
            return supervision.close();
        }
        let running = self.phase == Phase::Running;
        // Look for them before the kill: afterwards they have other parents.
        let descendants = match running {
            true => tree::descendants(self.id()).unwrap_or_default(),
            false => Vec::new(),
        };
        // The pidfd reaches a child that is not in its own group yet. All of these calls fail only if nobody is left
        // to kill, or nobody that we may kill.
        let _ = kill_process_group(self.pid, Signal::KILL);
        let _ = pidfd_send_signal(pidfd, Signal::KILL);
        for process in descendants {
            let _ = process.signal(Signal::KILL.as_raw());
        }
    }

    /// Tells the new size to the programs on its terminal.
    ///
    /// # Errors
    /// `Unsupported` when it does not run on a terminal.
    pub fn resize(&self, size: WindowSize) -> io::Result<()> {
        let Some(terminal) = &self.terminal else {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "the process does not run on a terminal",
            ));
        };
        Ok(pty::resize(terminal.as_fd(), size)?)
    }

    /// Kills everything that came from the command, and returns when it is gone: the process and what it left behind.
    /// Without a supervisor it waits only for the process itself.
    ///
    /// # Errors
    /// When something of it still exists after ten seconds.
    pub async fn end(mut self) -> io::Result<()> {
        self.kill_tree();
        // Take these only after the last wait: if this future is dropped before, the reaper gets the rest.
        if let (Some(pidfd), None) = (&self.pidfd, &self.supervision) {
            exit_status(pidfd).await?;
            return Ok(());
        }
        if let Some(pidfd) = &self.pidfd {
            let late = async {
                Timer::after(reaper::PATIENCE).await;
                Ok(())
            };
            future::or(pidfd.readable(), late).await?;
        }
        let (Some(pidfd), Some(supervision)) = (self.pidfd.take(), self.supervision.take()) else {
            return Ok(());
        };
        let supervisor = supervision.hand_over(self.id(), pidfd.into_inner()?);
        if reaper::try_reap(&supervisor.pidfd) == Reaping::Done {
            return Ok(());
        }
        unblock(move || {
            let swept = supervisor.sweep().map_err(io::Error::other);
            reaper::abandon(supervisor.pidfd);
            swept
        })
        .await
    }

    /// Lets the process, and what it has left behind, go on without this handle. Its output pipes are closed: if it
    /// still writes to them, it gets SIGPIPE. It is reaped when it ends. If it has a supervisor, it ends together
    /// with this process.
    pub fn detach(mut self) {
        self.release(reaper::keep);
    }

    fn release(&mut self, supervised: fn(Supervisor)) {
        let Some(pidfd) = self.pidfd.take().and_then(|fd| fd.into_inner().ok()) else {
            return;
        };
        match self.supervision.take() {
            Some(supervision) => supervised(supervision.hand_over(self.id(), pidfd)),
            None => reaper::abandon(pidfd),
        }
    }
}

#[async_trait]
impl Managed for Running {
    fn take_stdin(&mut self) -> Option<Input> {
        Some(Box::pin(Self::take_stdin(self)?))
    }

    async fn next_event(&mut self) -> Result<Option<ProcessEvent>, HostError<io::Error>> {
        Self::next_event(self).await.map_err(HostError::Failed)
    }

    fn signal_group(&self, number: i32) -> Result<(), HostError<io::Error>> {
        Self::signal_group(self, number).map_err(HostError::Failed)
    }

    fn resize(&self, size: WindowSize) -> Result<(), HostError<io::Error>> {
        Self::resize(self, size).map_err(HostError::Failed)
    }

    async fn end(self: Box<Self>) -> Result<(), HostError<io::Error>> {
        Self::end(*self).await.map_err(HostError::Failed)
    }

    fn detach(self: Box<Self>) {
        Self::detach(*self);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill_tree();
        self.release(reaper::end);
    }
}

/// The next bytes of a stream; empty at its end. Without a stream it never completes.
async fn next_bytes(source: &mut Option<Source>) -> io::Result<Vec<u8>> {
    match source {
        Some(source) => source.read().await,
        None => future::pending().await,
    }
}

/// What is left to read in a stream of an ended process.
fn rest(source: &mut Option<Source>) -> io::Result<Option<Vec<u8>>> {
    let Some(open) = source else { return Ok(None) };
    let bytes = open.read_rest()?;
    if bytes.is_none() {
        *source = None;
    }
    Ok(bytes)
}

/// How a child ended. Does not reap it.
async fn exit_status(pidfd: &Async<OwnedFd>) -> io::Result<ExitStatus> {
    loop {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::PidFd(pidfd.as_fd()), options) {
            Ok(Some(status)) => {
                let raw = match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => (code & 0xff) << 8,
                    (None, signal) => signal.unwrap_or(0),
                };
                return Ok(ExitStatus::from_raw(raw));
            }
            Ok(None) => pidfd.readable().await?,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn ended_is_fine(result: rustix::io::Result<()>) -> io::Result<()> {
    match result {
        Err(rustix::io::Errno::SRCH) => Ok(()),
        other => Ok(other?),
    }
}

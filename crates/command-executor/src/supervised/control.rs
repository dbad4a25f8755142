//! Asks a running shim for something, or does it without the shim if the shim's socket is gone.
//!
//! The socket is reached through the shim itself (`/proc/PID/cwd`): another run may have taken the path of the run
//! directory by now, and a run directory that was moved is still reached this way.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use async_io::Async;
use blocking::unblock;
use futures_lite::{AsyncReadExt, AsyncWriteExt, future};

use harness_shim::cgroup;
use harness_shim::control::{MAX_STDIN, Reply, Request, Scope, socket_path};
use harness_shim::identity::ProcessId;
use harness_shim::run_dir::{StopMode, StopPolicy, TtySize};
use harness_shim::tree;

use super::Supervised;
use crate::patience::pass;

/// How long a shim may take to answer. It has nothing else to do.
const ANSWER: Duration = Duration::from_secs(5);

/// How long a shim may take to end after it has stopped listening.
const ENDING: Duration = Duration::from_millis(500);

/// How many times the family of a shim is killed, if the shim cannot be asked to do that.
const ROUNDS: u32 = 50;

const SIGKILL: i32 = rustix::process::Signal::KILL.as_raw();
const SIGCONT: i32 = rustix::process::Signal::CONT.as_raw();

/// Why the shim did not fulfil a request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The service has ended.
    #[error("cannot {operation}: the service has ended")]
    NotRunning {
        /// The request.
        operation: &'static str,
    },
    /// Its stdin was not kept, or is closed.
    #[error("cannot {operation}: its stdin is closed")]
    NoStdin {
        /// The request.
        operation: &'static str,
    },
    /// It does not run on a terminal.
    #[error("cannot {operation}: it does not run on a terminal")]
    NoTerminal {
        /// The request.
        operation: &'static str,
    },
    /// The shim does not know the request, or could not fulfil it.
    #[error("cannot {operation}: the supervisor refused ({reply:?})")]
    Refused {
        /// The request.
        operation: &'static str,
        /// The answer of the shim.
        reply: Reply,
    },
    /// The shim does not answer.
    #[error("cannot {operation}: the supervisor does not answer")]
    NoAnswer {
        /// The request.
        operation: &'static str,
    },
    /// The connection to the shim failed.
    #[error("cannot {operation}: the connection to the supervisor failed")]
    Connection {
        /// The request.
        operation: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl Supervised {
    /// Begins to stop it. The signal has been sent when this returns, and after the grace period the shim kills
    /// whatever is left. [`Self::wait`] returns when it is gone. Succeeds if it has ended already.
    ///
    /// If the shim's socket was removed, the shim cannot be asked. Then the signal is sent directly, and the caller
    /// has to send SIGKILL.
    ///
    /// # Errors
    /// When the shim does not answer or refuses.
    pub(crate) async fn stop(&self, policy: StopPolicy) -> Result<(), ControlError> {
        let operation = "stop it";
        match ended_is_fine(self.ask(operation, Request::Stop(policy)).await) {
            Err(error) if error.is_unreachable() => {
                let this = self.clone();
                unblock(move || this.signal_past(policy.signal, policy.mode))
                    .await
                    .map_err(|source| ControlError::Connection { operation, source })
            }
            asked => asked,
        }
    }

    /// Sends a signal to its main process or to all of it, without asking the shim.
    fn signal_past(&self, signal: i32, mode: StopMode) -> io::Result<()> {
        let family = tree::descendants(self.identity().shim.pid)?;
        if !self.is_alive() {
            return Ok(());
        }
        let gets_it = |process: &ProcessId| mode == StopMode::Group || *process == self.identity().main;
        for process in family.iter().filter(|process| gets_it(process)) {
            process.signal(signal)?;
        }
        // A stopped process (SIGSTOP) handles the signal only after it continues.
        for process in family {
            process.signal(SIGCONT)?;
        }
        Ok(())
    }

    /// Kills all of it now. If the shim does not answer, the shim is killed and [`Self::wait`] kills the rest.
    /// Succeeds if it has ended already.
    ///
    /// # Errors
    /// When the shim can be neither asked nor killed.
    pub(crate) async fn kill(&self) -> Result<(), ControlError> {
        let operation = "kill it";
        match ended_is_fine(self.ask(operation, Request::Kill).await) {
            Ok(()) => Ok(()),
            Err(error) => {
                if error.is_unreachable() {
                    // While its shim lives, every process belongs to the shim's family. A shim without a family ends
                    // in good order.
                    let this = self.clone();
                    unblock(move || this.kill_family()).await;
                    if self.ends_soon().await {
                        return Ok(());
                    }
                }
                match self.0.shim.signal(SIGKILL) {
                    Ok(_) => Ok(()),
                    Err(source) => Err(ControlError::Connection { operation, source }),
                }
            }
        }
    }

    fn kill_family(&self) {
        if let Some(cgroup) = &self.0.cgroup {
            // What this cannot kill, the walk over the family does.
            let _ = cgroup::kill(cgroup);
        }
        for _ in 0..ROUNDS {
            let family = tree::descendants(self.identity().shim.pid).unwrap_or_default();
            if family.is_empty() || !self.is_alive() {
                return;
            }
            for process in family {
                // Whoever is left is found by the run id when the shim is dead.
                let _ = process.signal(SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Sends a signal to its main process, or to all of it.
    ///
    /// # Errors
    /// When it has ended, or the shim does not answer or refuses.
    pub(crate) async fn signal(&self, signal: i32, scope: Scope) -> Result<(), ControlError> {
        self.ask("signal it", Request::Signal { signal, scope }).await
    }

    /// Writes to its stdin or terminal. Returns when the process's pipe has taken all of it.
    ///
    /// # Errors
    /// When it has ended, its stdin was not kept or is closed, or the shim refuses.
    pub(crate) async fn send_stdin(&self, bytes: &[u8]) -> Result<(), ControlError> {
        let operation = "write to its stdin";
        let _together = self.0.stdin.lock().await;
        for chunk in bytes.chunks(MAX_STDIN) {
            // No deadline, because a process may read whenever it likes.
            self.exchange(operation, Request::Stdin(chunk.to_vec())).await?;
        }
        Ok(())
    }

    /// Closes its stdin. On a terminal, types the end-of-file character.
    ///
    /// # Errors
    /// When it has ended, its stdin was not kept or is closed, or the shim does not answer.
    pub(crate) async fn close_stdin(&self) -> Result<(), ControlError> {
        self.ask("close its stdin", Request::CloseStdin).await
    }

    /// Resizes its terminal.
    ///
    /// # Errors
    /// When it has ended, does not run on a terminal, or the shim does not answer.
    pub(crate) async fn resize(&self, size: TtySize) -> Result<(), ControlError> {
        let TtySize { cols, rows } = size;
        self.ask("resize its terminal", Request::Resize { cols, rows })
            .await
    }

    /// Sends a request that the shim answers at once.
    async fn ask(&self, operation: &'static str, request: Request) -> Result<(), ControlError> {
        let expired = async {
            pass(ANSWER).await;
            Err(ControlError::NoAnswer { operation })
        };
        future::or(self.exchange(operation, request), expired).await
    }

    async fn exchange(&self, operation: &'static str, request: Request) -> Result<(), ControlError> {
        let reply = match self.reply(&request).await {
            Ok(reply) => reply,
            Err(_) if self.ends_soon().await => return Err(ControlError::NotRunning { operation }),
            Err(source) => return Err(ControlError::Connection { operation, source }),
        };
        match reply {
            Some(Reply::Ok) => Ok(()),
            Some(Reply::NotRunning) => Err(ControlError::NotRunning { operation }),
            Some(Reply::NoStdin) => Err(ControlError::NoStdin { operation }),
            Some(Reply::NoTty) => Err(ControlError::NoTerminal { operation }),
            Some(reply @ (Reply::Invalid | Reply::Failed)) => Err(ControlError::Refused { operation, reply }),
            None => Err(ControlError::Refused {
                operation,
                reply: Reply::Invalid,
            }),
        }
    }

    /// Whether its shim has ended or is just ending: it stops listening a moment before.
    async fn ends_soon(&self) -> bool {
        let expired = async {
            pass(ENDING).await;
            false
        };
        future::or(async { self.0.shim.wait().await.is_ok() }, expired).await
    }

    async fn reply(&self, request: &Request) -> io::Result<Option<Reply>> {
        let dir = self.folder_of_shim()?;
        let mut stream = Async::<UnixStream>::connect(socket_path(dir.as_fd())).await?;
        stream.write_all(&request.encode()).await?;
        let mut reply = [0];
        stream.read_exact(&mut reply).await?;
        Ok(Reply::decode(reply[0]))
    }

    /// Its run directory, by any way that leads to it.
    fn folder_of_shim(&self) -> io::Result<File> {
        let opened = File::open(format!("/proc/{}/cwd", self.identity().shim.pid));
        match opened {
            Ok(dir) if self.is_alive() => {
                if !self.is_in_place() {
                    // The exit record will be written there, and once the shim is gone nothing else leads there. So
                    // keep it open.
                    let _ = dir.try_clone().map(|dir| self.0.elsewhere.set(dir));
                }
                Ok(dir)
            }
            // If the system lets not even the owner look, use the path.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => File::open(self.run_dir()),
            Ok(_) => Err(io::ErrorKind::NotFound.into()),
            Err(error) => Err(error),
        }
    }
}

impl ControlError {
    /// Whether the socket is gone, so that asking again will not help.
    fn is_unreachable(&self) -> bool {
        let Self::Connection { source, .. } = self else {
            return false;
        };
        matches!(
            source.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
        )
    }
}

fn ended_is_fine(result: Result<(), ControlError>) -> Result<(), ControlError> {
    match result {
        Err(ControlError::NotRunning { .. }) => Ok(()),
        other => other,
    }
}

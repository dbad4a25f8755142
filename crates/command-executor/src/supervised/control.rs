//! Asking a running shim for something.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use async_io::Async;
use futures_lite::{AsyncReadExt, AsyncWriteExt, future};

use harness_shim::control::{MAX_STDIN, Reply, Request, Scope, socket_path};
use harness_shim::run_dir::{StopPolicy, TtySize};

use super::Supervised;
use crate::patience::pass;

/// How long a shim may take to answer. It has nothing else to do.
const ANSWER: Duration = Duration::from_secs(5);

/// How long a shim may take to end after it has stopped listening.
const ENDING: Duration = Duration::from_millis(500);

const SIGKILL: i32 = rustix::process::Signal::KILL.as_raw();

/// A request that the shim did not fulfil.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The service has ended.
    #[error("cannot {operation}: the service has ended")]
    NotRunning {
        /// What was asked.
        operation: &'static str,
    },
    /// Its stdin was not kept, or is closed.
    #[error("cannot {operation}: its stdin is closed")]
    NoStdin {
        /// What was asked.
        operation: &'static str,
    },
    /// It runs on no terminal.
    #[error("cannot {operation}: it runs on no terminal")]
    NoTerminal {
        /// What was asked.
        operation: &'static str,
    },
    /// The shim does not know the request, or could not fulfil it.
    #[error("cannot {operation}: the supervisor refused ({reply:?})")]
    Refused {
        /// What was asked.
        operation: &'static str,
        /// Its answer.
        reply: Reply,
    },
    /// The shim does not answer.
    #[error("cannot {operation}: the supervisor does not answer")]
    NoAnswer {
        /// What was asked.
        operation: &'static str,
    },
    /// The connection to the shim failed.
    #[error("cannot {operation}: the connection to the supervisor failed")]
    Connection {
        /// What was asked.
        operation: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Supervised {
    /// Begins to stop it: the signal is sent when this returns, and after the grace period the shim kills
    /// whatever is left. [`Self::wait`] tells when it is gone. Success if it has ended.
    ///
    /// # Errors
    /// When the shim does not answer or refuses.
    pub async fn stop(&self, policy: StopPolicy) -> Result<(), ControlError> {
        ended_is_fine(self.ask("stop it", Request::Stop(policy)).await)
    }

    /// Sends a signal to its main process past its shim: for one that nobody can talk to any more because its run
    /// directory was removed. `false`: it has ended.
    ///
    /// # Errors
    /// When there is no such signal, or the process belongs to another user.
    pub fn signal_directly(&self, signal: i32) -> io::Result<bool> {
        self.identity().main.signal(signal)
    }

    /// Kills all of it now. A shim that does not answer is killed, and [`Self::wait`] kills the rest. Success if
    /// it has ended.
    ///
    /// # Errors
    /// When the shim can be neither asked nor killed.
    pub async fn kill(&self) -> Result<(), ControlError> {
        let operation = "kill it";
        match ended_is_fine(self.ask(operation, Request::Kill).await) {
            Ok(()) => Ok(()),
            Err(_) => match self.0.shim.signal(SIGKILL) {
                Ok(_) => Ok(()),
                Err(source) => Err(ControlError::Connection { operation, source }),
            },
        }
    }

    /// Sends a signal to its main process, or to all of it.
    ///
    /// # Errors
    /// When it has ended, or the shim does not answer or refuses.
    pub async fn signal(&self, signal: i32, scope: Scope) -> Result<(), ControlError> {
        self.ask("signal it", Request::Signal { signal, scope }).await
    }

    /// Writes to its stdin or terminal; returns when the process's pipe has taken all of it.
    ///
    /// # Errors
    /// When it has ended, its stdin was not kept or is closed, or the shim refuses.
    pub async fn send_stdin(&self, bytes: &[u8]) -> Result<(), ControlError> {
        let operation = "write to its stdin";
        let _together = self.0.stdin.lock().await;
        for chunk in bytes.chunks(MAX_STDIN) {
            // No deadline: a process may read when it likes.
            self.exchange(operation, Request::Stdin(chunk.to_vec())).await?;
        }
        Ok(())
    }

    /// Closes its stdin; on a terminal, types the end-of-file character.
    ///
    /// # Errors
    /// When it has ended, its stdin was not kept or is closed, or the shim does not answer.
    pub async fn close_stdin(&self) -> Result<(), ControlError> {
        self.ask("close its stdin", Request::CloseStdin).await
    }

    /// Resizes its terminal.
    ///
    /// # Errors
    /// When it has ended, runs on no terminal, or the shim does not answer.
    pub async fn resize(&self, size: TtySize) -> Result<(), ControlError> {
        let TtySize { cols, rows } = size;
        self.ask("resize its terminal", Request::Resize { cols, rows })
            .await
    }

    /// A request that is answered at once.
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

    /// Whether its shim has ended, or does so now: it stops listening a moment before.
    async fn ends_soon(&self) -> bool {
        let expired = async {
            pass(ENDING).await;
            false
        };
        future::or(async { self.0.shim.wait().await.is_ok() }, expired).await
    }

    async fn reply(&self, request: &Request) -> io::Result<Option<Reply>> {
        let dir = File::open(self.run_dir())?;
        let mut stream = Async::<UnixStream>::connect(socket_path(dir.as_fd())).await?;
        stream.write_all(&request.encode()).await?;
        let mut reply = [0];
        stream.read_exact(&mut reply).await?;
        Ok(Reply::decode(reply[0]))
    }
}

fn ended_is_fine(result: Result<(), ControlError>) -> Result<(), ControlError> {
    match result {
        Err(ControlError::NotRunning { .. }) => Ok(()),
        other => other,
    }
}

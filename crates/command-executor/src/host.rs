//! A machine on which things are run.
//!
//! ```text
//!                        Host
//!     exec · launch · adopt · records · put · find · stat · connect
//!                     |          |
//!                  Managed   Generation        what was begun there, and can be controlled
//! ```
//!
//! [`Local`](crate::Local) is this machine. Another host is a crate of its own that speaks with a session there. So
//! every argument and answer is an owned value that can be sent, and every answer can be [`HostError::NotReached`]:
//! then nobody knows more than before. That is never the same as "nothing runs".
//!
//! Paths are those of the host. Only a run directory is a folder of *this* machine, whatever the host: it is where
//! readers find the output of a run. This machine also runs the service in it. Another host makes a folder of its own,
//! which it finds again by the last parts of this path.
//!
//! A way for the processes of a host to reach this machine (`listen`) will stand here beside `connect`.

pub(crate) mod endpoint;
mod error;
mod values;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use futures_lite::{AsyncRead, AsyncWrite, future};

use crate::command::{Command, WindowSize};
use crate::logs::{FollowError, Read};
use crate::process::{ProcessEvent, SpawnError};
use crate::supervised::{
    AdoptError, Adopted, ControlError, Ended, LaunchError, LaunchSpec, ProcessId, Scope, StopPolicy, Trace,
    TtySize, WaitError,
};

pub use endpoint::{Endpoint, parse_port};
pub use error::{ConnectError, FindError, HostError, NotReached, PutError, WriteError};
pub use values::{Adoption, FileKind, PutFile, Search, Stat, Survivor, TakenOver};

/// A machine on which things are run.
#[async_trait]
pub trait Host: fmt::Debug + Send + Sync {
    /// Whether it is the machine of this process. Then its pids, its clock and its folders are ours.
    fn is_here(&self) -> bool;

    /// Starts a command. It is ours to stop: dropping it kills everything that came from it.
    ///
    /// # Errors
    /// When it cannot be started; nothing of it runs then.
    async fn exec(&self, command: Command) -> Result<Box<dyn Managed>, HostError<SpawnError>>;

    /// Starts a run under a supervisor, which outlives this process, and returns when its program runs. The run
    /// directory must not exist. The host adds its own part to the specification: a cgroup, and soft limits.
    ///
    /// Dropping the future halfway does not undo the launch; [`Self::adopt`] finds out what became of it.
    ///
    /// # Errors
    /// When nothing of it runs. Only after [`NotReached`] with `sent` something may: then [`Self::adopt`] finds out.
    async fn launch(
        &self,
        run_dir: PathBuf,
        spec: LaunchSpec,
    ) -> Result<Arc<dyn Generation>, HostError<LaunchError>>;

    /// Finds out what has become of a run, and takes it over if it lives.
    ///
    /// # Errors
    /// When that is not known.
    async fn adopt(&self, run: Adoption) -> Result<Adopted, HostError<AdoptError>>;

    /// The output of a run, from the record with this sequence number on, until the run is over. Records that are
    /// gone already are left out.
    ///
    /// # Errors
    /// When the output cannot be followed.
    async fn records(&self, run_dir: PathBuf, from: u64) -> Result<Box<dyn Records>, HostError<FollowError>>;

    /// Writes a file. No reader ever sees half of it.
    ///
    /// # Errors
    /// When it cannot be written, or its place is taken by what must stay.
    async fn put(&self, file: PutFile) -> Result<(), HostError<PutError>>;

    /// Finds a program, and checks the folder that it is to run in.
    ///
    /// # Errors
    /// When there is no such folder or program, or it cannot be executed.
    async fn find(&self, search: Search) -> Result<PathBuf, HostError<FindError>>;

    /// Looks at a file or folder. Links are followed.
    ///
    /// # Errors
    /// When it cannot be looked at; `NotFound` when there is none.
    async fn stat(&self, path: PathBuf) -> Result<Stat, HostError<io::Error>>;

    /// Connects to an address as the host sees it: `localhost` is the host itself.
    ///
    /// # Errors
    /// When nobody accepts there.
    async fn connect(&self, to: Endpoint) -> Result<Box<dyn Connection>, HostError<ConnectError>>;

    /// Ends the commands that former processes of this home left running there.
    ///
    /// # Errors
    /// When the host is not reached. What it cannot end is logged.
    async fn end_leftovers(&self) -> Result<(), NotReached>;

    /// The supervisors that former processes of this home left running there, oldest first. It finds them even if
    /// their run directories were removed.
    ///
    /// # Errors
    /// When they cannot be listed.
    async fn survey(&self) -> Result<Vec<Survivor>, HostError<io::Error>>;

    /// Takes over the run of a supervisor without its run directory; `None` if it has ended.
    ///
    /// # Errors
    /// When it cannot be watched.
    async fn take_over(&self, supervisor: ProcessId) -> Result<Option<TakenOver>, HostError<AdoptError>>;

    /// Removes what no living supervisor uses any more. Everything that lives must have been adopted.
    ///
    /// # Errors
    /// When the host is not reached. What it cannot remove stays for the next time.
    async fn sweep(&self) -> Result<(), NotReached>;
}

/// The input of a command.
pub type Input = Pin<Box<dyn AsyncWrite + Send + Sync>>;

/// A command at a host. Dropping it kills everything that came from the command.
#[async_trait]
pub trait Managed: fmt::Debug + Send + Sync {
    /// Its standard input, to be written while the events are read; `None` if it has none or if it was taken already.
    /// Dropping it ends the input.
    fn take_stdin(&mut self) -> Option<Input>;

    /// The next event; `None` after `Exited`. Cancelling the future loses nothing.
    ///
    /// # Errors
    /// When the command cannot be followed any more.
    async fn next_event(&mut self) -> Result<Option<ProcessEvent>, HostError<io::Error>>;

    /// Sends a signal to its process group. Succeeds if the command has ended.
    ///
    /// # Errors
    /// When there is no such signal, or it cannot be sent.
    fn signal_group(&self, number: i32) -> Result<(), HostError<io::Error>>;

    /// Tells the new size to the programs on its terminal.
    ///
    /// # Errors
    /// `Unsupported` when it does not run on a terminal.
    fn resize(&self, size: WindowSize) -> Result<(), HostError<io::Error>>;

    /// Kills everything that came from the command, and returns when it is gone.
    ///
    /// # Errors
    /// When something of it still exists after ten seconds.
    async fn end(self: Box<Self>) -> Result<(), HostError<io::Error>>;

    /// Lets what the command has left behind go on without this handle, until this process ends.
    fn detach(self: Box<Self>);
}

/// A run under its supervisor. Dropping it leaves the service running.
#[async_trait]
pub trait Generation: fmt::Debug + Send + Sync {
    /// What to remember of it. Its processes are those of its host.
    fn trace(&self) -> Trace;

    /// Whether its run directory at its host is in its place. If that is unknown, the answer is yes. Blocks on the
    /// disk.
    fn is_in_place(&self) -> bool;

    /// Waits until its host is not reached any more, or is reached again: returns the reason, or `None` when it is
    /// reached again. Never returns if the host is always reached, as this machine is. Cancelling the future loses
    /// nothing.
    async fn contact(&self) -> Option<NotReached> {
        future::pending().await
    }

    /// Waits until nothing of it is left, and returns how it ended. Any number of callers may wait. While its host is
    /// not reached, this waits on.
    ///
    /// # Errors
    /// When that is not known. A later call tries again.
    async fn wait(&self) -> Result<Ended, HostError<WaitError>>;

    /// Begins to stop it. The signal has been sent when this returns, and after the grace period the supervisor kills
    /// whatever is left. Succeeds if it has ended already.
    ///
    /// # Errors
    /// When the supervisor does not answer or refuses.
    async fn stop(&self, policy: StopPolicy) -> Result<(), HostError<ControlError>>;

    /// Kills all of it now. Succeeds if it has ended already.
    ///
    /// # Errors
    /// When the supervisor can be neither asked nor killed.
    async fn kill(&self) -> Result<(), HostError<ControlError>>;

    /// Sends a signal to its main process, or to all of it.
    ///
    /// # Errors
    /// When it has ended, or the supervisor does not answer or refuses.
    async fn signal(&self, signal: i32, scope: Scope) -> Result<(), HostError<ControlError>>;

    /// Writes to its stdin or terminal. Returns when the process's pipe has taken all of it.
    ///
    /// # Errors
    /// When it has ended, its stdin was not kept or is closed, or the supervisor refuses.
    async fn send_stdin(&self, bytes: Vec<u8>) -> Result<(), HostError<ControlError>>;

    /// Closes its stdin. On a terminal, types the end-of-file character.
    ///
    /// # Errors
    /// When it has ended, its stdin was not kept or is closed, or the supervisor does not answer.
    async fn close_stdin(&self) -> Result<(), HostError<ControlError>>;

    /// Resizes its terminal.
    ///
    /// # Errors
    /// When it has ended, does not run on a terminal, or the supervisor does not answer.
    async fn resize(&self, size: TtySize) -> Result<(), HostError<ControlError>>;
}

/// The output of a run as it arrives.
#[async_trait]
pub trait Records: fmt::Debug + Send {
    /// Reads on until it has about `max_bytes` or there is nothing more. Cancelling the future loses nothing.
    ///
    /// # Errors
    /// When the output cannot be read.
    async fn read(&mut self, max_bytes: usize) -> Result<Read, HostError<FollowError>>;

    /// Waits until there may be more. Cancelling the future loses nothing.
    async fn changed(&mut self);
}

/// A connection to an address at a host.
pub trait Connection: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin> Connection for T {}

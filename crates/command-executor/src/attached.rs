//! A process that is only watched: somebody else started it and somebody else stops it. Dropping the handle
//! does nothing to the process.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use async_io::Async;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, pidfd_send_signal};

use harness_shim::identity::ProcessId;

use crate::reaper;

/// A process that cannot be watched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// It has ended, or its pid belongs to another process now.
    #[error("process {pid} is gone")]
    Gone {
        /// The pid it had.
        pid: u32,
    },
    /// The system gives no pidfd.
    #[error("cannot watch process {pid}: {operation} failed")]
    System {
        /// Its pid.
        pid: u32,
        /// Which operation.
        operation: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A watched process. Clones watch the same one.
#[derive(Debug, Clone)]
pub struct AttachedHandle {
    process: ProcessId,
    /// `None`: it had ended before it could be watched.
    pidfd: Option<Arc<Async<OwnedFd>>>,
}

impl AttachedHandle {
    /// Watches the process that has this pid now.
    ///
    /// # Errors
    /// When there is none, or it cannot be watched.
    pub fn of_pid(pid: u32) -> Result<Self, AttachError> {
        let process = ProcessId::of(pid).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => AttachError::Gone { pid },
            _ => AttachError::System {
                pid,
                operation: "reading its start time",
                source,
            },
        })?;
        Self::open(process)
    }

    /// Watches this very process. One that has its pid, but is not it, counts as gone.
    ///
    /// # Errors
    /// When it is gone, or cannot be watched.
    pub fn open(process: ProcessId) -> Result<Self, AttachError> {
        let pid = process.pid;
        let fail = |operation| {
            move |source| AttachError::System {
                pid,
                operation,
                source,
            }
        };
        let pidfd = process
            .open_pidfd()
            .map_err(fail("pidfd_open"))?
            .ok_or(AttachError::Gone { pid })?;
        Self::from_pidfd(process, pidfd).map_err(fail("registering it for events"))
    }

    /// A process whose pidfd is known to be its own.
    pub(crate) fn from_pidfd(process: ProcessId, pidfd: OwnedFd) -> io::Result<Self> {
        let pidfd = Some(Arc::new(Async::new(pidfd)?));
        Ok(Self { process, pidfd })
    }

    /// A process that is known to have ended, and to be no child of this one.
    pub(crate) fn ended(process: ProcessId) -> Self {
        Self { process, pidfd: None }
    }

    /// Which process it is.
    pub fn process(&self) -> &ProcessId {
        &self.process
    }

    /// Waits until it has ended. How it ended only its parent learns, and its parent reaps it.
    ///
    /// # Errors
    /// When the pidfd cannot be waited for.
    pub async fn wait(&self) -> io::Result<()> {
        // Asked first: an event that came before anybody waited is not told again.
        while let Some(pidfd) = &self.pidfd
            && !self.has_ended()
        {
            pidfd.readable().await?;
        }
        Ok(())
    }

    /// Reaps it, if it has ended and is a child of this process.
    pub(crate) fn reap(&self) {
        if let Some(pidfd) = &self.pidfd {
            reaper::try_reap(&**pidfd);
        }
    }

    /// Whether it still runs. A zombie has ended.
    pub fn is_alive(&self) -> bool {
        !self.has_ended()
    }

    /// Sends it a signal; `false` when it has ended.
    ///
    /// # Errors
    /// When there is no such signal, or the process belongs to another user.
    pub fn signal(&self, number: i32) -> io::Result<bool> {
        let signal = signal_from_number(number)?;
        let Some(pidfd) = &self.pidfd else {
            return Ok(false);
        };
        match pidfd_send_signal(&**pidfd, signal) {
            Ok(()) => Ok(self.is_alive()),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// If it is a child of this process, has it reaped whenever it ends.
    pub(crate) fn leave_to_reaper(&self) {
        if let Some(pidfd) = &self.pidfd
            && reaper::try_reap(&**pidfd) == reaper::Reaping::Alive
            && let Ok(pidfd) = pidfd.as_fd().try_clone_to_owned()
        {
            reaper::abandon(pidfd);
        }
    }

    fn has_ended(&self) -> bool {
        let Some(pidfd) = &self.pidfd else {
            return true;
        };
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let mut fds = [PollFd::new(&**pidfd, PollFlags::IN)];
        matches!(poll(&mut fds, Some(&now)), Ok(ready) if ready > 0)
    }
}

/// The signal of this number. Realtime signals are not sent from here.
pub(crate) fn signal_from_number(number: i32) -> io::Result<Signal> {
    Signal::from_named_raw(number).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{number} is not the number of a signal"),
        )
    })
}

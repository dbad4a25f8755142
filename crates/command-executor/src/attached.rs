//! A process that is only watched: somebody else started it, and somebody else stops it. Dropping the handle does
//! nothing to the process.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use async_io::Async;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, pidfd_send_signal};

use harness_shim::identity::ProcessId;

use crate::reaper;

/// Why a process cannot be watched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// It has ended, or its pid belongs to another process now.
    #[error("process {pid} is gone")]
    Gone {
        /// The pid it had.
        pid: u32,
    },
    /// The system does not give a pidfd.
    #[error("cannot watch process {pid}: {operation} failed")]
    System {
        /// Its pid.
        pid: u32,
        /// The operation that failed.
        operation: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// A watched process. Clones watch the same one.
#[derive(Debug, Clone)]
pub(crate) struct AttachedHandle {
    /// `None` if the process had ended before it could be watched.
    pidfd: Option<Arc<Async<OwnedFd>>>,
}

impl AttachedHandle {
    /// Watches exactly this process. If another process has its pid now, this one counts as gone.
    ///
    /// # Errors
    /// When it is gone, or cannot be watched.
    pub(crate) fn open(process: &ProcessId) -> Result<Self, AttachError> {
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
        Self::from_pidfd(pidfd).map_err(fail("registering it for events"))
    }

    /// The process of a pidfd that is known to be its own.
    pub(crate) fn from_pidfd(pidfd: OwnedFd) -> io::Result<Self> {
        let pidfd = Some(Arc::new(Async::new(pidfd)?));
        Ok(Self { pidfd })
    }

    /// A process that is known to have ended and not to be a child of this one.
    pub(crate) fn ended() -> Self {
        Self { pidfd: None }
    }

    /// Waits until it has ended. Only its parent learns how it ended and reaps it.
    ///
    /// # Errors
    /// When the pidfd cannot be waited for.
    pub(crate) async fn wait(&self) -> io::Result<()> {
        // Check first: an event that came before anybody waited is not reported again.
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

    /// Whether it still runs. A zombie counts as ended.
    pub(crate) fn is_alive(&self) -> bool {
        !self.has_ended()
    }

    /// Sends it a signal; returns `false` if it has ended.
    ///
    /// # Errors
    /// When there is no such signal, or the process belongs to another user.
    pub(crate) fn signal(&self, number: i32) -> io::Result<bool> {
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

    /// If it is a child of this process, lets the reaper reap it when it ends.
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

/// The signal with this number. Realtime signals are not supported here.
pub(crate) fn signal_from_number(number: i32) -> io::Result<Signal> {
    Signal::from_named_raw(number).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{number} is not the number of a signal"),
        )
    })
}

#[cfg(test)]
mod tests {
    use futures_lite::future::block_on;

    use super::*;
    use crate::{Command, Running};

    #[test]
    fn an_attached_handle_never_stops_its_process() {
        let mut running = Running::spawn(Command::new("sleep").arg("60")).unwrap();
        let id = ProcessId::of(running.id()).unwrap();
        let handle = AttachedHandle::open(&id).unwrap();
        let copy = handle.clone();
        drop(handle);
        assert!(copy.is_alive());
        copy.signal(10).unwrap();
        block_on(copy.wait()).unwrap();
        assert!(!copy.is_alive());
        assert!(!copy.signal(9).unwrap(), "nobody is left to signal");
        assert!(
            !block_on(running.wait()).unwrap().success(),
            "its owner still learns how it ended"
        );
        drop(running);
        assert!(AttachedHandle::open(&id).is_err());
    }
}

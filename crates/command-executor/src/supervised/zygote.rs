//! The waiting shim that supervisors are forked from. Started with the first launch, and again when it has died.

use std::fs::File;
use std::io::{self, PipeWriter};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use harness_shim::zygote;

/// The zygote of one shim binary, if one lives.
#[derive(Debug)]
pub(super) struct Zygote {
    shim: PathBuf,
    current: Mutex<Option<Living>>,
    started: AtomicU64,
}

#[derive(Debug)]
struct Living {
    socket: OwnedFd,
    process: Child,
    number: Number,
}

/// Which of a launcher's zygotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number(u64);

impl Zygote {
    pub(super) fn new(shim: PathBuf) -> Self {
        Self {
            shim,
            current: Mutex::new(None),
            started: AtomicU64::new(0),
        }
    }

    /// The binary.
    pub(super) fn shim(&self) -> &Path {
        &self.shim
    }

    /// Asks for a supervisor, which then has copies of the lock and the pipe; returns which zygote was asked. Whether
    /// one comes of it shows on the pipe: no line, and no zygote that could still write one, means none.
    ///
    /// # Errors
    /// When no zygote takes the request: there will be no supervisor.
    pub(super) fn ask(&self, run_dir: &Path, lock: &File, handshake: &PipeWriter) -> io::Result<Number> {
        let mut current = self.current();
        // The one there is may have died.
        for _ in 0..2 {
            let living = match &mut *current {
                Some(living) => living,
                none => none.insert(self.start()?),
            };
            match zygote::ask(living.socket.as_fd(), run_dir, lock.as_fd(), handshake.as_fd()) {
                Ok(()) => return Ok(living.number),
                // It has many requests to work off; the others may take the slow way.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(_) => end(current.take()),
            }
        }
        Err(io::ErrorKind::BrokenPipe.into())
    }

    /// Ends this zygote, if it lives: what it has not forked yet it never will. Its supervisors go on.
    pub(super) fn end(&self, number: Number) {
        let mut current = self.current();
        if current.as_ref().is_some_and(|living| living.number == number) {
            end(current.take());
        }
    }

    fn current(&self) -> MutexGuard<'_, Option<Living>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the place that spawns zygotes")]
    fn start(&self) -> io::Result<Living> {
        let (socket, theirs) = zygote::socket()?;
        let process = std::process::Command::new(&self.shim)
            .args(zygote::arguments())
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let number = Number(self.started.fetch_add(1, Ordering::Relaxed));
        Ok(Living {
            socket,
            process,
            number,
        })
    }
}

impl Drop for Zygote {
    fn drop(&mut self) {
        end(self.current().take());
    }
}

fn end(living: Option<Living>) {
    if let Some(mut living) = living {
        // Both fail only when it has ended already.
        let _ = living.process.kill();
        let _ = living.process.wait();
    }
}

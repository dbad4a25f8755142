//! The waiting shim that supervisors are forked from. Started with the first launch, and again when it has died.
//!
//! One that is held (SIGSTOP) when its daemon dies does not notice, and the launches that wait in its socket keep their
//! run directories locked: whoever comes next ends it first.

use std::fs::File;
use std::io::{self, PipeWriter};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use harness_shim::identity::ProcessId;
use harness_shim::zygote;
use rustix::process::Signal;

use crate::shim_binary::Shim;

/// How long a killed zygote may take to be gone.
const ENDING: Duration = Duration::from_secs(5);

/// The zygote of one shim binary, if one lives.
#[derive(Debug)]
pub(super) struct Zygote {
    shim: Shim,
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
    pub(super) fn new(shim: Shim) -> Self {
        Self {
            shim,
            current: Mutex::new(None),
            started: AtomicU64::new(0),
        }
    }

    /// The binary.
    pub(super) fn shim(&self) -> &Shim {
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

    /// Kills what supervisors have left to it that died: the supervisors themselves are the shim, the rest is not.
    pub(super) fn kill_strays(&self) {
        let zygote = self.current().as_ref().map(|living| living.process.id());
        if let Some(zygote) = zygote {
            // What cannot be found or killed now is left to the next time.
            let _ = zygote::kill_strays(zygote);
        }
    }

    fn current(&self) -> MutexGuard<'_, Option<Living>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the place that spawns zygotes")]
    fn start(&self) -> io::Result<Living> {
        let (socket, theirs) = zygote::socket()?;
        let process = self.shim.start(|program| {
            std::process::Command::new(program)
                .args(zygote::arguments())
                .env_clear()
                .current_dir("/")
                .stdin(theirs.try_clone()?)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
        })?;
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

/// Ends the zygotes that run a shim of this directory and are not this process's own: a former daemon's. Returns which
/// there were. Blocks until they are gone.
///
/// # Errors
/// When processes cannot be listed, or one of them does not end.
pub fn end_former(bin: &Path) -> io::Result<Vec<ProcessId>> {
    let former = zygote::find(bin)?;
    let deadline = Instant::now() + ENDING;
    for process in &former {
        process.signal(Signal::KILL.as_raw())?;
    }
    while let Some(left) = former.iter().find(|process| process.is_alive()) {
        if Instant::now() >= deadline {
            let message = format!("the zygote of a former daemon (pid {}) does not end", left.pid);
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(former)
}

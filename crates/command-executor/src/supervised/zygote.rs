//! The waiting shim from which supervisors are forked. It is started with the first launch, and again if it has died.
//!
//! If it is stopped (SIGSTOP) when its daemon dies, it does not notice that. Then the launches that wait in its
//! socket keep their run directories locked. So the next daemon ends it first.

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

/// The number of a zygote among those of one launcher.
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

    /// The shim binary.
    pub(super) fn shim(&self) -> &Shim {
        &self.shim
    }

    /// Asks for a supervisor, which gets copies of the lock and the pipe, and returns which zygote was asked. The
    /// pipe shows whether a supervisor starts: if there is no line, and no zygote that could still write one, there
    /// is none.
    ///
    /// # Errors
    /// When no zygote takes the request. Then there will be no supervisor.
    pub(super) fn ask(&self, run_dir: &Path, lock: &File, handshake: &PipeWriter) -> io::Result<Number> {
        let mut current = self.current();
        // The existing zygote may have died.
        for _ in 0..2 {
            let living = match &mut *current {
                Some(living) => living,
                none => none.insert(self.start()?),
            };
            match zygote::ask(living.socket.as_fd(), run_dir, lock.as_fd(), handshake.as_fd()) {
                Ok(()) => return Ok(living.number),
                // It has many requests to work through. This launch can use the slow way.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(_) => end(current.take()),
            }
        }
        Err(io::ErrorKind::BrokenPipe.into())
    }

    /// Ends this zygote, if it lives. What it has not forked yet it never will. Its supervisors go on.
    pub(super) fn end(&self, number: Number) {
        let mut current = self.current();
        if current.as_ref().is_some_and(|living| living.number == number) {
            end(current.take());
        }
    }

    /// Kills what dead supervisors have left to it. Processes that run the shim are supervisors; all others are
    /// killed.
    pub(super) fn kill_strays(&self) {
        let zygote = self.current().as_ref().map(|living| living.process.id());
        if let Some(zygote) = zygote {
            // What cannot be found or killed now is left for the next time.
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
        // Both fail only if it has ended already.
        let _ = living.process.kill();
        let _ = living.process.wait();
    }
}

/// Ends the zygotes that run a shim of this directory but are not this process's own: those of a former daemon.
/// Returns their processes. Blocks until they are gone.
///
/// # Errors
/// When processes cannot be listed, or one of them does not end.
pub(crate) fn end_former(bin: &Path) -> io::Result<Vec<ProcessId>> {
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

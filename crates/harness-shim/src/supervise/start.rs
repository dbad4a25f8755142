//! From the inherited descriptors to a running program.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags, flock};

use super::buffer::ReadBuffer;
use super::clients::Clients;
use super::complain;
use super::event_loop::Supervisor;
use super::spawn;
use crate::handshake::Handshake;
use crate::launch::{DEFAULT_UMASK, Failure, Step};
use crate::log;
use crate::run_dir::{CONTROL_SOCKET, LOCK, LOG_DIR, RunDir, RunDirError};
use crate::sys;

/// The descriptors that the starter passed on, moved away from the standard streams.
pub(super) struct Inherited {
    /// The lock is held while this exists.
    pub(super) lock: File,
    /// The pipe for the single line.
    pub(super) handshake: File,
}

impl Inherited {
    /// Takes fd 0 and 1, and closes all others. From now on error messages go to `shim.err`.
    pub(super) fn take() -> io::Result<Self> {
        sys::close_from(3);
        let above = |fd| rustix::io::fcntl_dupfd_cloexec(fd, 3).map(File::from);
        let lock = above(rustix::stdio::stdin())?;
        let handshake = above(rustix::stdio::stdout())?;
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        rustix::stdio::dup2_stdin(&null)?;
        rustix::stdio::dup2_stdout(&null)?;
        rustix::stdio::dup2_stderr(&null)?;
        Ok(Self { lock, handshake })
    }

    /// Makes the run directory the working directory, if the lock belongs to it.
    pub(super) fn enter(self, run_dir: &Path) -> io::Result<Self> {
        rustix::process::chdir(run_dir)?;
        let (passed, expected) = (self.lock.metadata()?, fs::metadata(LOCK)?);
        if (passed.dev(), passed.ino()) != (expected.dev(), expected.ino()) {
            return Err(io::Error::other("fd 0 is not the lock of this run directory"));
        }
        // The lock is already held through the same open file. This only makes sure of it.
        flock(&self.lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(self)
    }
}

/// Starts the program that the spec in the working directory describes.
pub(super) fn start() -> Result<(Supervisor, Handshake), Failure> {
    let signals = sys::block_signals().map_err(Failure::at(Step::Fork))?;
    sys::leave_session().map_err(Failure::at(Step::Session))?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(Failure::at(Step::Fork))?;
    let dir = RunDir::open(".").map_err(|error| run_dir_failure(Step::Spec, &error))?;
    let spec = dir
        .read_spec()
        .map_err(|error| run_dir_failure(Step::Spec, &error))?;
    let log =
        log::Writer::waiting(LOG_DIR, spec.log).map_err(|error| Failure::at(Step::Log)(error.source))?;
    let clients = Clients::new(listen().map_err(Failure::at(Step::Control))?);
    let buffer = ReadBuffer::new().map_err(Failure::at(Step::Pipe))?;
    let spawned = spawn::spawn(&dir, &spec)?;
    let handshake = Handshake::Started {
        pid: spawned.pid.as_raw_pid().unsigned_abs(),
        start_time: spawned.start_time,
    };
    let supervisor = Supervisor::new(&spec, spawned, signals, clients, log, buffer);
    Ok((supervisor, handshake))
}

fn run_dir_failure(step: Step, error: &RunDirError) -> Failure {
    complain(format_args!("{error}"));
    let errno = match error {
        RunDirError::Io { source, .. } => source.raw_os_error().unwrap_or(0),
        RunDirError::Parse { .. } => 0,
    };
    Failure { step, errno }
}

fn listen() -> io::Result<UnixListener> {
    let _ = fs::remove_file(CONTROL_SOCKET);
    rustix::process::umask(Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(CONTROL_SOCKET);
    rustix::process::umask(Mode::from_raw_mode(DEFAULT_UMASK));
    let listener = listener?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// An end of a pipe or terminal that never makes the supervisor wait.
pub(super) fn nonblocking(fd: OwnedFd) -> rustix::io::Result<OwnedFd> {
    let flags = rustix::fs::fcntl_getfl(&fd)?;
    rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
    Ok(fd)
}

//! Starts one shim: forks it from the zygote or, if that does not work, spawns it.

use std::fs::File;
use std::io::{self, PipeReader};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

use harness_shim::identity::ProcessId;
use harness_shim::run_dir::{LOCK, RunDir, RunDirError};

use super::FileId;
use super::launch::LaunchError;
use super::zygote::{Number, Zygote};
use crate::attached::AttachedHandle;
use crate::shim_binary::Shim;

/// How long to wait for a lock that a dead zygote may still have held.
const HANDED_BACK: Duration = Duration::from_secs(1);

/// A shim that was requested.
pub(super) struct Launching {
    /// The pipe for its one line.
    pub(super) handshake: PipeReader,
    pub(super) lock: Arc<Lock>,
    pub(super) from: Origin,
}

/// The lock file that a shim was given, whatever happens to its name. As long as this exists, no other file gets its
/// inode number. It does not hold the lock itself.
pub(super) struct Lock(File);

impl Lock {
    fn of(held: &File) -> io::Result<Self> {
        let path = format!("/proc/self/fd/{}", held.as_raw_fd());
        // Open the file again: everybody who shares one opening of a file also shares its lock.
        Ok(Self(File::open(path)?))
    }

    fn is(&self, file: &std::fs::Metadata) -> bool {
        let this = self.0.metadata().map(|meta| FileId::from(&meta));
        this.is_ok_and(|this| this == FileId::from(file))
    }

    /// Kills every process of our own user that holds the file: a shim that says nothing and of which nothing else is
    /// known.
    pub(super) fn kill_holders(&self) -> io::Result<()> {
        let me = rustix::process::geteuid().as_raw();
        let has_it = |pid: u32| {
            let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd"));
            // Some processes end meanwhile.
            descriptors.into_iter().flatten().flatten().any(|descriptor| {
                let file = std::fs::metadata(descriptor.path());
                file.is_ok_and(|file| self.is(&file))
            })
        };
        for entry in std::fs::read_dir("/proc")?.flatten() {
            if !entry.metadata().is_ok_and(|meta| meta.uid() == me) {
                continue;
            }
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
            let process = pid.filter(|pid| *pid != std::process::id()).map(ProcessId::of);
            // Take its identity before looking at it, so that it cannot be another process.
            if let Some(Ok(process)) = process
                && has_it(process.pid)
            {
                process.signal(Signal::KILL.as_raw())?;
            }
        }
        Ok(())
    }
}

/// Where a shim comes from.
pub(super) enum Origin {
    /// It is a child of this process, and is reaped whatever becomes of the launch.
    Spawned(Spawned),
    /// This zygote forked it, and reaps it.
    Forked(Number),
}

/// A shim that this process must reap. `None` once the handle of the launched service makes sure of that.
pub(super) struct Spawned(pub(super) Option<AttachedHandle>);

impl Drop for Spawned {
    fn drop(&mut self) {
        if let Some(shim) = &self.0 {
            shim.leave_to_reaper();
        }
    }
}

/// What to do about a shim that the zygote did not fork in time.
pub(super) enum Instead {
    /// There was none, so one was spawned.
    Spawned(Launching),
    /// It exists, and takes its time.
    Wait,
    /// It existed, and died.
    Died,
}

/// Starts a shim that holds this lock.
pub(super) fn start(zygote: &Zygote, run_dir: &RunDir, lock: File) -> Result<Launching, LaunchError> {
    let (handshake, theirs) = io::pipe().map_err(LaunchError::shim(zygote.shim().path(), "pipe"))?;
    let opened = Lock::of(&lock).map_err(LaunchError::shim(zygote.shim().path(), "opening the lock"))?;
    match zygote.ask(run_dir.path(), &lock, &theirs) {
        Ok(number) => Ok(Launching {
            handshake,
            lock: Arc::new(opened),
            from: Origin::Forked(number),
        }),
        Err(_) => spawn(zygote.shim(), run_dir, lock),
    }
}

/// Spawns a shim if the zygote has not forked one and never will. `asked` is the lock that the zygote was given.
///
/// # Errors
/// When none can be spawned. Then it is unknown whether there is one.
pub(super) fn start_instead(
    zygote: &Zygote,
    number: Number,
    run_dir: &RunDir,
    asked: &Lock,
    overdue: bool,
) -> Result<Instead, LaunchError> {
    if overdue {
        zygote.end(number);
    }
    let deadline = Instant::now() + HANDED_BACK;
    let lock = loop {
        match run_dir.take_lock() {
            Ok(lock) => break lock,
            Err(RunDirError::Io { source, .. }) if source.kind() == io::ErrorKind::WouldBlock => {
                if Instant::now() >= deadline {
                    return Ok(if overdue { Instead::Wait } else { Instead::Died });
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(error.into()),
        }
    };
    if !lock.metadata().is_ok_and(|found| asked.is(&found)) {
        // It is another file, so it being free says nothing.
        return Err(RunDirError::Io {
            operation: "find again",
            path: run_dir.path().join(LOCK),
            source: io::ErrorKind::NotFound.into(),
        }
        .into());
    }
    // The identity is written before anything is executed.
    if run_dir.read_identity()?.is_some() || run_dir.read_exit()?.is_some() {
        return Ok(Instead::Died);
    }
    spawn(zygote.shim(), run_dir, lock).map(Instead::Spawned)
}

/// Spawns the shim. The lock is its fd 0, and the handshake pipe is its fd 1. The pipe is also its fd 2, for messages
/// before the shim has found the run directory.
fn spawn(shim: &Shim, run_dir: &RunDir, lock: File) -> Result<Launching, LaunchError> {
    let fail = |operation| LaunchError::shim(shim.path(), operation);
    let (handshake, theirs) = io::pipe().map_err(fail("pipe"))?;
    let opened = Lock::of(&lock).map_err(fail("opening the lock"))?;
    let child = execute(shim, run_dir.path(), &lock, &theirs).map_err(fail("exec"))?;
    drop((lock, theirs));
    let watched = open_pidfd(&child).and_then(AttachedHandle::from_pidfd);
    match watched {
        Ok(handle) => Ok(Launching {
            handshake,
            lock: Arc::new(opened),
            from: Origin::Spawned(Spawned(Some(handle))),
        }),
        Err(source) => {
            // If it got as far as running something, the caller kills that.
            abort(child);
            Err(fail("watching it")(source))
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the place that spawns shims")]
fn execute(shim: &Shim, run_dir: &Path, lock: &File, handshake: &io::PipeWriter) -> io::Result<Child> {
    shim.start(|program| {
        // Its environment is decided by the service, and its directory must not keep a mount busy.
        std::process::Command::new(program)
            .arg("supervise")
            .arg(run_dir)
            .env_clear()
            .current_dir("/")
            .stdin(lock.try_clone()?)
            .stdout(handshake.try_clone()?)
            .stderr(handshake.try_clone()?)
            .spawn()
    })
}

fn open_pidfd(child: &Child) -> io::Result<OwnedFd> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or(io::ErrorKind::NotFound)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

/// Kills a shim that cannot be watched: it must not run.
fn abort(mut child: Child) {
    // Both fail only if it has ended already.
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_holds_the_lock_is_found() {
        let home = tempfile::tempdir().unwrap();
        let run_dir = RunDir::create(home.path().join("r")).unwrap();
        let lock = run_dir.take_lock().unwrap();
        let opened = Lock::of(&lock).unwrap();
        #[expect(clippy::disallowed_methods, reason = "somebody has to hold the lock")]
        let mut holder = std::process::Command::new("sleep")
            .arg("1000")
            .stdin(lock)
            .spawn()
            .unwrap();
        assert!(run_dir.take_lock().is_err());
        opened.kill_holders().unwrap();
        assert!(!holder.wait().unwrap().success());
        assert!(run_dir.take_lock().is_ok());
    }
}

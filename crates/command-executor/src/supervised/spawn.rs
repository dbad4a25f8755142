//! Starting one shim: forked from the zygote, or by itself where that does not do.

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

/// How long a lock is waited for that a dead zygote still had in its hands.
const HANDED_BACK: Duration = Duration::from_secs(1);

/// A shim that was asked for.
pub(super) struct Launching {
    /// Where its one line comes.
    pub(super) handshake: PipeReader,
    pub(super) lock: Arc<Lock>,
    pub(super) from: Origin,
}

/// The lock that a shim was given, whatever becomes of its name. As long as this exists, no other file has its number; it
/// does not hold the lock itself.
pub(super) struct Lock(File);

impl Lock {
    fn of(held: &File) -> io::Result<Self> {
        let path = format!("/proc/self/fd/{}", held.as_raw_fd());
        // Opened anew: a lock belongs to everybody who shares one opening of the file.
        Ok(Self(File::open(path)?))
    }

    fn is(&self, file: &std::fs::Metadata) -> bool {
        let this = self.0.metadata().map(|meta| FileId::from(&meta));
        this.is_ok_and(|this| this == FileId::from(file))
    }

    /// Kills whoever of our own user has it: a shim that says nothing, and of which nothing else is known.
    pub(super) fn kill_holders(&self) -> io::Result<()> {
        let me = rustix::process::geteuid().as_raw();
        let has_it = |pid: u32| {
            let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd"));
            // Some end meanwhile.
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
            // Named before it is looked at, so that no other one is meant.
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
    /// It is a child of this process, reaped whatever becomes of the launch.
    Spawned(Spawned),
    /// It is forked by this zygote, which reaps it.
    Forked(Number),
}

/// A shim that is to be reaped by this process. `None` once the launched service's handle sees to that.
pub(super) struct Spawned(pub(super) Option<AttachedHandle>);

impl Drop for Spawned {
    fn drop(&mut self) {
        if let Some(shim) = &self.0 {
            shim.leave_to_reaper();
        }
    }
}

/// What can be done about a shim that the zygote did not bring forth in time.
pub(super) enum Instead {
    /// Nothing of it was there, and one was spawned.
    Spawned(Launching),
    /// It is there, and takes its time.
    Wait,
    /// It was there, and died.
    Died,
}

/// Has a shim started that holds this lock.
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

/// Spawns a shim if none has come of the zygote, nor will. `asked` is the lock that the zygote was given.
///
/// # Errors
/// When none can be spawned; whether there is one is not known then.
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
        // That this one is free says nothing.
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

/// Spawns the shim with the lock as fd 0 and the handshake pipe as fd 1 and, for what it says before it has found the
/// run directory, as fd 2.
fn spawn(shim: &Shim, run_dir: &RunDir, lock: File) -> Result<Launching, LaunchError> {
    let fail = |operation| LaunchError::shim(shim.path(), operation);
    let (handshake, theirs) = io::pipe().map_err(fail("pipe"))?;
    let opened = Lock::of(&lock).map_err(fail("opening the lock"))?;
    let child = execute(shim, run_dir.path(), &lock, &theirs).map_err(fail("exec"))?;
    drop((lock, theirs));
    let watched = ProcessId::of(child.id())
        .and_then(|process| AttachedHandle::from_pidfd(process, open_pidfd(&child)?));
    match watched {
        Ok(handle) => Ok(Launching {
            handshake,
            lock: Arc::new(opened),
            from: Origin::Spawned(Spawned(Some(handle))),
        }),
        Err(source) => {
            // Had it come so far as to run something, the caller clears that away.
            abort(child);
            Err(fail("watching it")(source))
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the place that spawns shims")]
fn execute(shim: &Shim, run_dir: &Path, lock: &File, handshake: &io::PipeWriter) -> io::Result<Child> {
    shim.start(|program| {
        // Its environment is the service's business, and its directory must not keep a mount busy.
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

/// A shim that cannot be watched must not run.
fn abort(mut child: Child) {
    // Both fail only when it has ended already.
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

//! Local services under the shim. They outlive whoever started them. They are found again through their run directory
//! or, without one, by what else is known of them.
//!
//! ```text
//!   launch ──▶ Generation ──▶ wait ──▶ Ended::Exited(record)      the shim wrote how it ended
//!     ▲            │                   Ended::SupervisorDied      it did not: its processes were found and killed
//!     │            └─ dropped: the service goes on
//!   adopt ──▶ Running | Homeless | Ended | SupervisorDied | Rebooted | NeverStarted
//! ```
//!
//! **Invariant:** the files of a run directory are read in the order lock, exit record, identity. A free lock is
//! final: if there is no exit record after the lock was seen free, there will never be one.

mod adopt;
mod cause;
mod control;
mod known;
mod launch;
mod living;
mod spawn;
mod zygote;

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use async_lock::{Mutex, OnceCell};
use async_trait::async_trait;
use blocking::unblock;

use harness_shim::exit_watch::ExitWatch;
use harness_shim::run_dir::RunDir;
use harness_shim::tree;

use crate::attached::AttachedHandle;
use crate::host::{Generation, HostError};
use crate::shim_binary::Shim;
use zygote::Zygote;

pub use crate::attached::AttachError;
pub use adopt::{AdoptError, Adopted};
pub use cause::Cause;
pub use control::ControlError;
pub use harness_shim::control::Scope;
pub use harness_shim::identity::{Identity, ProcessId};
pub use harness_shim::run_dir::{
    Background, ExitRecord, LaunchSpec, LogLimits, Outcome, Resource, RunDirError, Stdin, StopMode,
    StopPolicy, TtySize,
};
pub use harness_shim::tree::{LeftoversError, RUN_ID_VARIABLE};
pub use harness_shim::words::unknown_user;
pub use known::Trace;
pub(crate) use known::clear_cgroup;
pub use launch::LaunchError;
pub(crate) use living::{FileId, LivingShim, is_supervised};
pub(crate) use zygote::end_former;

use known::Known;

/// Launches services with one shim binary.
///
/// From the first launch on, it keeps a waiting process of that binary, and forks the supervisors from it. The
/// process ends when the last clone of this is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Supervisor {
    zygote: Arc<Zygote>,
}

impl Supervisor {
    /// Launches with this shim; see [`crate::shim_binary::install`].
    pub(crate) fn new(shim: impl Into<Shim>) -> Self {
        let zygote = Arc::new(Zygote::new(shim.into()));
        Self { zygote }
    }

    /// The shim binary.
    pub(crate) fn shim(&self) -> &Shim {
        self.zygote.shim()
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Its shim recorded the end. Nothing of it is left.
    Exited(ExitRecord),
    /// Its shim died without a record. What it left behind was killed.
    SupervisorDied {
        /// How many processes were killed.
        killed: usize,
        /// How its main process ended, if it ended by itself before anything was killed, and if the kernel can tell.
        main: Option<Outcome>,
    },
}

/// Why it is unknown whether or how a run has ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The shim cannot be watched.
    #[error("cannot watch the supervisor")]
    Watch(#[source] io::Error),
    /// The exit record cannot be read.
    #[error("cannot read how the run ended")]
    RunDir(#[from] RunDirError),
    /// Its shim died, and what it left behind could not be killed.
    #[error("the supervisor died, and what it left behind could not be killed")]
    Leftovers(#[from] LeftoversError),
}

/// A service under its shim. Clones are handles of the same service. Dropping all of them leaves it running.
#[derive(Debug, Clone)]
pub(crate) struct Supervised(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    run_dir: RunDir,
    /// The identity of that folder, because the path may lead to another folder some day.
    folder: Option<FileId>,
    /// The same folder, opened through the shim while that was still possible, if the path does not lead to it any
    /// more.
    elsewhere: OnceLock<File>,
    identity: Identity,
    cgroup: Option<PathBuf>,
    shim: AttachedHandle,
    /// Its main process; `None` if that was already gone or cannot be watched.
    main: Option<Arc<ExitWatch>>,
    ended: OnceCell<Ended>,
    /// The zygote from which its shim was forked, if that still lives. It inherits what the shim leaves when it dies.
    zygote: Weak<Zygote>,
    /// Keeps what one caller sends together.
    stdin: Mutex<()>,
}

impl Supervised {
    fn new(
        run_dir: RunDir,
        identity: Identity,
        shim: AttachedHandle,
        cgroup: Option<PathBuf>,
        zygote: Weak<Zygote>,
    ) -> Self {
        let folder = FileId::of(run_dir.path()).ok();
        Self::in_folder(run_dir, folder, identity, shim, cgroup, zygote)
    }

    fn in_folder(
        run_dir: RunDir,
        folder: Option<FileId>,
        identity: Identity,
        shim: AttachedHandle,
        cgroup: Option<PathBuf>,
        zygote: Weak<Zygote>,
    ) -> Self {
        // It only serves to say more about an end without a record.
        let main = ExitWatch::open(&identity.main).ok().flatten().map(Arc::new);
        Self(Arc::new(Inner {
            run_dir,
            folder,
            elsewhere: OnceLock::new(),
            main,
            identity,
            cgroup,
            shim,
            ended: OnceCell::new(),
            zygote,
            stdin: Mutex::new(()),
        }))
    }

    /// Identifies what runs: the shim and the service's main process.
    pub(crate) fn identity(&self) -> &Identity {
        &self.0.identity
    }

    /// What to remember of it, so that it can be found again without its run directory.
    pub(crate) fn trace(&self) -> Trace {
        Trace {
            identity: self.0.identity.clone(),
            cgroup: self.0.cgroup.clone(),
        }
    }

    /// The folder of its files.
    pub(crate) fn run_dir(&self) -> &Path {
        self.0.run_dir.path()
    }

    /// Whether its run directory is in its place. If that is unknown, the answer is yes. Blocks on the disk.
    pub(crate) fn is_in_place(&self) -> bool {
        match FileId::of(self.run_dir()) {
            Ok(found) => self.0.folder.is_none_or(|folder| folder == found),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    /// Whether its shim lives: the service runs, or its end is not recorded yet.
    pub(crate) fn is_alive(&self) -> bool {
        self.0.shim.is_alive()
    }

    /// Waits until nothing of it is left, and returns how it ended. Any number of callers may wait.
    ///
    /// # Errors
    /// When the shim cannot be watched, its record cannot be read, or it died and some of what it left behind
    /// cannot be killed. A later call tries again.
    pub(crate) async fn wait(&self) -> Result<Ended, WaitError> {
        self.0.shim.wait().await.map_err(WaitError::Watch)?;
        self.0.shim.reap();
        let ended = self.0.ended.get_or_try_init(|| {
            let this = self.clone();
            unblock(move || {
                let known = Known::of_trace(&this.trace());
                let ended = ended(this.present_run_dir().as_ref(), this.0.main.as_deref(), &known);
                if let (Ok(Ended::SupervisorDied { .. }), Some(zygote)) = (&ended, this.0.zygote.upgrade()) {
                    zygote.kill_strays();
                }
                ended
            })
        });
        ended.await.cloned()
    }

    /// Its run directory, wherever that is now; `None` if it was removed, or nobody knows where it is. If another
    /// folder is in its place, that one does not count.
    fn present_run_dir(&self) -> Option<RunDir> {
        if let Some(opened) = self.0.elsewhere.get() {
            return RunDir::open(format!("/proc/self/fd/{}", opened.as_raw_fd())).ok();
        }
        let is_another = match FileId::of(self.run_dir()) {
            Ok(found) => self.0.folder.is_some_and(|folder| folder != found),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        // The folder's number may be given to another folder as soon as its shim is dead.
        let says_another = || {
            let said = self.0.run_dir.read_identity().ok().flatten();
            said.is_some_and(|said| said.shim != self.0.identity.shim)
        };
        (!is_another && !says_another()).then(|| self.0.run_dir.clone())
    }
}

#[async_trait]
impl Generation for Supervised {
    fn trace(&self) -> Trace {
        Self::trace(self)
    }

    fn is_in_place(&self) -> bool {
        Self::is_in_place(self)
    }

    async fn wait(&self) -> Result<Ended, HostError<WaitError>> {
        Self::wait(self).await.map_err(HostError::Failed)
    }

    async fn stop(&self, policy: StopPolicy) -> Result<(), HostError<ControlError>> {
        Self::stop(self, policy).await.map_err(HostError::Failed)
    }

    async fn kill(&self) -> Result<(), HostError<ControlError>> {
        Self::kill(self).await.map_err(HostError::Failed)
    }

    async fn signal(&self, signal: i32, scope: Scope) -> Result<(), HostError<ControlError>> {
        Self::signal(self, signal, scope).await.map_err(HostError::Failed)
    }

    async fn send_stdin(&self, bytes: Vec<u8>) -> Result<(), HostError<ControlError>> {
        Self::send_stdin(self, &bytes).await.map_err(HostError::Failed)
    }

    async fn close_stdin(&self) -> Result<(), HostError<ControlError>> {
        Self::close_stdin(self).await.map_err(HostError::Failed)
    }

    async fn resize(&self, size: TtySize) -> Result<(), HostError<ControlError>> {
        Self::resize(self, size).await.map_err(HostError::Failed)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // If the shim is our child, it must be reaped when it ends.
        self.shim.leave_to_reaper();
    }
}

/// How long a dead shim's lock may still be held by a child that it had just forked.
const LOCK_RELEASE: Duration = Duration::from_secs(5);

/// How a main process ended, if it ended before anything was killed.
fn ended_by_itself(main: Option<&ExitWatch>) -> Option<Outcome> {
    main.filter(|main| main.has_ended()).and_then(ExitWatch::outcome)
}

/// How a run ended that has a dead shim, according to its directory if there is one. Blocks while leftovers are
/// killed.
fn ended(run_dir: Option<&RunDir>, main: Option<&ExitWatch>, known: &Known) -> Result<Ended, WaitError> {
    if let Some(run_dir) = run_dir
        && let Some(record) = run_dir.read_exit()?
    {
        known.remove_cgroup();
        return Ok(Ended::Exited(record));
    }
    // Check this before anything is killed.
    let main = ended_by_itself(main);
    let killed = match run_dir {
        Some(run_dir) => kill_leftovers(run_dir, known)?,
        None => known.clear()?,
    };
    Ok(Ended::SupervisorDied { killed, main })
}

fn kill_leftovers(run_dir: &RunDir, known: &Known) -> Result<usize, LeftoversError> {
    let deadline = Instant::now() + LOCK_RELEASE;
    loop {
        match tree::kill_leftovers(run_dir) {
            Ok(killed) => {
                known.remove_cgroup();
                return Ok(killed);
            }
            Err(LeftoversError::ShimAlive) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            // Its files do not say what there was.
            Err(LeftoversError::RunDir(_)) => return known.clear(),
            Err(error) => return Err(error),
        }
    }
}

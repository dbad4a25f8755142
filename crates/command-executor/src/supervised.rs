//! Local services under the shim: they outlive whoever started them, and are found again through their run
//! directory, or without one by what else is known of them.
//!
//! ```text
//!   launch ──▶ Supervised ──▶ wait ──▶ Ended::Exited(record)      the shim wrote how it ended
//!     ▲            │                   Ended::SupervisorDied      it did not: the tree was found and killed
//!     │            └─ dropped: the service goes on
//!   adopt ──▶ Running | Homeless | Ended | SupervisorDied | Rebooted | NeverStarted
//! ```
//!
//! **Invariant:** what a run directory says is read in the order lock, exit record, identity. A free lock is
//! final, so an exit record that is missing after it was seen free will never come.

mod adopt;
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
use blocking::unblock;

use harness_shim::exit_watch::ExitWatch;
use harness_shim::run_dir::RunDir;
use harness_shim::tree;

use crate::attached::AttachedHandle;
use crate::logs::{FollowError, LogFollower, LogFrom};
use crate::shim_binary::Shim;
use zygote::Zygote;

pub use adopt::{AdoptError, Adopted};
pub use control::ControlError;
pub use harness_shim::cgroup::delegated_base;
pub use harness_shim::control::Scope;
pub use harness_shim::identity::{Identity, ProcessId};
pub use harness_shim::run_dir::{
    Background, ExitRecord, LaunchSpec, LogLimits, Outcome, Resource, RunDirError, Stdin, StopMode,
    StopPolicy, TtySize,
};
pub use harness_shim::tree::{LeftoversError, RUN_ID_VARIABLE, below, kill_all, kill_all_below};
pub use known::{Evidence, Trace, clear_cgroup};
pub use launch::LaunchError;
pub use living::{FileId, LivingShim, is_supervised};
pub use zygote::end_former;

use known::Known;

/// Launches services under one shim binary.
///
/// It keeps a process of that binary waiting, from the first launch on, of which the supervisors are forked; it ends
/// with the last clone of this.
#[derive(Debug, Clone)]
pub struct Supervisor {
    zygote: Arc<Zygote>,
}

impl Supervisor {
    /// Launches with this shim; see [`crate::shim_binary::install`].
    pub fn new(shim: impl Into<Shim>) -> Self {
        let zygote = Arc::new(Zygote::new(shim.into()));
        Self { zygote }
    }

    /// The shim binary.
    pub fn shim(&self) -> &Shim {
        self.zygote.shim()
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Its shim recorded it. Nothing of it is left.
    Exited(ExitRecord),
    /// Its shim died without a record; what it left behind was killed.
    SupervisorDied {
        /// How many processes there were.
        killed: usize,
        /// How its main process had ended by itself, if it had before anything was killed and the kernel tells.
        main: Option<Outcome>,
    },
}

/// Whether, or how, a run has ended could not be found out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The shim cannot be watched.
    #[error("cannot watch the supervisor")]
    Watch(#[source] io::Error),
    /// The exit record cannot be read.
    #[error("cannot read how the run ended")]
    RunDir(#[from] RunDirError),
    /// Its shim died, and what it left behind could not be cleared away.
    #[error("the supervisor died, and what it left behind could not be killed")]
    Leftovers(#[from] LeftoversError),
}

/// A service under its shim. Clones are handles of the same one; dropping them all leaves it running.
#[derive(Debug, Clone)]
pub struct Supervised(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    run_dir: RunDir,
    /// Which folder that is: another one may lie there some day.
    folder: Option<FileId>,
    /// The same, opened through the shim when that was still possible, where the path leads there no more.
    elsewhere: OnceLock<File>,
    identity: Identity,
    cgroup: Option<PathBuf>,
    shim: AttachedHandle,
    /// Its main process; `None` if that was gone already or cannot be watched.
    main: Option<Arc<ExitWatch>>,
    ended: OnceCell<Ended>,
    /// Of which its shim was forked, if it lives: what the shim leaves when it dies is given to it.
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
        // It only serves to tell more of an end without a record.
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

    /// Who runs: the shim and the service's main process.
    pub fn identity(&self) -> &Identity {
        &self.0.identity
    }

    /// What to remember of it, so that it is found again without its run directory.
    pub fn trace(&self) -> Trace {
        Trace {
            identity: self.0.identity.clone(),
            cgroup: self.0.cgroup.clone(),
        }
    }

    /// Where its files are.
    pub fn run_dir(&self) -> &Path {
        self.0.run_dir.path()
    }

    /// Whether its run directory is where it was. What cannot be told is taken for good. Blocks on the disk.
    pub fn is_in_place(&self) -> bool {
        match FileId::of(self.run_dir()) {
            Ok(found) => self.0.folder.is_none_or(|folder| folder == found),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    /// Whether its shim lives: the service runs, or its end is not recorded yet.
    pub fn is_alive(&self) -> bool {
        self.0.shim.is_alive()
    }

    /// Waits until nothing of it is left, and tells how it ended. Any number of callers may wait.
    ///
    /// # Errors
    /// When the shim cannot be watched, its record cannot be read, or it died and some of what it left behind
    /// cannot be killed. A later call tries again.
    pub async fn wait(&self) -> Result<Ended, WaitError> {
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

    /// Its run directory, wherever that is now; `None` when it was removed, or nobody knows where it is. Another one
    /// in its place is somebody else's.
    fn present_run_dir(&self) -> Option<RunDir> {
        if let Some(opened) = self.0.elsewhere.get() {
            return RunDir::open(format!("/proc/self/fd/{}", opened.as_raw_fd())).ok();
        }
        let is_another = match FileId::of(self.run_dir()) {
            Ok(found) => self.0.folder.is_some_and(|folder| folder != found),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        // Its number may be given to another one as soon as its shim is dead.
        let says_another = || {
            let said = self.0.run_dir.read_identity().ok().flatten();
            said.is_some_and(|said| said.shim != self.0.identity.shim)
        };
        (!is_another && !says_another()).then(|| self.0.run_dir.clone())
    }

    /// Follows its log until it has ended.
    ///
    /// # Errors
    /// When the run directory cannot be watched.
    pub fn logs(&self, from: LogFrom) -> Result<LogFollower, FollowError> {
        LogFollower::new(self.run_dir(), from)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // A shim that is our child must be reaped whenever it ends.
        self.shim.leave_to_reaper();
    }
}

/// How long a dead shim's lock may still be held by a child that it had just forked.
const LOCK_RELEASE: Duration = Duration::from_secs(5);

/// How a main process ended of which nothing has been killed yet.
fn ended_by_itself(main: Option<&ExitWatch>) -> Option<Outcome> {
    main.filter(|main| main.has_ended()).and_then(ExitWatch::outcome)
}

/// How a run ended whose shim is dead, by its directory if there is one. Blocks while leftovers are killed.
fn ended(run_dir: Option<&RunDir>, main: Option<&ExitWatch>, known: &Known) -> Result<Ended, WaitError> {
    if let Some(run_dir) = run_dir
        && let Some(record) = run_dir.read_exit()?
    {
        known.remove_cgroup();
        return Ok(Ended::Exited(record));
    }
    // Asked before anything is killed.
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
            // Its files do not tell what there was.
            Err(LeftoversError::RunDir(_)) => return known.clear(),
            Err(error) => return Err(error),
        }
    }
}

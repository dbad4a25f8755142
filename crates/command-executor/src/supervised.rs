//! Local services under the shim: they outlive whoever started them, and are found again through their run
//! directory.
//!
//! ```text
//!   launch ──▶ Supervised ──▶ wait ──▶ Ended::Exited(record)      the shim wrote how it ended
//!     ▲            │                   Ended::SupervisorDied      it did not: the tree was found and killed
//!     │            └─ dropped: the service goes on
//!   adopt ──▶ Running | Ended | SupervisorDied | Rebooted | NeverStarted
//! ```
//!
//! **Invariant:** what a run directory says is read in the order lock, exit record, identity. A free lock is
//! final, so an exit record that is missing after it was seen free will never come.

mod adopt;
mod control;
mod launch;
mod spawn;
mod zygote;

use std::io;
use std::path::Path;
use std::sync::{Arc, Weak};
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
    ExitRecord, LaunchSpec, LogLimits, Outcome, Resource, RunDirError, Stdin, StopMode, StopPolicy, TtySize,
};
pub use harness_shim::tree::{LeftoversError, RUN_ID_VARIABLE, below, kill_all, kill_all_below};
pub use launch::LaunchError;
pub use zygote::end_former;

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
    identity: Identity,
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
    fn new(run_dir: RunDir, identity: Identity, shim: AttachedHandle, zygote: Weak<Zygote>) -> Self {
        // It only serves to tell more of an end without a record.
        let main = ExitWatch::open(&identity.main).ok().flatten().map(Arc::new);
        Self(Arc::new(Inner {
            run_dir,
            main,
            identity,
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

    /// Where its files are.
    pub fn run_dir(&self) -> &Path {
        self.0.run_dir.path()
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
            let inner = Arc::clone(&self.0);
            unblock(move || match inner.ended() {
                Err(WaitError::Leftovers(LeftoversError::RunDir(_)) | WaitError::RunDir(_))
                    if !inner.run_dir.path().exists() =>
                {
                    // Somebody removed it, and with it what would lead others to what is left; we still know.
                    let main = ended_by_itself(inner.main.as_deref());
                    let killed = kill_all(&inner.identity.run_id, Some(&inner.identity.main))?;
                    Ok(Ended::SupervisorDied { killed, main })
                }
                other => other,
            })
        });
        ended.await.cloned()
    }

    /// Follows its log until it has ended.
    ///
    /// # Errors
    /// When the run directory cannot be watched.
    pub fn logs(&self, from: LogFrom) -> Result<LogFollower, FollowError> {
        LogFollower::new(self.run_dir(), from)
    }
}

impl Inner {
    fn ended(&self) -> Result<Ended, WaitError> {
        let ended = ended(&self.run_dir, self.main.as_deref());
        if let (Ok(Ended::SupervisorDied { .. }), Some(zygote)) = (&ended, self.zygote.upgrade()) {
            zygote.kill_strays();
        }
        ended
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

/// How a run ended whose shim is dead. Blocks while leftovers are killed.
fn ended(run_dir: &RunDir, main: Option<&ExitWatch>) -> Result<Ended, WaitError> {
    if let Some(record) = run_dir.read_exit()? {
        return Ok(Ended::Exited(record));
    }
    // Asked before anything is killed.
    let main = ended_by_itself(main);
    let deadline = Instant::now() + LOCK_RELEASE;
    loop {
        match tree::kill_leftovers(run_dir) {
            Ok(killed) => return Ok(Ended::SupervisorDied { killed, main }),
            Err(LeftoversError::ShimAlive) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

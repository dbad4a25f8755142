//! Finding out what has become of a run, from its directory alone.

use std::io;
use std::path::PathBuf;
use std::sync::Weak;
use std::time::{Duration, Instant};

use async_io::Timer;
use blocking::unblock;

use harness_shim::exit_watch::ExitWatch;
use harness_shim::identity::{Identity, boot_id, pid_namespace};
use harness_shim::run_dir::{ExitRecord, LockState, Outcome, RunDir, RunDirError};

use super::{Ended, Supervised, Supervisor, WaitError};
use crate::attached::{AttachError, AttachedHandle};

/// How long a shim whose lock is held may take to say who it is.
const IDENTITY: Duration = Duration::from_secs(10);

/// What has become of a run.
#[derive(Debug, Clone)]
pub enum Adopted {
    /// It runs.
    Running(Supervised),
    /// It ended while nobody looked.
    Ended(ExitRecord),
    /// Its shim died without a record; what it left behind was killed.
    SupervisorDied {
        /// How many processes there were.
        killed: usize,
        /// How its main process had ended by itself, if it had before anything was killed and the kernel tells.
        main: Option<Outcome>,
    },
    /// It ran in an earlier boot of the machine and was ended by its end.
    Rebooted,
    /// Its directory is missing or unfinished, or its shim ended before it ran anything.
    NeverStarted,
}

/// A run of which nothing can be told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdoptError {
    /// It has ended, but its directory does not tell how.
    #[error("cannot read the run directory")]
    RunDir(#[from] RunDirError),
    /// It may run: its shim lives, or that cannot be told, and what it says of itself cannot be read.
    #[error("cannot tell what runs in the run directory")]
    Unreadable(#[source] RunDirError),
    /// Its shim lives but does not say who it is.
    #[error("a supervisor holds {} but has not said who it is within {after:?}", run_dir.display())]
    NoIdentity {
        /// The run directory.
        run_dir: PathBuf,
        /// The time it was given.
        after: Duration,
    },
    /// Its shim lives in another pid namespace, where it can be neither watched nor signalled from here.
    #[error("the supervisor of {} runs in another pid namespace", run_dir.display())]
    OtherNamespace {
        /// The run directory.
        run_dir: PathBuf,
    },
    /// Its shim cannot be watched.
    #[error("cannot watch the supervisor")]
    Watch(#[from] AttachError),
    /// It ended, but how cannot be found out, or what is left of it cannot be killed.
    #[error("cannot clear away an ended run")]
    Wait(#[from] WaitError),
    /// The machine does not say which boot or namespace this is.
    #[error("cannot read the boot id or the pid namespace")]
    Machine(#[source] io::Error),
}

/// What a run directory says at one moment.
enum Sight {
    /// It is known what became of it.
    Settled(Adopted),
    /// A shim holds the lock; perhaps it has said who it is.
    Held(Option<Identity>),
}

impl Supervisor {
    /// Takes over a run that somebody else launched, perhaps an earlier process of ours.
    ///
    /// # Errors
    /// When the directory cannot be read, or its shim cannot be watched or does not get anywhere.
    pub async fn adopt(run_dir: impl Into<PathBuf>) -> Result<Adopted, AdoptError> {
        Self::adopt_within(run_dir, IDENTITY).await
    }

    /// The same for a caller in a hurry: a shim that is just starting may take this long to say who it is.
    ///
    /// # Errors
    /// As [`Self::adopt`].
    pub async fn adopt_within(
        run_dir: impl Into<PathBuf>,
        patience: Duration,
    ) -> Result<Adopted, AdoptError> {
        let path = run_dir.into();
        let deadline = Instant::now() + patience;
        let mut pause = Duration::from_millis(1);
        loop {
            let dir = path.clone();
            let (run_dir, identity) = match unblock(move || look(dir)).await? {
                (_, Sight::Settled(adopted)) => return Ok(adopted),
                (run_dir, Sight::Held(identity)) => (run_dir, identity),
            };
            if let (Some(run_dir), Some(identity)) = (run_dir, identity) {
                match AttachedHandle::open(identity.shim.clone()) {
                    Ok(shim) => {
                        return Ok(Adopted::Running(Supervised::new(
                            run_dir,
                            identity,
                            shim,
                            Weak::new(),
                        )));
                    }
                    // It ended since the lock was looked at: look again.
                    Err(AttachError::Gone { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if Instant::now() >= deadline {
                return Err(AdoptError::NoIdentity {
                    run_dir: path,
                    after: patience,
                });
            }
            Timer::after(pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }
}

fn look(path: PathBuf) -> Result<(Option<RunDir>, Sight), AdoptError> {
    if !path.exists() {
        return Ok((None, Sight::Settled(Adopted::NeverStarted)));
    }
    let run_dir = RunDir::open(path)?;
    let lock = run_dir.lock_state().map_err(AdoptError::Unreadable)?;
    let unreadable = |error| match lock {
        LockState::Held => AdoptError::Unreadable(error),
        LockState::Free => AdoptError::RunDir(error),
    };
    if let Some(record) = run_dir.read_exit().map_err(unreadable)? {
        return Ok((None, Sight::Settled(Adopted::Ended(record))));
    }
    match lock {
        LockState::Held => {
            let identity = run_dir.read_identity().map_err(unreadable)?;
            let here = pid_namespace().map_err(AdoptError::Machine)?;
            if identity
                .as_ref()
                .is_some_and(|identity| identity.shim.pid_ns != here)
            {
                return Err(AdoptError::OtherNamespace {
                    run_dir: run_dir.path().to_path_buf(),
                });
            }
            Ok((Some(run_dir), Sight::Held(identity)))
        }
        LockState::Free => Ok((None, Sight::Settled(settle(&run_dir)?))),
    }
}

/// What became of a run whose shim is dead and left no record.
fn settle(run_dir: &RunDir) -> Result<Adopted, AdoptError> {
    let main = match run_dir.read_identity() {
        // The identity is written before the program is executed.
        Ok(None) => return Ok(Adopted::NeverStarted),
        Ok(Some(identity)) if identity.shim.boot_id != boot_id().map_err(AdoptError::Machine)? => {
            return Ok(Adopted::Rebooted);
        }
        // An identity that cannot be read names nobody, but something did run, and its run id finds it.
        Err(_) => None,
        // Of one that was reaped while nobody watched, nobody can tell.
        Ok(Some(identity)) => ExitWatch::open(&identity.main).ok().flatten(),
    };
    Ok(match super::ended(run_dir, main.as_ref())? {
        Ended::Exited(record) => Adopted::Ended(record),
        Ended::SupervisorDied { killed, main } => Adopted::SupervisorDied { killed, main },
    })
}

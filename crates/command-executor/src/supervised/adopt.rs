//! Finds out what has become of a run: from its directory or, if that is gone or has lost a file, from what else is
//! known.
//!
//! | lost | what happens |
//! |---|---|
//! | the directory | its shim is found among the living ones, or by what was remembered: [`Adopted::Homeless`]. If the shim is dead, what it left is killed |
//! | `lock` | the shim that `identity` names and that works in this directory counts as its holder |
//! | `identity` | it is written again, once the program of the service runs |
//! | `control.sock` | nothing happens here; see `control` |
//! | `exit` | it is unknown how the run ended |

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use async_io::Timer;
use blocking::unblock;

use harness_shim::exit_watch::ExitWatch;
use harness_shim::identity::{Identity, ProcessId, boot_id, pid_namespace};
use harness_shim::run_dir::{ExitRecord, LOCK, LockState, Outcome, RunDir, RunDirError};

use super::known::Known;
use super::{Ended, FileId, LivingShim, Supervised, Supervisor, Trace, WaitError};
use crate::attached::{AttachError, AttachedHandle};
use crate::host::{Adoption, Generation};

/// What has become of a run.
#[derive(Debug, Clone)]
pub enum Adopted<G = Arc<dyn Generation>> {
    /// It runs.
    Running(G),
    /// It runs, but its run directory was removed or is somewhere else. It can be stopped, but not much more.
    Homeless(G),
    /// It ended while nobody was watching.
    Ended(ExitRecord),
    /// Its shim died without a record. What it left behind was killed.
    SupervisorDied {
        /// How many processes were killed.
        killed: usize,
        /// How its main process ended, if it ended by itself before anything was killed, and if the kernel can tell.
        main: Option<Outcome>,
    },
    /// It ran in an earlier boot of the machine, and ended with that.
    Rebooted,
    /// Its directory is missing or unfinished, or its shim ended before it ran anything.
    NeverStarted,
}

impl<G> Adopted<G> {
    /// The same with another kind of handle.
    pub(crate) fn map<H>(self, how: impl FnOnce(G) -> H) -> Adopted<H> {
        match self {
            Self::Running(run) => Adopted::Running(how(run)),
            Self::Homeless(run) => Adopted::Homeless(how(run)),
            Self::Ended(record) => Adopted::Ended(record),
            Self::SupervisorDied { killed, main } => Adopted::SupervisorDied { killed, main },
            Self::Rebooted => Adopted::Rebooted,
            Self::NeverStarted => Adopted::NeverStarted,
        }
    }
}

/// Why it is unknown what has become of a run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdoptError {
    /// It has ended, but its directory does not say how.
    #[error("cannot read the run directory")]
    RunDir(#[from] RunDirError),
    /// It may still run: its shim lives, or that is unknown, and what it says of itself cannot be read.
    #[error("cannot find out what runs in the run directory")]
    Unreadable(#[source] RunDirError),
    /// Its shim lives but does not say who it is.
    #[error("a supervisor holds {} but did not say within {after:?} who it is", run_dir.display())]
    NoIdentity {
        /// The path of the run directory.
        run_dir: PathBuf,
        /// The time that it was given.
        after: Duration,
    },
    /// Its shim lives in another pid namespace, so it can be neither watched nor signalled from here.
    #[error("the supervisor of {} runs in another pid namespace", run_dir.display())]
    OtherNamespace {
        /// The path of the run directory.
        run_dir: PathBuf,
    },
    /// The directory is a copy: the run that it describes has another directory.
    #[error("{} is only a copy: its service runs in {}", run_dir.display(), works_in.display())]
    Copied {
        /// The path of the run directory.
        run_dir: PathBuf,
        /// The run's own directory.
        works_in: PathBuf,
    },
    /// Its shim cannot be watched.
    #[error("cannot watch the supervisor")]
    Watch(#[from] AttachError),
    /// It ended, but it is unknown how, or what is left of it cannot be killed.
    #[error("cannot clean up a run that has ended")]
    Wait(#[from] WaitError),
    /// The system does not say which boot or namespace this is.
    #[error("cannot read the boot id or the pid namespace")]
    Machine(#[source] io::Error),
}

/// What can be seen of a run at one moment.
enum Sight {
    /// It is clear what became of it.
    Settled(Adopted<Supervised>),
    /// A shim lives. It may have said who it is.
    Held(RunDir, Option<Identity>),
    /// A shim lives, but its run directory is not there.
    Homeless(LivingShim, Trace),
}

impl Supervisor {
    /// Takes over a run that somebody else launched, perhaps an earlier process of ours.
    ///
    /// # Errors
    /// When the directory cannot be read, its shim cannot be watched, or its shim does not make progress.
    pub(crate) async fn adopt(run: Adoption) -> Result<Adopted<Supervised>, AdoptError> {
        let (path, patience) = (run.run_dir.clone(), run.patience);
        let run = Arc::new(run);
        let deadline = Instant::now() + patience;
        let mut pause = Duration::from_millis(1);
        loop {
            let known = Arc::clone(&run);
            let late = Instant::now() >= deadline;
            let (run_dir, identity) = match unblock(move || look(&known, late)).await? {
                Sight::Settled(adopted) => return Ok(adopted),
                Sight::Held(run_dir, identity) => (run_dir, identity),
                Sight::Homeless(shim, trace) => match homeless(&shim, trace) {
                    Ok(Some(supervised)) => return Ok(Adopted::Homeless(supervised)),
                    Ok(None) => continue,
                    Err(error) => return Err(error),
                },
            };
            if let Some(identity) = identity {
                match AttachedHandle::open(&identity.shim) {
                    Ok(shim) => {
                        let cgroup = cgroup(&run_dir, &run);
                        let supervised = Supervised::new(run_dir, identity, shim, cgroup, Weak::new());
                        return Ok(Adopted::Running(supervised));
                    }
                    // It ended after the lock was checked. Look again.
                    Err(AttachError::Gone { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if late {
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

fn cgroup(run_dir: &RunDir, evidence: &Adoption) -> Option<PathBuf> {
    match run_dir.read_spec() {
        Ok(spec) => spec.cgroup,
        Err(_) => evidence.trace.as_ref()?.cgroup.clone(),
    }
}

fn homeless(shim: &LivingShim, trace: Trace) -> Result<Option<Supervised>, AdoptError> {
    let handle = match AttachedHandle::open(shim.process()) {
        Ok(handle) => handle,
        Err(AttachError::Gone { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let (run_dir, folder) = (RunDir::at(shim.works_in()), Some(shim.folder()));
    let Trace { identity, cgroup } = trace;
    Ok(Some(Supervised::in_folder(
        run_dir,
        folder,
        identity,
        handle,
        cgroup,
        Weak::new(),
    )))
}

impl LivingShim {
    /// Takes it over without its run directory, whatever it runs; `None` if it has ended.
    ///
    /// # Errors
    /// When it cannot be watched, or it holds no lock and so is not a working shim.
    pub(crate) fn take_over(&self) -> Result<Option<Supervised>, AdoptError> {
        match self.traced(None) {
            Some(trace) => homeless(self, trace),
            None if !self.is_alive() => Ok(None),
            None => Err(AdoptError::NoIdentity {
                run_dir: self.works_in().to_owned(),
                after: Duration::ZERO,
            }),
        }
    }

    /// What is known of the run of this shim. `remembered` counts only if it is about this very shim.
    fn traced(&self, remembered: Option<&Trace>) -> Option<Trace> {
        let remembered = remembered.filter(|trace| trace.identity.shim == *self.process());
        let spec = self.spec();
        let cgroup = match &spec {
            Some(spec) => spec.cgroup.clone(),
            None => remembered.and_then(|trace| trace.cgroup.clone()),
        };
        let written = || self.run_dir().ok()?.read_identity().ok()?;
        let said = remembered.map(|trace| trace.identity.clone()).or_else(written);
        let identity = match said.filter(|identity| identity.shim == *self.process()) {
            Some(identity) => identity,
            None => {
                let run_id = spec?.run_id;
                Identity {
                    shim: self.process().clone(),
                    // If the program has not started or has ended, the shim can stand in for it.
                    main: self.main(&run_id).unwrap_or_else(|| self.process().clone()),
                    run_id,
                    started_at_ns: now_ns(),
                }
            }
        };
        self.is_alive().then_some(Trace { identity, cgroup })
    }
}

fn now_ns() -> u64 {
    ns(SystemTime::now())
}

fn ns(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// `late` says that the shim has used up its time to say who it is.
fn look(evidence: &Adoption, late: bool) -> Result<Sight, AdoptError> {
    let run_dir = match RunDir::open(&evidence.run_dir) {
        Ok(run_dir) => run_dir,
        Err(error) if is_absent(&error) => return without_directory(evidence),
        // Something of it may run.
        Err(error) => return Err(AdoptError::Unreadable(error)),
    };
    let lock = run_dir.lock_state().map_err(AdoptError::Unreadable)?;
    let unreadable = |error| match lock {
        LockState::Held => AdoptError::Unreadable(error),
        LockState::Free => AdoptError::RunDir(error),
    };
    if let Some(record) = run_dir.read_exit().map_err(unreadable)? {
        if let Some(trace) = &evidence.trace {
            Known::of_trace(trace).remove_cgroup();
        }
        return Ok(Sight::Settled(Adopted::Ended(record)));
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
            let identity = match identity {
                None if late => introduce(&run_dir, evidence, true),
                said => said,
            };
            Ok(Sight::Held(run_dir, identity))
        }
        LockState::Free => unlocked(run_dir, evidence),
    }
}

fn is_absent(error: &RunDirError) -> bool {
    let RunDirError::Io { source, .. } = error else {
        return false;
    };
    matches!(
        source.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// What became of a run without a directory.
fn without_directory(evidence: &Adoption) -> Result<Sight, AdoptError> {
    let trace = evidence.trace.as_ref();
    let remembered = trace.and_then(|trace| LivingShim::of(&trace.identity.shim));
    let surveyed = evidence.supervisors.iter().rev().filter_map(LivingShim::of);
    for shim in surveyed.chain(remembered) {
        if let Some(trace) = shim.traced(trace) {
            return Ok(Sight::Homeless(shim, trace));
        }
    }
    let Some(trace) = trace else {
        return Ok(Sight::Settled(Adopted::NeverStarted));
    };
    Ok(Sight::Settled(left_by(None, trace)?))
}

/// What became of a run with a lock that nobody holds, or without a lock.
fn unlocked(run_dir: RunDir, evidence: &Adoption) -> Result<Sight, AdoptError> {
    let here = FileId::of(run_dir.path()).ok();
    let works_here = |shim: &LivingShim| Some(shim.folder()) == here;
    let said = run_dir.read_identity();
    let remembered = evidence.trace.as_ref().map(|trace| &trace.identity);
    // A damaged identity names nobody, but what was remembered does.
    let named = said.as_ref().ok().and_then(Option::as_ref).or(remembered);
    if let Some(identity) = named
        && let Some(shim) = LivingShim::of(&identity.shim)
    {
        if works_here(&shim) {
            if matches!(said, Ok(None)) {
                write_again(&run_dir, identity);
            }
            return Ok(Sight::Held(run_dir, Some(identity.clone())));
        }
        if !shim.is_removed() {
            return Err(AdoptError::Copied {
                run_dir: run_dir.path().to_owned(),
                works_in: shim.works_in().to_owned(),
            });
        }
        if let Some(trace) = shim.traced(evidence.trace.as_ref()) {
            return Ok(Sight::Homeless(shim, trace));
        }
    }
    if evidence
        .supervisors
        .iter()
        .filter_map(LivingShim::of)
        .any(|shim| works_here(&shim))
    {
        // If the identity cannot be read, it is left as it is.
        let identity = introduce(&run_dir, evidence, said.is_ok());
        return Ok(Sight::Held(run_dir, identity));
    }
    let settled = match said {
        Ok(Some(identity)) => {
            let trace = Trace {
                cgroup: cgroup(&run_dir, evidence),
                identity,
            };
            left_by(Some(&run_dir), &trace)?
        }
        said => match (&evidence.trace, said) {
            (Some(trace), _) => left_by(Some(&run_dir), trace)?,
            // The identity is written before the program is executed.
            (None, Ok(_)) => Adopted::NeverStarted,
            // Something did run, and its spec leads to what is left of it.
            (None, Err(error)) => match run_dir.read_spec() {
                Ok(spec) => settled(super::ended(Some(&run_dir), None, &Known::of_spec(&spec))?),
                Err(_) => return Err(error.into()),
            },
        },
    };
    Ok(Sight::Settled(settled))
}

/// What became of a run with a dead shim that left no record.
fn left_by(run_dir: Option<&RunDir>, trace: &Trace) -> Result<Adopted<Supervised>, AdoptError> {
    let Identity { shim, main, .. } = &trace.identity;
    if shim.boot_id != boot_id().map_err(AdoptError::Machine)? {
        return Ok(Adopted::Rebooted);
    }
    // If it was reaped while nobody was watching, nobody knows how it ended.
    let main = ExitWatch::open(main).ok().flatten();
    Ok(settled(super::ended(
        run_dir,
        main.as_ref(),
        &Known::of_trace(trace),
    )?))
}

fn settled(ended: Ended) -> Adopted<Supervised> {
    match ended {
        Ended::Exited(record) => Adopted::Ended(record),
        Ended::SupervisorDied { killed, main } => Adopted::SupervisorDied { killed, main },
    }
}

/// Who runs in a directory that has lost its `identity`: what was remembered or, failing that, the shim that works
/// there. The file is written again if the program has been executed. Before that, the shim itself is about to write
/// it.
fn introduce(run_dir: &RunDir, evidence: &Adoption, write: bool) -> Option<Identity> {
    let here = FileId::of(run_dir.path()).ok()?;
    let remembered = evidence.trace.as_ref();
    let of_trace = remembered.and_then(|trace| LivingShim::of(&trace.identity.shim));
    let searched = || LivingShim::all().unwrap_or_default();
    let shim = of_trace
        .into_iter()
        .chain(evidence.supervisors.iter().filter_map(LivingShim::of))
        .find(|shim| shim.folder() == here)
        .or_else(|| searched().into_iter().find(|shim| shim.folder() == here))?;
    let identity = match remembered.filter(|trace| trace.identity.shim == *shim.process()) {
        Some(trace) => trace.identity.clone(),
        None => {
            let run_id = shim.spec()?.run_id;
            let main = shim.main(&run_id).filter(|main| has_begun(&shim, main))?;
            let lock = std::fs::metadata(run_dir.path().join(LOCK));
            Identity {
                shim: shim.process().clone(),
                main,
                run_id,
                started_at_ns: lock
                    .and_then(|lock| lock.modified())
                    .map_or_else(|_| now_ns(), ns),
            }
        }
    };
    if write {
        write_again(run_dir, &identity);
    }
    Some(identity)
}

/// Whether the program of a service runs. Before that, its process is still a fork of the shim.
fn has_begun(shim: &LivingShim, main: &ProcessId) -> bool {
    let program = |process: &ProcessId| FileId::of(Path::new(&format!("/proc/{}/exe", process.pid)));
    program(main).is_ok_and(|program_of_main| program(shim.process()).is_ok_and(|own| own != program_of_main))
}

fn write_again(run_dir: &RunDir, identity: &Identity) {
    // If that fails, the next one to look finds the run in the same way.
    let _ = run_dir.write_identity(identity);
}

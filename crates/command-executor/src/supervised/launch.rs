//! Starting a shim and hearing from it.

use std::io::{self, PipeReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_io::{Async, Timer};
use blocking::unblock;
use futures_lite::{AsyncReadExt, future};
use rustix::process::Signal;

use harness_shim::handshake::Handshake;
use harness_shim::identity::Identity;
use harness_shim::run_dir::{LaunchSpec, RunDir, RunDirError};

use super::known::Known;
use super::spawn::{Instead, Launching, Origin, Spawned, start, start_instead};
use super::{Supervised, Supervisor, WaitError};
use crate::attached::{AttachError, AttachedHandle};

/// How long a shim may take until its process runs.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long a shim may take that the zygote is to fork, before the zygote is given up.
const FORK: Duration = Duration::from_secs(5);

/// How much of what comes in place of a handshake line is kept, in bytes.
const MAX_LINE: usize = 4096;

/// A service that could not be launched. Nothing of it runs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// The program could not be started.
    #[error("cannot start {}: {operation} failed", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// What failed: one of the words of [`super::Outcome::SpawnFailed`].
        operation: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The run directory could not be prepared.
    #[error("cannot prepare the run directory")]
    RunDir(#[from] RunDirError),
    /// The shim itself could not be started.
    #[error("cannot start the supervisor {}: {operation} failed", shim.display())]
    Shim {
        /// The shim binary.
        shim: PathBuf,
        /// Which operation.
        operation: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The shim ended before its process ran.
    #[error("the supervisor of {} ended before it ran: {}", program.display(), messages.trim_end())]
    SupervisorDied {
        /// The program.
        program: PathBuf,
        /// What the shim said.
        messages: String,
    },
    /// Somebody took the run directory away while it was launched.
    #[error("{} was removed while the service was launched", run_dir.display())]
    Removed {
        /// The run directory.
        run_dir: PathBuf,
    },
    /// The shim was not heard of in time, and was killed.
    #[error("the supervisor of {} was not heard of within {after:?}", program.display())]
    Timeout {
        /// The program.
        program: PathBuf,
        /// The time it was given.
        after: Duration,
    },
    /// A launch was given up, and something of it could not be cleared away.
    #[error("the launch of {} failed, and what was left of it could not be cleared away", program.display())]
    Cleanup {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: WaitError,
    },
}

impl LaunchError {
    /// For `map_err`.
    pub(super) fn shim(shim: &Path, operation: &'static str) -> impl FnOnce(io::Error) -> Self + use<> {
        let shim = shim.to_path_buf();
        move |source| Self::Shim {
            shim,
            operation,
            source,
        }
    }
}

impl Supervisor {
    /// Creates the run directory and starts the service in it. Returns when its process runs.
    ///
    /// Dropping the future half-way does not undo the launch: [`Self::adopt`] tells what came of it. A failed launch
    /// leaves nothing running, also when its directory was taken away meanwhile.
    ///
    /// # Errors
    /// When the run directory exists or cannot be prepared, the shim cannot be started, or it could not start
    /// the program.
    pub async fn launch(
        &self,
        run_dir: impl Into<PathBuf>,
        spec: &LaunchSpec,
    ) -> Result<Supervised, LaunchError> {
        let path = run_dir.into();
        let program = spec.program.clone();
        let (known, cgroup) = (Known::of_spec(spec), spec.cgroup.clone());
        let (spec, zygote) = (spec.clone(), Arc::clone(&self.zygote));
        // A dropped future cannot stop the thread that works for it, which therefore looks whether it is
        // still wanted once it holds the lock: from there on `adopt` sees it and waits for it.
        let wanted = Arc::new(());
        let still_wanted = Arc::downgrade(&wanted);
        let begun = known.clone();
        let (run_dir, mut launching) = unblock(move || {
            let shim = zygote.shim().path();
            let path =
                std::path::absolute(&path).map_err(LaunchError::shim(shim, "finding the run directory"))?;
            let run_dir = RunDir::create(path)?;
            let lock = run_dir.take_lock()?;
            if still_wanted.strong_count() == 0 {
                return Err(LaunchError::shim(shim, "waiting for it")(
                    io::ErrorKind::Interrupted.into(),
                ));
            }
            run_dir.write_spec(&spec)?;
            let launching = start(&zygote, &run_dir, lock).inspect_err(|_| {
                // The first error is the one that matters.
                let _ = super::ended(Some(&run_dir), None, &begun);
            })?;
            Ok::<_, LaunchError>((run_dir, launching))
        })
        .await?;
        drop(wanted);

        match self.follow(&run_dir, &mut launching, &program).await {
            Ok((identity, shim)) => {
                let zygote = Arc::downgrade(&self.zygote);
                Ok(Supervised::new(run_dir, identity, shim, cgroup, zygote))
            }
            Err(Unlaunched::Gone(error)) => Err(error),
            Err(Unlaunched::Unclear(why)) => Err(give_up(run_dir, launching, program, known, why).await),
        }
    }

    /// From the request for a shim to the running program.
    async fn follow(
        &self,
        run_dir: &RunDir,
        launching: &mut Launching,
        program: &Path,
    ) -> Result<(Identity, AttachedHandle), Unlaunched> {
        let unclear = |error| Unlaunched::Unclear(Silent::Failed(error));
        let line = self.hear(run_dir, launching).await.map_err(unclear)?;
        match line.as_deref().map(Handshake::parse) {
            Some(Some(Handshake::Started { .. })) => {
                let dir = run_dir.clone();
                let from = std::mem::replace(&mut launching.from, Origin::Spawned(Spawned(None)));
                let (from, found) = unblock(move || {
                    let mut from = from;
                    let found = watch(&dir, &mut from);
                    (from, found)
                })
                .await;
                launching.from = from;
                match found.map_err(|source| unclear(self.fail("watching it")(source)))? {
                    Some(watched) => Ok(watched),
                    // It wrote down who it is, and that is gone: somebody removed it.
                    None => Err(Unlaunched::Unclear(Silent::Removed)),
                }
            }
            Some(Some(Handshake::Failed { operation, errno })) => {
                let ended = launching.ended().await;
                ended.map_err(|source| unclear(self.fail("watching it")(source)))?;
                let source = match errno {
                    0 => io::Error::other(run_dir.shim_messages()),
                    errno => io::Error::from_raw_os_error(errno),
                };
                Err(Unlaunched::Gone(LaunchError::Spawn {
                    program: program.to_owned(),
                    operation,
                    source,
                }))
            }
            Some(None) => {
                let said = String::from_utf8_lossy(&line.unwrap_or_default()).into_owned();
                Err(Unlaunched::Unclear(Silent::Died { said }))
            }
            None => Err(Unlaunched::Unclear(Silent::TimedOut(HANDSHAKE))),
        }
    }

    fn fail(&self, operation: &'static str) -> impl FnOnce(io::Error) -> LaunchError + use<> {
        LaunchError::shim(self.shim().path(), operation)
    }

    /// What the shim says; `None` when it says nothing in time. Where the zygote brings none forth, one is spawned.
    async fn hear(
        &self,
        run_dir: &RunDir,
        launching: &mut Launching,
    ) -> Result<Option<Vec<u8>>, LaunchError> {
        let Origin::Forked(number) = launching.from else {
            return launching.line(HANDSHAKE).await.map_err(self.fail("watching it"));
        };
        let line = launching.line(FORK).await.map_err(self.fail("watching it"))?;
        let overdue = match &line {
            Some(line) if !line.is_empty() => return Ok(Some(line.clone())),
            line => line.is_none(),
        };
        let (zygote, dir, lock) = (
            Arc::clone(&self.zygote),
            run_dir.clone(),
            Arc::clone(&launching.lock),
        );
        match unblock(move || start_instead(&zygote, number, &dir, &lock, overdue)).await? {
            Instead::Died => return Ok(line),
            Instead::Wait => {}
            Instead::Spawned(spawned) => *launching = spawned,
        }
        launching.line(HANDSHAKE).await.map_err(self.fail("watching it"))
    }
}

impl Launching {
    /// Up to a newline or the end; `None` when neither comes in time.
    async fn line(&self, patience: Duration) -> io::Result<Option<Vec<u8>>> {
        let read = async { read_line(&self.handshake).await.map(Some) };
        future::or(read, async {
            Timer::after(patience).await;
            Ok(None)
        })
        .await
    }

    /// Waits until the shim is gone that has said its last word.
    async fn ended(&self) -> io::Result<()> {
        match &self.from {
            Origin::Spawned(spawned) => match &spawned.0 {
                Some(shim) => shim.wait().await,
                None => Ok(()),
            },
            // It keeps its end of the pipe to its own end.
            Origin::Forked(_) => {
                while self.line(HANDSHAKE).await?.is_some_and(|line| !line.is_empty()) {}
                Ok(())
            }
        }
    }
}

/// Who runs, and a handle of its shim. From here on the handle sees to the reaping. `None`: it does not say so.
fn watch(run_dir: &RunDir, from: &mut Origin) -> io::Result<Option<(Identity, AttachedHandle)>> {
    let Some(identity) = run_dir.read_identity().map_err(io::Error::other)? else {
        return Ok(None);
    };
    let shim = match from {
        Origin::Spawned(spawned) => spawned.0.take(),
        Origin::Forked(_) => None,
    };
    let shim = match shim.map_or_else(|| AttachedHandle::open(identity.shim.clone()), Ok) {
        Ok(shim) => shim,
        // The program may have been a short one: all is written down.
        Err(AttachError::Gone { .. }) => AttachedHandle::ended(identity.shim.clone()),
        // What cannot be watched must not run.
        Err(error) => return Err(io::Error::other(error)),
    };
    Ok(Some((identity, shim)))
}

/// A launch that failed.
enum Unlaunched {
    /// Nothing of it runs.
    Gone(LaunchError),
    /// Something of it may run.
    Unclear(Silent),
}

/// Why nothing more is expected of a shim.
enum Silent {
    /// It ended, or talks nonsense; perhaps it or the loader said why.
    Died { said: String },
    /// It was given so long.
    TimedOut(Duration),
    /// What it wrote down is gone.
    Removed,
    /// Something else failed.
    Failed(LaunchError),
}

/// Kills a shim that did not come so far as to run its process, or whose run nobody would find again.
async fn give_up(
    run_dir: RunDir,
    launching: Launching,
    program: PathBuf,
    known: Known,
    why: Silent,
) -> LaunchError {
    let shim = match &launching.from {
        Origin::Spawned(spawned) => spawned.0.clone(),
        Origin::Forked(_) => None,
    };
    let gone = match shim {
        Some(shim) => {
            // It may have ended by itself.
            let _ = shim.signal(Signal::KILL.as_raw());
            shim.wait().await
        }
        None => {
            let lock = Arc::clone(&launching.lock);
            unblock(move || lock.kill_holders()).await
        }
    };
    let cleared = match gone {
        Ok(()) => {
            let dir = run_dir.clone();
            unblock(move || super::ended(Some(&dir), None, &known))
                .await
                .map(drop)
        }
        Err(source) => Err(WaitError::Watch(source)),
    };
    match (cleared, why) {
        (Err(source), _) => LaunchError::Cleanup { program, source },
        (Ok(()), Silent::TimedOut(after)) => LaunchError::Timeout { program, after },
        (Ok(()), Silent::Removed) => LaunchError::Removed {
            run_dir: run_dir.path().to_owned(),
        },
        (Ok(()), Silent::Failed(error)) => error,
        (Ok(()), Silent::Died { .. }) if !run_dir.path().exists() => LaunchError::Removed {
            run_dir: run_dir.path().to_owned(),
        },
        (Ok(()), Silent::Died { said }) => LaunchError::SupervisorDied {
            program,
            messages: said + &run_dir.shim_messages(),
        },
    }
}

/// Reads up to a newline or the end.
async fn read_line(pipe: &PipeReader) -> io::Result<Vec<u8>> {
    let mut pipe = Async::new(pipe)?;
    let mut line = Vec::new();
    let mut chunk = [0; 256];
    while !line.ends_with(b"\n") && line.len() < MAX_LINE {
        match pipe.read(&mut chunk).await? {
            0 => break,
            count => line.extend_from_slice(&chunk[..count]),
        }
    }
    Ok(line)
}

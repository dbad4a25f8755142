//! Starts a shim and waits for its report.

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
use harness_shim::run_dir::{LaunchSpec, Resource, RunDir, RunDirError};

use super::cause::Cause;
use super::known::Known;
use super::spawn::{Instead, Launching, Origin, Spawned, start, start_instead};
use super::{Supervised, Supervisor, WaitError};
use crate::attached::{AttachError, AttachedHandle};

/// How long a shim may take until its process runs.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long to wait for a shim that the zygote should fork, before the zygote is given up.
const FORK: Duration = Duration::from_secs(5);

/// How much is kept of text that comes instead of a handshake line, in bytes.
const MAX_LINE: usize = 4096;

/// Why a service could not be launched. Nothing of it runs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// The program could not be started.
    #[error("cannot start {}: {operation} failed", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// The operation that failed: one of the words of [`super::Outcome::SpawnFailed`].
        operation: String,
        /// What a look at the machine adds to that.
        cause: Option<Cause>,
        /// The error of the system.
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
        /// The operation that failed.
        operation: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The shim ended before its process ran.
    #[error("the supervisor of {} ended before it ran: {}", program.display(), messages.trim_end())]
    SupervisorDied {
        /// The program.
        program: PathBuf,
        /// What the shim wrote.
        messages: String,
    },
    /// Somebody removed the run directory during the launch.
    #[error("{} was removed while the service was being launched", run_dir.display())]
    Removed {
        /// The path of the run directory.
        run_dir: PathBuf,
    },
    /// The shim did not report in time, and was killed.
    #[error("the supervisor of {} did not report within {after:?}", program.display())]
    Timeout {
        /// The program.
        program: PathBuf,
        /// The time that it was given.
        after: Duration,
    },
    /// A launch was given up, and something of it could not be cleaned up.
    #[error("the launch of {} failed, and what was left of it could not be cleaned up", program.display())]
    Cleanup {
        /// The program.
        program: PathBuf,
        /// The cause.
        #[source]
        source: WaitError,
    },
}

impl LaunchError {
    /// The error with its cause, if a look at the machine shows one. Blocks on the disk.
    fn looked_into(mut self, limits: &[(Resource, u64)]) -> Self {
        if let Self::Spawn {
            program,
            operation,
            cause,
            source,
        } = &mut self
        {
            *cause = Cause::found(program, operation, limits, source);
        }
        self
    }

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
    /// Dropping the future halfway does not undo the launch; [`Self::adopt`] finds out what became of it. A failed
    /// launch leaves nothing running, even if its directory was removed meanwhile.
    ///
    /// # Errors
    /// When the run directory exists or cannot be prepared, the shim cannot be started, or it could not start
    /// the program.
    pub(crate) async fn launch(
        &self,
        run_dir: impl Into<PathBuf>,
        spec: LaunchSpec,
    ) -> Result<Supervised, LaunchError> {
        let path = run_dir.into();
        let program = spec.program.clone();
        let (known, cgroup) = (Known::of_spec(&spec), spec.cgroup.clone());
        let limits = spec.limits.clone();
        let zygote = Arc::clone(&self.zygote);
        // A dropped future cannot stop the thread that works for it. So the thread checks, once it holds the lock,
        // whether the launch is still wanted. From then on `adopt` sees the launch and waits for it.
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
            Err(Unlaunched::Gone(error)) => Err(unblock(move || error.looked_into(&limits)).await),
            Err(Unlaunched::Unclear(why)) => Err(give_up(run_dir, launching, program, known, why).await),
        }
    }

    /// Follows the launch from the request for a shim to the running program.
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
                    // It has written its identity, but that is gone: somebody removed it.
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
                    cause: None,
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

    /// The line that the shim writes; `None` if it writes nothing in time. If the zygote does not fork a shim, one is
    /// spawned.
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
    /// Reads up to a newline or the end; `None` if neither comes in time.
    async fn line(&self, patience: Duration) -> io::Result<Option<Vec<u8>>> {
        let read = async { read_line(&self.handshake).await.map(Some) };
        future::or(read, async {
            Timer::after(patience).await;
            Ok(None)
        })
        .await
    }

    /// Waits until a shim that has reported is gone.
    async fn ended(&self) -> io::Result<()> {
        match &self.from {
            Origin::Spawned(spawned) => match &spawned.0 {
                Some(shim) => shim.wait().await,
                None => Ok(()),
            },
            // The shim keeps its end of the pipe until it ends.
            Origin::Forked(_) => {
                while self.line(HANDSHAKE).await?.is_some_and(|line| !line.is_empty()) {}
                Ok(())
            }
        }
    }
}

/// The identity of what runs, and a handle of its shim, which from now on makes sure that the shim is reaped. `None`
/// if there is no identity.
fn watch(run_dir: &RunDir, from: &mut Origin) -> io::Result<Option<(Identity, AttachedHandle)>> {
    let Some(identity) = run_dir.read_identity().map_err(io::Error::other)? else {
        return Ok(None);
    };
    let shim = match from {
        Origin::Spawned(spawned) => spawned.0.take(),
        Origin::Forked(_) => None,
    };
    let shim = match shim.map_or_else(|| AttachedHandle::open(&identity.shim), Ok) {
        Ok(shim) => shim,
        // The program may have been a short one; then everything is recorded.
        Err(AttachError::Gone { .. }) => AttachedHandle::ended(),
        // A shim that cannot be watched must not run.
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

/// Why nothing more is expected from a shim.
enum Silent {
    /// It ended or wrote nonsense. It or the loader may have said why.
    Died { said: String },
    /// It did not report in this time.
    TimedOut(Duration),
    /// Its identity was written and is gone.
    Removed,
    /// Something else failed.
    Failed(LaunchError),
}

/// Kills a shim that did not get as far as running its process, or that nobody would find again.
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

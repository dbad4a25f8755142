//! Starting a shim and hearing from it.

use std::fs::File;
use std::io::{self, PipeReader};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_io::{Async, Timer};
use blocking::unblock;
use futures_lite::{AsyncReadExt, future};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

use harness_shim::handshake::Handshake;
use harness_shim::identity::ProcessId;
use harness_shim::run_dir::{LaunchSpec, RunDir, RunDirError};

use super::{Supervised, Supervisor, WaitError};
use crate::attached::AttachedHandle;

/// How long a shim may take until its process runs.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The longest handshake line, in bytes; a longer one is no handshake.
const MAX_LINE: usize = 256;

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

/// A shim that was spawned: reaped whatever becomes of the launch.
struct Launching {
    /// `None` once the launched service's handle has taken over.
    shim: Option<AttachedHandle>,
    handshake: PipeReader,
}

impl Drop for Launching {
    fn drop(&mut self) {
        if let Some(shim) = &self.shim {
            shim.leave_to_reaper();
        }
    }
}

impl Supervisor {
    /// Creates the run directory and starts the service in it. Returns when its process runs.
    ///
    /// Dropping the future half-way does not undo the launch: [`Self::adopt`] tells what came of it.
    ///
    /// # Errors
    /// When the run directory exists or cannot be prepared, the shim cannot be started, or it could not start
    /// the program.
    pub async fn launch(
        &self,
        run_dir: impl Into<PathBuf>,
        spec: &LaunchSpec,
    ) -> Result<Supervised, LaunchError> {
        let (path, shim) = (run_dir.into(), self.shim.clone());
        let program = spec.program.clone();
        let spec = spec.clone();
        // A dropped future cannot stop the thread that works for it, which therefore looks whether it is
        // still wanted once it holds the lock: from there on `adopt` sees it and waits for it.
        let wanted = Arc::new(());
        let still_wanted = Arc::downgrade(&wanted);
        let (run_dir, mut launching, handle) = unblock(move || {
            let path = std::path::absolute(&path).map_err(shim_error(&shim, "finding the run directory"))?;
            let run_dir = RunDir::create(path)?;
            let lock = run_dir.take_lock()?;
            if still_wanted.strong_count() == 0 {
                return Err(shim_error(&shim, "waiting for it")(
                    io::ErrorKind::Interrupted.into(),
                ));
            }
            run_dir.write_spec(&spec)?;
            let (launching, handle) = start(&shim, &run_dir, lock)?;
            Ok::<_, LaunchError>((run_dir, launching, handle))
        })
        .await?;
        drop(wanted);

        let watch = |source| shim_error(&self.shim, "watching it")(source);
        let line = future::or(read_line(&launching.handshake), async {
            Timer::after(HANDSHAKE).await;
            Ok(None)
        })
        .await
        .map_err(watch)?;

        match line.as_deref().map(Handshake::parse) {
            Some(Some(Handshake::Started { .. })) => {
                let dir = run_dir.clone();
                let identity = unblock(move || dir.read_identity()).await?;
                let Some(identity) = identity else {
                    return Err(give_up(run_dir, handle, program, None).await);
                };
                // From here on the handle sees to the reaping.
                launching.shim = None;
                Ok(Supervised::new(run_dir, identity, handle))
            }
            Some(Some(Handshake::Failed { operation, errno })) => {
                handle.wait().await.map_err(watch)?;
                let source = match errno {
                    0 => io::Error::other(run_dir.shim_messages()),
                    errno => io::Error::from_raw_os_error(errno),
                };
                Err(LaunchError::Spawn {
                    program,
                    operation,
                    source,
                })
            }
            Some(None) => Err(give_up(run_dir, handle, program, None).await),
            None => Err(give_up(run_dir, handle, program, Some(HANDSHAKE)).await),
        }
    }
}

/// Kills a shim that did not come so far as to run its process.
async fn give_up(
    run_dir: RunDir,
    shim: AttachedHandle,
    program: PathBuf,
    timeout: Option<Duration>,
) -> LaunchError {
    // It may have ended by itself.
    let _ = shim.signal(Signal::KILL.as_raw());
    let cleared = match shim.wait().await {
        Ok(()) => {
            let dir = run_dir.clone();
            unblock(move || super::ended(&dir, None)).await.map(drop)
        }
        Err(source) => Err(WaitError::Watch(source)),
    };
    match (cleared, timeout) {
        (Err(source), _) => LaunchError::Cleanup { program, source },
        (Ok(()), Some(after)) => LaunchError::Timeout { program, after },
        (Ok(()), None) => LaunchError::SupervisorDied {
            program,
            messages: run_dir.shim_messages(),
        },
    }
}

/// Reads up to a newline or the end.
async fn read_line(pipe: &PipeReader) -> io::Result<Option<Vec<u8>>> {
    let mut pipe = Async::new(pipe)?;
    let mut line = Vec::new();
    let mut chunk = [0; MAX_LINE];
    while !line.ends_with(b"\n") && line.len() < MAX_LINE {
        match pipe.read(&mut chunk).await? {
            0 => break,
            count => line.extend_from_slice(&chunk[..count]),
        }
    }
    Ok(Some(line))
}

/// Spawns the shim with the lock as fd 0, the handshake pipe as fd 1 and its messages' file as fd 2.
fn start(shim: &Path, run_dir: &RunDir, lock: File) -> Result<(Launching, AttachedHandle), LaunchError> {
    let fail = |operation| shim_error(shim, operation);
    let messages = run_dir.open_shim_err()?;
    let (handshake, theirs) = io::pipe().map_err(fail("pipe"))?;
    let child = spawn(shim, run_dir.path(), lock, theirs.into(), messages).map_err(fail("exec"))?;
    let watched = ProcessId::of(child.id())
        .and_then(|process| AttachedHandle::from_pidfd(process, open_pidfd(&child)?));
    match watched {
        Ok(handle) => {
            let launching = Launching {
                shim: Some(handle.clone()),
                handshake,
            };
            Ok((launching, handle))
        }
        Err(source) => {
            abort(child);
            // Had it come so far as to run something, nobody would look after it.
            let _ = super::ended(run_dir, None);
            Err(fail("watching it")(source))
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the place that spawns shims")]
fn spawn(shim: &Path, run_dir: &Path, lock: File, handshake: OwnedFd, messages: File) -> io::Result<Child> {
    // Its environment is the service's business, and its directory must not keep a mount busy.
    std::process::Command::new(shim)
        .arg("supervise")
        .arg(run_dir)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(lock))
        .stdout(Stdio::from(handshake))
        .stderr(Stdio::from(messages))
        .spawn()
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

fn shim_error(shim: &Path, operation: &'static str) -> impl FnOnce(io::Error) -> LaunchError + use<> {
    let shim = shim.to_path_buf();
    move |source| LaunchError::Shim {
        shim,
        operation,
        source,
    }
}

//! The guard cleans up when the bench is over, however it ends. It is a separate process that Ctrl-C does not reach.
//! It waits on a pipe that only the bench holds open.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use super::engine::Engine;
use super::{command, home};
use crate::error::TaskError;
use crate::leftovers;

/// The first argument that selects the guard.
pub(crate) const WORD: &str = "bench-guard";

/// A running guard.
pub(crate) struct Guard(Child);

impl Guard {
    /// Starts a guard for the bench with all its files in `temporary` and its containers on this engine.
    ///
    /// # Errors
    /// When the system refuses to start it.
    pub(crate) fn start(
        harness: &Path,
        temporary: &Path,
        engine: Option<&Engine>,
    ) -> Result<Self, TaskError> {
        let own = std::env::current_exe().map_err(TaskError::file("find", "this program"))?;
        let guard = command(&own)
            .arg(WORD)
            .arg(harness)
            .arg(temporary)
            .args(engine.map(Engine::host))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn();
        guard.map(Self).map_err(|source| TaskError::Spawn {
            command: WORD.to_owned(),
            source,
        })
    }

    /// Says that the bench is over, and waits until everything is cleaned up.
    ///
    /// # Errors
    /// When something was left running.
    pub(crate) fn finish(mut self) -> Result<(), TaskError> {
        if let Some(mut pipe) = self.0.stdin.take() {
            // If the guard is gone, its exit status shows that.
            let _ = pipe.write_all(b"over");
        }
        let status = self.0.wait().map_err(TaskError::file("wait for", "the guard"))?;
        if status.success() {
            return Ok(());
        }
        Err(TaskError::Failed {
            command: WORD.to_owned(),
            status,
        })
    }
}

/// The guard's own work. `arguments` are those after [`WORD`].
///
/// # Errors
/// When a bench that ended by itself left something running, or when the arguments are wrong.
pub(crate) fn run(mut arguments: impl Iterator<Item = OsString>) -> Result<(), TaskError> {
    let mut path = || arguments.next().map(PathBuf::from);
    let (Some(harness), Some(temporary)) = (path(), path()) else {
        return Err(TaskError::Bench("the guard needs two paths".to_owned()));
    };
    let engine = arguments.next().and_then(|host| host.into_string().ok());
    let mut told = Vec::new();
    // However this ends, the bench is over.
    let _ = io::stdin().read_to_end(&mut told);
    for entry in std::fs::read_dir(&temporary).into_iter().flatten().flatten() {
        home::end(&harness, &entry.path());
    }
    let cleared = engine.map_or(Ok(()), |host| Engine::at(host, &temporary).clear());
    let left = cleared.and(leftovers::check(&temporary));
    std::fs::remove_dir_all(&temporary).map_err(TaskError::file("remove", temporary))?;
    // An interrupted bench always leaves something.
    if told.is_empty() { Ok(()) } else { left }
}

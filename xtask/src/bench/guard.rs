//! Whoever tidies up when the bench is over, however it ends: a process of its own that Ctrl-C does not reach. It
//! waits on a pipe that only the bench holds.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use super::engine::Engine;
use super::{command, home};
use crate::error::TaskError;
use crate::leftovers;

/// The first argument that means the guard.
pub(crate) const WORD: &str = "bench-guard";

/// A guard that runs.
pub(crate) struct Guard(Child);

impl Guard {
    /// Starts one for the bench whose files are all in `temporary`, and whose containers are on this engine.
    ///
    /// # Errors
    /// When the system refuses it.
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

    /// Says that the bench is over, and waits until everything is tidy.
    ///
    /// # Errors
    /// When something was left running.
    pub(crate) fn finish(mut self) -> Result<(), TaskError> {
        if let Some(mut pipe) = self.0.stdin.take() {
            // A guard that is gone is told by its status.
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

/// The guard's own work, with the arguments after [`WORD`].
///
/// # Errors
/// When a bench that ended by itself left something running, or for other arguments.
pub(crate) fn run(mut arguments: impl Iterator<Item = OsString>) -> Result<(), TaskError> {
    let mut path = || arguments.next().map(PathBuf::from);
    let (Some(harness), Some(temporary)) = (path(), path()) else {
        return Err(TaskError::Bench("the guard is told two paths".to_owned()));
    };
    let engine = arguments.next().and_then(|host| host.into_string().ok());
    let mut told = Vec::new();
    // However it goes, the bench is over.
    let _ = io::stdin().read_to_end(&mut told);
    for entry in std::fs::read_dir(&temporary).into_iter().flatten().flatten() {
        home::end(&harness, &entry.path());
    }
    let cleared = engine.map_or(Ok(()), |host| Engine::at(host, &temporary).clear());
    let left = cleared.and(leftovers::check(&temporary));
    std::fs::remove_dir_all(&temporary).map_err(TaskError::file("remove", temporary))?;
    // Of a bench that was interrupted something is always left.
    if told.is_empty() { Ok(()) } else { left }
}

//! Only one task at a time changes the engine, and nobody ends it while tests use it.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::error::EnvError;
use super::places::Places;
use crate::error::TaskError;

/// Held while the engine is started or ended, or its images are built. Waits if another task does one of these.
pub(crate) struct Changing {
    _file: File,
}

impl Changing {
    /// Waits for the lock.
    pub(crate) fn begin(places: &Places) -> Result<Self, EnvError> {
        places.make_cache()?;
        let path = places.cached("lock");
        loop {
            let file = open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    eprintln!("waiting for another `cargo xtask` that is changing the engine");
                    file.lock().map_err(TaskError::file("lock", &path))?;
                }
                Err(TryLockError::Error(source)) => return Err(TaskError::file("lock", path)(source).into()),
            }
            // `down --all` removes the file. The lock of a removed file is worth nothing.
            let same = |known: &std::fs::Metadata| {
                std::fs::metadata(&path).is_ok_and(|there| there.ino() == known.ino())
            };
            if file.metadata().is_ok_and(|known| same(&known)) {
                return Ok(Self { _file: file });
            }
        }
    }
}

/// Held by tests that use the engine.
pub(crate) struct Using {
    file: File,
}

impl Using {
    /// Says that tests begin. The caller holds [`Changing`].
    pub(crate) fn begin(places: &Places, _changing: &Changing) -> Result<Self, EnvError> {
        let path = places.cached("users");
        let file = open(&path)?;
        file.lock_shared().map_err(TaskError::file("lock", path))?;
        Ok(Self { file })
    }

    /// Says that the tests are over.
    pub(crate) fn end(self) {
        drop(self.file);
    }
}

/// Whether tests use the engine. The caller holds [`Changing`].
pub(crate) fn in_use(places: &Places, _changing: &Changing) -> Result<bool, EnvError> {
    let path = places.cached("users");
    match open(&path)?.try_lock() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(source)) => Err(TaskError::file("lock", path)(source).into()),
    }
}

fn open(path: &Path) -> Result<File, EnvError> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path);
    Ok(file.map_err(TaskError::file("open", path))?)
}

//! The run directory: the place where a starter and a shim meet, which outlives both.
//!
//! There is one directory (0700) for each generation of a service. Every file begins with its format number. A file
//! exists completely or not at all, or is read only by those who know that it is complete.
//!
//! | name | written by | content |
//! |---|---|---|
//! | [`LOCK`] | starter | what to run, [`LaunchSpec`]; contains secrets, so 0600. Locked (flock) exactly as long as the shim lives, through an inherited descriptor |
//! | [`IDENTITY`] | shim | what runs, [`Identity`]; written before the program is executed |
//! | [`CONTROL_SOCKET`] | shim | [`crate::control`]; made before the handshake, removed with the shim |
//! | [`LOG_DIR`] | shim | segments, [`crate::log`]; made for the first output |
//! | [`EXIT`] | shim | how it ended, [`ExitRecord`]; the last thing written |
//! | [`SHIM_ERR`] | shim | its own error messages, for people; made if there are any |

mod exit;
mod spec;

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

pub use crate::text::ParseError;
pub use exit::{Background, ExitRecord, Outcome};
pub(crate) use spec::parse_umask;
pub use spec::{LaunchSpec, LogLimits, Resource, Stdin, StopMode, StopPolicy, TtySize};

use crate::atomic_file;
use crate::identity::Identity;
use crate::text::MAX_FILE;

/// What to run, in the directories of older versions. They had a separate file for it, and an empty lock.
pub const SPEC: &str = "spec";
/// The shim and the main process.
pub const IDENTITY: &str = "identity";
/// How it ended.
pub const EXIT: &str = "exit";
/// What to run. The file is locked exactly as long as the shim lives.
pub const LOCK: &str = "lock";
/// The socket that the shim listens on.
pub const CONTROL_SOCKET: &str = "control.sock";
/// The directory of the log segments.
pub const LOG_DIR: &str = "log";
/// The shim's own messages.
pub const SHIM_ERR: &str = "shim.err";

/// Whether a shim holds the lock of a run directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockState {
    /// A shim lives, or is being started.
    Held,
    /// No shim lives.
    Free,
}

/// Why an operation on a run directory failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunDirError {
    /// The operating system refused.
    Io {
        /// The operation: "create", "read", …
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file has the wrong content.
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ParseError,
    },
}

impl fmt::Display for RunDirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io {
                operation,
                path,
                source,
            } => {
                write!(f, "cannot {operation} {}: {source}", path.display())
            }
            Self::Parse {
                path,
                source: source @ ParseError::NewerFormat { .. },
            } => write!(f, "cannot read {}: {source}", path.display()),
            Self::Parse { path, source } => write!(f, "{} is damaged: {source}", path.display()),
        }
    }
}

impl std::error::Error for RunDirError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Parse { source, .. } => Some(source),
        }
    }
}

/// A run directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// Creates the directory (0700). Missing parents are created with 0700 too.
    ///
    /// # Errors
    /// When it exists already or cannot be created.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self, RunDirError> {
        let dir = Self { path: path.into() };
        let builder = |path: &Path, recursive| {
            DirBuilder::new()
                .recursive(recursive)
                .mode(0o700)
                .create(path)
                .map_err(io_error("create", path))
        };
        if let Some(parent) = dir.path.parent().filter(|p| !p.as_os_str().is_empty()) {
            builder(parent, true)?;
        }
        builder(&dir.path, false)?;
        Ok(dir)
    }

    /// An existing directory.
    ///
    /// # Errors
    /// When there is no such directory.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, RunDirError> {
        let dir = Self { path: path.into() };
        let metadata = fs::metadata(&dir.path).map_err(io_error("open", &dir.path))?;
        if !metadata.is_dir() {
            let error = io::Error::from(io::ErrorKind::NotADirectory);
            return Err(io_error("open", &dir.path)(error));
        }
        Ok(dir)
    }

    /// A directory that may be gone.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of the log segments. It is made for the first segment.
    pub fn log_dir(&self) -> PathBuf {
        self.path.join(LOG_DIR)
    }

    /// The shim's error messages, at most the last 4 KiB; empty if there are none.
    pub fn shim_messages(&self) -> String {
        let tail = || {
            let mut file = harness_files::open(&self.path.join(SHIM_ERR)).ok()?;
            let length = file.metadata().ok()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(4096))).ok()?;
            let mut bytes = Vec::new();
            file.take(4096).read_to_end(&mut bytes).ok()?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        };
        tail().unwrap_or_default()
    }

    /// The lock file, which is made if it does not exist.
    fn open_lock(&self) -> Result<File, RunDirError> {
        let path = self.path.join(LOCK);
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io_error("open", &path))
    }

    /// Takes the lock. The returned file becomes fd 0 of the shim. The lock is held until every copy of this
    /// descriptor is closed, so the starter drops its own copy once the shim is spawned.
    ///
    /// # Errors
    /// `WouldBlock` if somebody holds it already; another error if the file cannot be opened.
    pub fn take_lock(&self) -> Result<File, RunDirError> {
        let file = self.open_lock()?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| io_error("lock", &self.path.join(LOCK))(error.into()))?;
        Ok(file)
    }

    /// Whether a shim lives here.
    ///
    /// # Errors
    /// When the lock file cannot be opened.
    pub fn lock_state(&self) -> Result<LockState, RunDirError> {
        let path = self.path.join(LOCK);
        let file = match harness_files::open(&path).map_err(io::Error::from) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(LockState::Free),
            Err(error) => return Err(io_error("open", &path)(error)),
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(LockState::Free),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(LockState::Held),
            Err(error) => Err(io_error("lock", &path)(error.into())),
        }
    }

    /// Writes what to run (0600), into the lock file: each file takes time to make, and nobody reads this one before
    /// the lock is handed to the shim.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_spec(&self, spec: &LaunchSpec) -> Result<(), RunDirError> {
        let path = self.path.join(LOCK);
        let write = |mut file: &File| {
            if file.metadata()?.len() > 0 {
                file.set_len(0)?;
            }
            file.write_all(&spec.to_text()).inspect_err(|_| {
                // On a full disk every page counts.
                let _ = file.set_len(0);
            })
        };
        write(&self.open_lock()?).map_err(io_error("write", &path))
    }

    /// Reads what to run.
    ///
    /// # Errors
    /// When it is missing, cannot be read, or is damaged.
    pub fn read_spec(&self) -> Result<LaunchSpec, RunDirError> {
        let spec = match self.read(SPEC, LaunchSpec::from_text)? {
            None => self.read(LOCK, LaunchSpec::from_text)?,
            found => found,
        };
        spec.ok_or_else(|| io_error("read", &self.path.join(LOCK))(io::ErrorKind::NotFound.into()))
    }

    /// Writes the identity of the shim and the main process.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_identity(&self, identity: &Identity) -> Result<(), RunDirError> {
        self.write(IDENTITY, &identity.to_text())
    }

    /// Reads that identity; `None` if the shim has not got that far.
    ///
    /// # Errors
    /// When it cannot be read or is damaged.
    pub fn read_identity(&self) -> Result<Option<Identity>, RunDirError> {
        self.read(IDENTITY, Identity::from_text)
    }

    /// Writes how it ended.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_exit(&self, record: &ExitRecord) -> Result<(), RunDirError> {
        self.write(EXIT, &record.to_text())
    }

    /// Reads how it ended; `None` if it has not ended, or the shim died first.
    ///
    /// # Errors
    /// When it cannot be read or is damaged.
    pub fn read_exit(&self) -> Result<Option<ExitRecord>, RunDirError> {
        self.read(EXIT, ExitRecord::from_text)
    }

    fn write(&self, name: &str, text: &[u8]) -> Result<(), RunDirError> {
        let path = self.path.join(name);
        atomic_file::write(&path, text).map_err(io_error("write", &path))
    }

    fn read<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&[u8]) -> Result<T, ParseError>,
    ) -> Result<Option<T>, RunDirError> {
        let path = self.path.join(name);
        let Some(text) = atomic_file::read(&path).map_err(io_error("read", &path))? else {
            return Ok(None);
        };
        let parsed = if text.len() as u64 > MAX_FILE {
            Err(ParseError::TooLarge)
        } else {
            parse(&text)
        };
        parsed
            .map(Some)
            .map_err(|source| RunDirError::Parse { path, source })
    }
}

fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RunDirError {
    let path = path.to_owned();
    move |source| RunDirError::Io {
        operation,
        path,
        source,
    }
}

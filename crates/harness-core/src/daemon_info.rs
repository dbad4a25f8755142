//! `daemon.json`: where the running daemon is.
//!
//! Written when the daemon listens, removed when it ends normally. Whether the file is stale (after kill -9) is
//! decided by the lock next to it, never by the pid alone.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use harness_model::WallTime;
use serde::{Deserialize, Serialize};

use crate::home::Home;

/// Where the running daemon is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonInfo {
    /// Its process.
    pub pid: u32,
    /// The port it listens on, on 127.0.0.1.
    pub port: u16,
    /// Its version.
    pub version: String,
    /// The boot in which it runs. After a reboot the file is not valid.
    pub boot_id: String,
    /// When it started.
    pub started_at: WallTime,
}

/// The newest known format of the file, which is also the one that is written.
const FORMAT: u32 = 1;

/// A longer file is damaged.
const MAX_SIZE: u64 = 1 << 20;

/// The content of the file, with its format.
#[derive(Serialize)]
struct Written<'a> {
    format: u32,
    #[serde(flatten)]
    info: &'a DaemonInfo,
}

/// The part that can be read in every format. The first format had no number.
#[derive(Deserialize)]
struct Format {
    #[serde(default)]
    format: u32,
}

/// Why the file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum DaemonInfoError {
    /// The system refused.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// The operation that failed.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A daemon of a newer version wrote it.
    #[error(
        "{} was written by a newer harness (format {found}; this one knows up to {FORMAT}): use that version",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
}

impl DaemonInfo {
    /// Reads the file. `None` if there is none, or it is damaged; the next daemon writes it again.
    ///
    /// # Errors
    /// When it exists but cannot be read, or a newer version wrote it.
    pub fn read(home: &Home) -> Result<Option<Self>, DaemonInfoError> {
        let path = home.daemon_json();
        let bytes = match harness_files::read(&path, MAX_SIZE).map_err(io::Error::from) {
            Ok(bytes) => bytes,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::FileTooLarge
                ) =>
            {
                return Ok(None);
            }
            Err(source) => {
                return Err(DaemonInfoError::Io {
                    operation: "read",
                    path,
                    source,
                });
            }
        };
        match serde_json::from_slice(&bytes) {
            Ok(Format { format: found }) if found > FORMAT => Err(DaemonInfoError::Newer { path, found }),
            _ => Ok(serde_json::from_slice(&bytes).ok()),
        }
    }

    /// Writes a temporary file next to it, and renames that over it.
    ///
    /// # Errors
    /// When that fails.
    pub fn write(&self, home: &Home) -> Result<(), DaemonInfoError> {
        let path = home.daemon_json();
        let temporary = path.with_extension("json.new");
        let write = || {
            let written = Written {
                format: FORMAT,
                info: self,
            };
            let text = serde_json::to_vec(&written).map_err(io::Error::other)?;
            let written = overwrite(&temporary, &text).and_then(|()| std::fs::rename(&temporary, &path));
            if written.is_err() {
                // The first error is the one that matters.
                let _ = std::fs::remove_file(&temporary);
            }
            written
        };
        write().map_err(|source| DaemonInfoError::Io {
            operation: "write",
            path: path.clone(),
            source,
        })
    }

    /// Moves the file of an earlier daemon away, so that nobody thinks it is from the current one. Keeps its disk
    /// space for [`Self::write`], because the disk may be full. Only the holder of the lock may call this.
    ///
    /// # Errors
    /// When it exists but cannot be moved.
    pub(crate) fn remove_stale(home: &Home) -> Result<(), DaemonInfoError> {
        let path = home.daemon_json();
        let replaced = match std::fs::symlink_metadata(&path) {
            // A folder is not something that a daemon left.
            Ok(there) if there.is_dir() => Err(rustix::io::Errno::ISDIR.into()),
            _ => std::fs::rename(&path, path.with_extension("json.new")),
        };
        match replaced {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(DaemonInfoError::Io {
                operation: "replace",
                path,
                source,
            }),
            _ => Ok(()),
        }
    }

    /// Removes the file if it is still the one of this process.
    pub fn remove(home: &Home) {
        if let Ok(Some(info)) = Self::read(home)
            && info.pid == std::process::id()
        {
            // It is fine if it is gone already.
            let _ = std::fs::remove_file(home.daemon_json());
        }
    }
}

/// Overwrites an existing file without releasing its disk space first.
fn overwrite(path: &Path, text: &[u8]) -> io::Result<()> {
    // Opening a pipe would wait for a reader.
    if std::fs::symlink_metadata(path).is_ok_and(|there| !there.is_file()) {
        std::fs::remove_file(path)?;
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    file.write_all(text)?;
    file.set_len(text.len() as u64)
}

/// The id of the current boot.
///
/// # Errors
/// When it cannot be read.
pub fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

//! `daemon.json`: where the running daemon is.
//!
//! Written once it listens, removed when it ends in order. A stale one (after kill -9) is told from a live one
//! by the lock beside it, never by the pid alone.

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
    /// The boot it runs in: after a reboot the file means nothing.
    pub boot_id: String,
    /// When it started.
    pub started_at: WallTime,
}

/// The newest format of the file known here, and the one that is written.
const FORMAT: u32 = 1;

/// One that is longer is damaged.
const MAX_SIZE: u64 = 1 << 20;

/// The file: what the daemon says, and in which format.
#[derive(Serialize)]
struct Written<'a> {
    format: u32,
    #[serde(flatten)]
    info: &'a DaemonInfo,
}

/// What can be read of a file of any format; the first had no number.
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
        /// What was tried.
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
    /// What the file says; `None` when there is none, or it is damaged (it is rewritten by the next daemon).
    ///
    /// # Errors
    /// When it is there and cannot be read, or is of a newer version.
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

    /// Writes it beside and renames it over.
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

    /// Takes away what a former daemon left, so that nobody takes it for what the present one says. Its space is kept
    /// for [`Self::write`]: the disk may be full. Only for whoever holds the lock.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub(crate) fn remove_stale(home: &Home) -> Result<(), DaemonInfoError> {
        let path = home.daemon_json();
        let replaced = match std::fs::symlink_metadata(&path) {
            // Whatever that is, it is not what a daemon left.
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

    /// Removes the file if it is still about this process.
    pub fn remove(home: &Home) {
        if let Ok(Some(info)) = Self::read(home)
            && info.pid == std::process::id()
        {
            // Gone already is as good.
            let _ = std::fs::remove_file(home.daemon_json());
        }
    }
}

/// Writes over what is there, if anything is, without giving up its space before.
fn overwrite(path: &Path, text: &[u8]) -> io::Result<()> {
    // To open a pipe would wait for a reader.
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

/// The id of the present boot.
///
/// # Errors
/// When the kernel does not tell.
pub fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

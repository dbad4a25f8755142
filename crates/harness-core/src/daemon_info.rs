//! `daemon.json`: where the running daemon is.
//!
//! Written once it listens, removed when it ends in order. A stale one (after kill -9) is told from a live one
//! by the lock beside it, never by the pid alone.

use std::io;
use std::path::PathBuf;

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

/// Why the file cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}: {source}", path.display())]
pub struct DaemonInfoError {
    /// What was tried.
    pub operation: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl DaemonInfo {
    /// What the file says; `None` when there is none, or it is damaged (it is rewritten by the next daemon).
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn read(home: &Home) -> Result<Option<Self>, DaemonInfoError> {
        let path = home.daemon_json();
        match std::fs::read(&path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(DaemonInfoError {
                operation: "read",
                path,
                source,
            }),
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
            let text = serde_json::to_vec(self).map_err(io::Error::other)?;
            std::fs::write(&temporary, text)?;
            std::fs::rename(&temporary, &path)
        };
        write().map_err(|source| DaemonInfoError {
            operation: "write",
            path: path.clone(),
            source,
        })
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

/// The id of the present boot.
///
/// # Errors
/// When the kernel does not tell.
pub fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

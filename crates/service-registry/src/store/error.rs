//! Why the store could not be opened or written. Cheap to clone: a failed transaction is reported to everybody who
//! waits for it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why the store could not be opened or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The file could not be opened or created.
    #[error("cannot open {}", path.display())]
    Open {
        /// The path of the store file.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: Arc<io::Error>,
    },
    /// Another process (or this one) has it open.
    #[error("{} is in use by another process", path.display())]
    InUse {
        /// The path of the store file.
        path: PathBuf,
    },
    /// A newer version of the program wrote it. The file was not changed.
    #[error(
        "{} was written by a newer version (schema {found}; this one knows up to {supported}): use that version, \
         or move the file away to start with an empty store",
        path.display()
    )]
    NewerSchema {
        /// The path of the store file.
        path: PathBuf,
        /// The version of its schema.
        found: u32,
        /// The newest version that this program knows.
        supported: u32,
    },
    /// The content of the file cannot be understood.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The path of the store file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A damaged file could not be moved away.
    #[error("cannot move the damaged {} to {}", path.display(), to.display())]
    SetAside {
        /// The path of the store file.
        path: PathBuf,
        /// Its new name.
        to: PathBuf,
        /// The error of the system.
        #[source]
        source: Arc<io::Error>,
    },
    /// The database refused the operation.
    #[error("cannot {operation} {}", path.display())]
    Database {
        /// The operation: `read`, `write`.
        operation: &'static str,
        /// The path of the store file.
        path: PathBuf,
        /// The error of the database.
        #[source]
        source: Arc<redb::Error>,
    },
    /// A record could not be turned into JSON.
    #[error("cannot encode {key} for {}", path.display())]
    Encode {
        /// The record.
        key: String,
        /// The path of the store file.
        path: PathBuf,
        /// The error of the encoder.
        #[source]
        source: Arc<serde_json::Error>,
    },
    /// The writer thread could not be started.
    #[error("cannot start the writer of {}", path.display())]
    Thread {
        /// The path of the store file.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: Arc<io::Error>,
    },
    /// The writer thread has ended.
    #[error("the store {} is closed", path.display())]
    Closed {
        /// The path of the store file.
        path: PathBuf,
    },
}

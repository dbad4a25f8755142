//! Why the store could not be opened or written. Cheap to clone: one failed transaction is reported to
//! everybody who waits for it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why the store could not be opened or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The file could not be opened or created.
    #[error("cannot open {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// Another process (or this one) has it open.
    #[error("{} is in use by another process", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A newer version of the program wrote it. It has not been touched.
    #[error(
        "{} was written by a newer version (schema {found}; this one knows up to {supported}): use that version, \
         or move the file away to begin empty",
        path.display()
    )]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// The version of its schema.
        found: u32,
        /// The newest version known here.
        supported: u32,
    },
    /// What is in the file makes no sense.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A damaged file could not be moved out of the way.
    #[error("cannot move the damaged {} to {}", path.display(), to.display())]
    SetAside {
        /// The file.
        path: PathBuf,
        /// Its new name.
        to: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// The database refused.
    #[error("cannot {operation} {}", path.display())]
    Database {
        /// What was tried: `read`, `write`.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What it said.
        #[source]
        source: Arc<redb::Error>,
    },
    /// A record could not be turned into JSON.
    #[error("cannot encode {key} for {}", path.display())]
    Encode {
        /// Which record.
        key: String,
        /// The file.
        path: PathBuf,
        /// What the encoder said.
        #[source]
        source: Arc<serde_json::Error>,
    },
    /// The writer thread could not be started.
    #[error("cannot start the writer of {}", path.display())]
    Thread {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// The writer thread has ended.
    #[error("the store {} is closed", path.display())]
    Closed {
        /// The file.
        path: PathBuf,
    },
}

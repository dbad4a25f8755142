//! What survives the daemon: projects and services in one file.
//!
//! ```text
//! put_*/remove_* ──> pending (newest value per key) ──> writer thread ──> one transaction ──> disk
//!                        ^                                   │
//!                        └───────── put back if it failed ───┘
//! ```
//!
//! Submitting never waits for the disk: a writer thread takes what has gathered and commits it as one
//! transaction. [`Store::flush`] waits for that. What could not be written (disk full, say) stays in memory,
//! is tried again, and is told by [`Store::last_error`].
//!
//! The file is a redb database with a schema version. Specifications and live status are kept under separate
//! keys, so that a change of state writes a few hundred bytes, whatever the size of the specification. Values
//! are JSON. They contain the secrets of the services, so the file is readable by its owner alone.

mod batch;
mod error;
mod file;
mod rows;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use harness_model::{ProjectName, ServiceName};

pub use error::StoreError;
pub use file::{SCHEMA_VERSION, damaged_stores};

use crate::record::{ProjectRecord, ServiceRecord};
use batch::Write;
use writer::Queue;

/// The store. Dropping it writes what is pending and closes the file, which may take as long as a commit.
pub struct Store {
    path: PathBuf,
    queue: Arc<Queue>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// A store that has been opened.
pub struct Opened {
    /// The store.
    pub store: Store,
    /// What it held.
    pub contents: Contents,
    /// Where a damaged file was moved to; the store then began empty.
    pub set_aside: Option<PathBuf>,
}

/// Everything that a store holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// The projects, by name.
    pub projects: Vec<ProjectRecord>,
    /// The services, by project and name.
    pub services: Vec<ServiceRecord>,
    /// About the store itself.
    pub meta: Meta,
}

/// About a store itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// The version of its schema.
    pub schema: u32,
}

impl Default for Meta {
    fn default() -> Self {
        Self {
            schema: SCHEMA_VERSION,
        }
    }
}

impl Store {
    /// Opens the store in the file at `path`, creating it (mode 0600) if there is none. Blocks on the disk.
    ///
    /// A damaged file is renamed to `<name>.damaged-<unix time>` and the store begins empty.
    ///
    /// # Errors
    /// When the file cannot be opened or moved, another process has it open, or a newer version wrote it; it
    /// is left as it is then.
    pub fn open(path: impl AsRef<Path>) -> Result<Opened, StoreError> {
        let path = path.as_ref().to_owned();
        let (mut file, contents, set_aside) = file::open_or_set_aside(&path)?;
        file.reserve();
        let queue = Arc::new(Queue::default());
        let writer = writer::spawn(file, Arc::clone(&queue)).map_err(|source| StoreError::Thread {
            path: path.clone(),
            source: Arc::new(source),
        })?;
        let store = Self {
            path,
            queue,
            writer: Mutex::new(Some(writer)),
        };
        Ok(Opened {
            store,
            contents,
            set_aside,
        })
    }

    /// Reads what the file at `path` holds without changing or keeping it. Blocks on the disk.
    ///
    /// # Errors
    /// As [`Store::open`], and [`StoreError::Damaged`].
    pub fn load(path: impl AsRef<Path>) -> Result<Contents, StoreError> {
        file::File::open(path.as_ref()).map(|(_, contents)| contents)
    }

    /// Where it is kept.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a project.
    pub fn put_project(&self, record: Arc<ProjectRecord>) {
        self.queue
            .submit(|batch| batch.project(record.name.clone(), Some(record)));
    }

    /// Forgets a project (its services are removed one by one).
    pub fn remove_project(&self, project: ProjectName) {
        self.queue.submit(|batch| batch.project(project, None));
    }

    /// Writes all of a service.
    pub fn put_service(&self, record: Arc<ServiceRecord>) {
        self.queue
            .submit(|batch| batch.service(Write::Put { record, spec: true }));
    }

    /// Writes a service of which only the status has changed: not its spec, environment or addresses.
    pub fn put_status(&self, record: Arc<ServiceRecord>) {
        self.queue
            .submit(|batch| batch.service(Write::Put { record, spec: false }));
    }

    /// Forgets a service.
    pub fn remove_service(&self, project: ProjectName, service: ServiceName) {
        self.queue
            .submit(|batch| batch.service(Write::Remove { project, service }));
    }

    /// Waits until everything submitted before this call is on the disk.
    ///
    /// # Errors
    /// When writing failed; what could not be written is kept and tried again.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let written = self.queue.ask_for_write();
        written.recv().await.unwrap_or_else(|_| {
            Err(StoreError::Closed {
                path: self.path.clone(),
            })
        })
    }

    /// Why the last write failed; `None` if it succeeded.
    pub fn last_error(&self) -> Option<StoreError> {
        self.queue.last_error()
    }

    /// Writes what is pending and closes the file, as dropping it does; what is submitted after that is not kept.
    /// Blocks on the disk.
    pub fn close(&self) {
        self.queue.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer
            && writer.join().is_err()
        {
            tracing::error!(path = %self.path.display(), "the state store's writer panicked");
        }
    }

    /// How many transactions have been committed since it was opened.
    pub fn commits(&self) -> u64 {
        self.queue.commits()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

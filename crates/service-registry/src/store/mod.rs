//! What outlives the daemon: projects and services, in one file.
//!
//! ```text
//! put_*/remove_* ──> pending (newest value per key) ──> writer thread ──> one transaction ──> disk
//!                        ^                                   │
//!                        └───────── put back if it failed ───┘
//! ```
//!
//! Submitting never waits for the disk. A writer thread takes what has been collected and commits it as one
//! transaction. [`Store::flush`] waits for that. What cannot be written, for example because the disk is full, stays
//! in memory and is tried again. [`Store::last_error`] says so.
//!
//! The file is a redb database with a schema version. Specifications and current status have separate keys, so that a
//! change of state writes only a few hundred bytes, however large the specification is. Values are JSON. They contain
//! the secrets of the services, so only the owner can read the file.

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

/// The store. Dropping it writes what is pending and closes the file. This may take as long as a commit.
pub struct Store {
    path: PathBuf,
    queue: Arc<Queue>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// The result of opening a store.
pub struct Opened {
    /// The store.
    pub store: Store,
    /// Its content.
    pub contents: Contents,
    /// The new path of a damaged file. The store then started empty.
    pub set_aside: Option<PathBuf>,
}

/// Everything that a store contains.
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
    /// Opens the store in the file at `path`, and creates it (mode 0600) if it does not exist. Blocks on the disk.
    ///
    /// A damaged file is renamed to `<name>.damaged-<unix time>`, and the store starts empty.
    ///
    /// # Errors
    /// When the file cannot be opened or moved, another process has it open, or a newer version wrote it. Then it is
    /// left as it is.
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

    /// Reads the content of the file at `path`, without changing it or keeping it open. Blocks on the disk.
    ///
    /// # Errors
    /// The same as [`Store::open`], and [`StoreError::Damaged`].
    pub fn load(path: impl AsRef<Path>) -> Result<Contents, StoreError> {
        file::File::open(path.as_ref()).map(|(_, contents)| contents)
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a project.
    pub fn put_project(&self, record: Arc<ProjectRecord>) {
        self.queue
            .submit(|batch| batch.project(record.name.clone(), Some(record)));
    }

    /// Forgets a project. Its services must be removed one by one.
    pub fn remove_project(&self, project: ProjectName) {
        self.queue.submit(|batch| batch.project(project, None));
    }

    /// Writes everything about a service.
    pub fn put_service(&self, record: Arc<ServiceRecord>) {
        self.queue
            .submit(|batch| batch.service(Write::Put { record, spec: true }));
    }

    /// Writes only the status of a service, because nothing else has changed: not its spec, environment or addresses.
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
    /// When writing failed. What could not be written is kept and tried again.
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

    /// Writes what is pending and closes the file, as dropping it does. What is submitted later is not kept. Blocks
    /// on the disk.
    pub fn close(&self) {
        self.queue.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer
            && writer.join().is_err()
        {
            tracing::error!(path = %self.path.display(), "the state store's writer panicked");
        }
    }

    /// How many transactions were committed since it was opened.
    pub fn commits(&self) -> u64 {
        self.queue.commits()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

//! The file itself: opens, checks, reads and writes it.

use std::fs::{OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use harness_model::{ProjectName, ServiceName};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::Serialize;

use super::batch::{Batch, Write};
use super::rows::{self, SpecRow, StatusRow};
use super::{Contents, Meta, StoreError};

/// The newest schema that this version can read, and the one that it writes.
pub const SCHEMA_VERSION: u32 = 1;

/// How many bytes of the file are kept in memory. The whole file is read only once, at the start.
const CACHE: usize = 1 << 20;

const SCHEMA_KEY: &str = "schema";
const META: TableDefinition<'_, &str, u32> = TableDefinition::new("meta");
const PROJECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("projects");
/// By project and service: what changes together with the user's file.
const SPECS: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("service_specs");
/// By project and service: what changes while the service runs.
const STATUS: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("service_status");

/// An open store file.
pub(super) struct File {
    path: PathBuf,
    /// `None` after a failed write: after that, the database refuses everything until it is opened again.
    database: Option<Database>,
    /// How many bytes of the file have their space on the disk for certain.
    reserved: u64,
}

/// Opens the file; if it is damaged, moves it away and creates a new one.
pub(super) fn open_or_set_aside(path: &Path) -> Result<(File, Contents, Option<PathBuf>), StoreError> {
    match File::open(path) {
        Err(StoreError::Damaged { reason, .. }) => {
            let aside = set_aside(path)?;
            tracing::warn!(path = %path.display(), aside = %aside.display(), reason, "the state store was damaged");
            File::open(path).map(|(file, contents)| (file, contents, Some(aside)))
        }
        opened => opened.map(|(file, contents)| (file, contents, None)),
    }
}

/// What follows the store's name in the name of a damaged store. After it comes the time, in seconds.
const DAMAGED: &str = ".damaged-";

/// The damaged stores that were set aside beside the one at `path`, oldest first.
pub fn damaged_stores(path: &Path) -> Vec<PathBuf> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Vec::new();
    };
    let mut start = name.to_owned();
    start.push(DAMAGED);
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            name.as_encoded_bytes().starts_with(start.as_encoded_bytes())
        })
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let seconds = harness_model::WallTime::now().as_secs();
    let mut name = path.as_os_str().to_owned();
    name.push(format!("{DAMAGED}{seconds}"));
    let mut to = PathBuf::from(&name);
    let mut count = 1;
    while to.symlink_metadata().is_ok() {
        let mut numbered = name.clone();
        numbered.push(format!("-{count}"));
        to = PathBuf::from(numbered);
        count += 1;
    }
    std::fs::rename(path, &to).map_err(|source| StoreError::SetAside {
        path: path.to_owned(),
        to: to.clone(),
        source: Arc::new(source),
    })?;
    Ok(to)
}

impl File {
    /// Opens and reads the file, and creates it if it does not exist.
    pub(super) fn open(path: &Path) -> Result<(Self, Contents), StoreError> {
        guarded(path, "read", || {
            let database = open_database(path)?;
            let contents = read(&database)?;
            let file = Self {
                path: path.to_owned(),
                database: Some(database),
                reserved: 0,
            };
            Ok((file, contents))
        })
    }

    /// Writes the whole batch or nothing.
    pub(super) fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let path = self.path.clone();
        let database = self.database.take();
        let database = guarded(&self.path, "write", move || {
            let database = match database {
                Some(database) => database,
                None => open_database(&path)?,
            };
            write(&path, &database, batch)?;
            Ok(database)
        })?;
        self.database = Some(database);
        self.reserve();
        Ok(())
    }

    /// Reserves the space of the whole file, because the database leaves it full of holes. So changes can be written
    /// even on a full disk. If the disk cannot do that, nothing is worse than before.
    pub(super) fn reserve(&mut self) {
        let Ok(length) = std::fs::metadata(&self.path).map(|meta| meta.len()) else {
            return;
        };
        if length > self.reserved
            && let Ok(file) = OpenOptions::new().write(true).open(&self.path)
            && rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, length).is_ok()
        {
            self.reserved = length;
        }
    }
}

/// The errors inside this module. They are told apart only at its edge.
#[derive(Debug)]
enum Failure {
    Store(StoreError),
    Database(redb::Error),
    Damaged(String),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

macro_rules! from_redb {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for Failure {
            fn from(error: redb::$error) -> Self {
                Self::Database(error.into())
            }
        }
    )*};
}
from_redb!(
    DatabaseError,
    TransactionError,
    TableError,
    StorageError,
    CommitError
);

/// Runs `work` and turns its errors into ours. The database panics on some kinds of damage, and that must not end the
/// daemon.
fn guarded<T>(
    path: &Path,
    operation: &'static str,
    work: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, StoreError> {
    let damaged = |reason| StoreError::Damaged {
        path: path.to_owned(),
        reason,
    };
    // A panic drops everything that `work` has borrowed, so nothing half changed is used afterwards.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(Failure::Store(error))) => Err(error),
        Ok(Err(Failure::Damaged(reason))) => Err(damaged(reason)),
        Ok(Err(Failure::Database(redb::Error::DatabaseAlreadyOpen))) => Err(StoreError::InUse {
            path: path.to_owned(),
        }),
        Ok(Err(Failure::Database(error))) if means_damage(&error) => Err(damaged(error.to_string())),
        Ok(Err(Failure::Database(error))) => Err(StoreError::Database {
            operation,
            path: path.to_owned(),
            source: Arc::new(error),
        }),
        Err(_) => Err(damaged("the database cannot handle its content".to_owned())),
    }
}

fn means_damage(error: &redb::Error) -> bool {
    use io::ErrorKind::{InvalidData, UnexpectedEof};
    match error {
        redb::Error::Io(error) => matches!(error.kind(), InvalidData | UnexpectedEof),
        redb::Error::Corrupted(_)
        | redb::Error::UpgradeRequired(_)
        | redb::Error::RepairAborted
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TypeDefinitionChanged { .. } => true,
        _ => false,
    }
}

fn open_database(path: &Path) -> Result<Database, Failure> {
    let failed = |source| StoreError::Open {
        path: path.to_owned(),
        source: Arc::new(source),
    };
    let is_new = path.symlink_metadata().is_err();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))
            .map_err(failed)?;
    }
    let mut database = Database::builder().set_cache_size(CACHE).create_file(file)?;
    if is_new {
        sync_folder(path).map_err(failed)?;
    } else if !database.check_integrity()? {
        tracing::warn!(path = %path.display(), "the state store was repaired");
    }
    match schema(&database)? {
        None => create_tables(&database)?,
        Some(found) if found > SCHEMA_VERSION => {
            let path = path.to_owned();
            return Err(StoreError::NewerSchema {
                path,
                found,
                supported: SCHEMA_VERSION,
            }
            .into());
        }
        Some(_) => {}
    }
    Ok(database)
}

/// After a crash, a new file is certain to be found only if its folder was written to the disk.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    std::fs::File::open(folder)?.sync_all()
}

/// The schema version; `None` if there are no tables yet.
fn schema(database: &Database) -> Result<Option<u32>, Failure> {
    let transaction = database.begin_read()?;
    if transaction.list_tables()?.next().is_none() {
        return Ok(None);
    }
    match transaction.open_table(META) {
        Ok(meta) => match meta.get(SCHEMA_KEY)? {
            Some(version) => Ok(Some(version.value())),
            None => Err(Failure::Damaged("it has no schema version".to_owned())),
        },
        Err(redb::TableError::TableDoesNotExist(_)) => Err(Failure::Damaged(
            "it is the database of another program".to_owned(),
        )),
        Err(error) => Err(error.into()),
    }
}

fn create_tables(database: &Database) -> Result<(), Failure> {
    let transaction = database.begin_write()?;
    transaction.open_table(META)?.insert(SCHEMA_KEY, SCHEMA_VERSION)?;
    transaction.open_table(PROJECTS)?;
    transaction.open_table(SPECS)?;
    transaction.open_table(STATUS)?;
    transaction.commit()?;
    Ok(())
}

fn decode<T: serde::de::DeserializeOwned>(key: &str, json: &[u8]) -> Result<T, Failure> {
    // The reason names the place in the JSON, but not the text there: it may be a secret.
    serde_json::from_slice(json).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Failure::Damaged(format!(
            "the record of {key} cannot be read (JSON line {line}, column {column})"
        ))
    })
}

fn read(database: &Database) -> Result<Contents, Failure> {
    let transaction = database.begin_read()?;
    let mut contents = Contents {
        meta: Meta {
            schema: schema(database)?.unwrap_or(SCHEMA_VERSION),
        },
        ..Contents::default()
    };
    for row in transaction.open_table(PROJECTS)?.iter()? {
        let (name, json) = row?;
        contents.projects.push(decode(name.value(), json.value())?);
    }
    let status = transaction.open_table(STATUS)?;
    for row in transaction.open_table(SPECS)?.iter()? {
        let (key, json) = row?;
        let (project, service) = key.value();
        let label = format!("{project}/{service}");
        let spec: SpecRow = decode(&label, json.value())?;
        let Some(live) = status.get(key.value())? else {
            return Err(Failure::Damaged(format!("{label} has no status")));
        };
        let live: StatusRow = decode(&label, live.value())?;
        let name = |_| Failure::Damaged(format!("{label} is not a valid name"));
        contents.services.push(rows::join(
            ProjectName::new(project).map_err(name)?,
            ServiceName::new(service).map_err(name)?,
            spec,
            live,
        ));
    }
    Ok(contents)
}

fn write(path: &Path, database: &Database, batch: &Batch) -> Result<(), Failure> {
    let transaction = database.begin_write()?;
    {
        let mut projects = transaction.open_table(PROJECTS)?;
        for (name, record) in &batch.projects {
            match record {
                Some(record) => {
                    let json = encode(path, name.as_str(), record.as_ref())?;
                    projects.insert(name.as_str(), json.as_slice())?;
                }
                None => drop(projects.remove(name.as_str())?),
            }
        }
        let mut specs = transaction.open_table(SPECS)?;
        let mut status = transaction.open_table(STATUS)?;
        for ((project, service), write) in &batch.services {
            let key = (project.as_str(), service.as_str());
            match write {
                Write::Put { record, spec } => {
                    let label = || format!("{project}/{service}");
                    if *spec || specs.get(key)?.is_none() {
                        let json = encode(path, &label(), &SpecRow::of(record))?;
                        specs.insert(key, json.as_slice())?;
                    }
                    let json = encode(path, &label(), &StatusRow::of(record))?;
                    status.insert(key, json.as_slice())?;
                }
                Write::Remove { .. } => {
                    specs.remove(key)?;
                    status.remove(key)?;
                }
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

fn encode(path: &Path, key: &str, value: &impl Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(value).map_err(|source| {
        Failure::Store(StoreError::Encode {
            key: key.to_owned(),
            path: path.to_owned(),
            source: Arc::new(source),
        })
    })
}

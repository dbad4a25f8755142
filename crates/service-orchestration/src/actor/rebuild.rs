//! Files beside the run directories. They let a daemon know the services again when the store that knew them is lost.
//!
//! ```text
//! projects/<project>/project.json             the project, written when it changes
//! projects/<project>/<service>/record.json    the service as it was last launched
//! projects/<project>/<service>/after_stop.json  the same, until its `after_stop` hook has run
//! ```
//!
//! The store is the truth. These files are read only for what the store does not know: because the store was damaged
//! and set aside, or removed, or the daemon was killed before its first write. What runs then is adopted. What does
//! not run is not started, since nobody knows any more whether it was wanted. `after_stop.json` is read in any case:
//! nothing else says that a hook must still run.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use harness_model::{ProjectName, ServiceName, ServiceState};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use service_registry::Registry;
use service_registry::record::{ProjectRecord, ServiceRecord};

use crate::executor::LaunchError;
use crate::layout::{Layout, make_folder};

/// The only format so far.
const FORMAT: u32 = 1;

/// A record contains templates of up to 4 MiB each.
const MAX_SIZE: u64 = 1 << 30;

/// Neither is a possible name of a service or a generation.
const PROJECT_FILE: &str = "project.json";
const SERVICE_FILE: &str = "record.json";
const OWED_FILE: &str = "after_stop.json";

#[derive(Serialize, Deserialize)]
struct Kept<T> {
    format: u32,
    record: T,
}

/// The part that can be read from a file of any format.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// A file that knows services which the store does not know was written by a newer version. Nothing has been changed.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} was written by a newer harness (format {found}; this one knows up to {FORMAT}): use that version, or move \
     the file away to start without its services",
    path.display()
)]
pub struct NewerRecord {
    /// The file.
    pub path: PathBuf,
    /// Its format.
    pub found: u32,
}

/// Keeps a copy of a project beside its services. If that fails, it is logged, and matters only if the store is lost.
pub(super) fn keep_project(layout: &Layout, record: &ProjectRecord) {
    let project = layout.project(&record.name);
    keep(&[layout.projects(), &project], PROJECT_FILE, record);
}

/// Keeps a copy of a service beside its run directories; see [`keep_project`].
pub(super) fn keep_service(layout: &Layout, record: &ServiceRecord) {
    let (project, service) = (
        layout.project(&record.project),
        layout.service(&record.project, &record.name),
    );
    keep(&[layout.projects(), &project, &service], SERVICE_FILE, record);
}

/// Notes that the `after_stop` hook of a generation must run, together with the record that the generation is
/// launched with.
///
/// # Errors
/// When it cannot be written. The generation must not be launched then.
pub(super) fn owe(layout: &Layout, record: &ServiceRecord) -> Result<(), LaunchError> {
    let (project, service) = (
        layout.project(&record.project),
        layout.service(&record.project, &record.name),
    );
    let folders = [layout.projects(), &project, &service];
    make_and_write(&folders, OWED_FILE, record).map_err(|source| LaunchError::Path {
        what: "cannot record that its after_stop hook must run, in",
        path: service.join(OWED_FILE),
        source,
    })
}

/// The record that a generation was launched with, if its `after_stop` hook must still run.
pub(super) fn owed(layout: &Layout, project: &ProjectName, service: &ServiceName) -> Option<ServiceRecord> {
    let owed = read::<ServiceRecord>(&layout.service(project, service).join(OWED_FILE))?;
    (owed.project == *project && owed.name == *service).then_some(owed)
}

/// Notes that the hook has run. If that fails, the hook will run once more.
pub(super) fn pay(layout: &Layout, project: &ProjectName, service: &ServiceName) {
    let path = layout.service(project, service).join(OWED_FILE);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "cannot record that an after_stop hook has run");
        }
        _ => {}
    }
}

/// The record that a generation was launched with, if a different specification was recorded since.
pub(super) fn launched_by(layout: &Layout, record: &ServiceRecord, generation: u64) -> Option<ServiceRecord> {
    let digest = record.launched_digest.as_ref()?;
    if record.generation != generation || *digest == record.digest {
        return None;
    }
    let kept = read::<ServiceRecord>(&layout.service(&record.project, &record.name).join(SERVICE_FILE))?;
    (kept.generation == generation && kept.digest == *digest).then_some(kept)
}

fn keep(folders: &[&Path], name: &str, record: &impl Serialize) {
    if let Err(error) = make_and_write(folders, name, record) {
        let folder = folders.last().copied().unwrap_or(Path::new("/"));
        let path = folder.join(name);
        tracing::warn!(path = %path.display(), %error, "cannot write the copy that is needed if the store is lost");
    }
}

/// Writes into the last of these folders. Each folder is made inside the one before.
fn make_and_write(folders: &[&Path], name: &str, record: &impl Serialize) -> io::Result<()> {
    folders.iter().try_for_each(|folder| make_folder(folder))?;
    write(folders.last().copied().unwrap_or(Path::new("/")), name, record)
}

/// Writes all or nothing, readable only by the owner: it contains the secrets of its service.
fn write<T: Serialize>(folder: &Path, name: &str, record: &T) -> io::Result<()> {
    let new = folder.join(format!("{name}.new"));
    let json = serde_json::to_vec(&Kept {
        format: FORMAT,
        record,
    })?;
    // A killed daemon may have left one half written.
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file: File = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    let written = file
        .write_all(&json)
        .and_then(|()| std::fs::rename(&new, folder.join(name)));
    if written.is_err() {
        // On a full disk every page counts.
        let _ = std::fs::remove_file(&new);
    }
    written
}

/// Reads a file. If it cannot be read, that is logged and the file is ignored.
fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let bytes = match harness_files::read(path, MAX_SIZE).map_err(io::Error::from) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "cannot read the copy of a service's record");
            return None;
        }
    };
    let damaged = |error: serde_json::Error| {
        // Log the place, but not the text there: it may be a secret.
        let (line, column) = (error.line(), error.column());
        tracing::warn!(path = %path.display(), line, column, "the copy of a service's record is damaged");
    };
    let format = serde_json::from_slice::<Format>(&bytes)
        .map_err(damaged)
        .ok()?
        .format;
    if format != FORMAT {
        tracing::warn!(path = %path.display(), format, "the copy of a service's record has an unknown format");
        return None;
    }
    let kept = serde_json::from_slice::<Kept<T>>(&bytes).map_err(damaged).ok()?;
    Some(kept.record)
}

/// Refuses to go on if the store has lost services that only a newer version can read from these files: this version
/// would start them a second time. Blocks on the disk.
///
/// # Errors
/// When there is such a file.
pub fn refuse_newer_records(layout: &Layout, registry: &Registry) -> Result<(), NewerRecord> {
    for folder in folders(layout.projects()) {
        let project = name_of(&folder).and_then(|name| ProjectName::new(name).ok());
        let Some(project) = project else { continue };
        if registry.project(&project).is_none() {
            refuse_newer(folder.join(PROJECT_FILE))?;
        }
        for (_, folder) in unknown(&folder, &project, registry) {
            refuse_newer(folder.join(SERVICE_FILE))?;
        }
        for folder in folders(&folder) {
            refuse_newer(folder.join(OWED_FILE))?;
        }
    }
    Ok(())
}

fn refuse_newer(path: PathBuf) -> Result<(), NewerRecord> {
    let read = harness_files::read(&path, MAX_SIZE).ok();
    match read.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
        Some(Format { format: found }) if found > FORMAT => Err(NewerRecord { path, found }),
        _ => Ok(()),
    }
}

/// Adds to the registry the projects that are on the disk and that it does not know. Returns the services that it
/// does not know, as they were last launched.
pub(super) fn lost(layout: &Layout, registry: &Registry) -> Vec<ServiceRecord> {
    let mut services = Vec::new();
    for folder in folders(layout.projects()) {
        let Some(kept) = read::<ProjectRecord>(&folder.join(PROJECT_FILE)) else {
            continue;
        };
        if layout.project(&kept.name) != folder {
            continue;
        }
        let project = match registry.project(&kept.name) {
            Some(known) => known,
            None => registry.upsert_project(kept, "found again on the disk; the store did not know it"),
        };
        for (name, folder) in unknown(&folder, &project.name, registry) {
            let kept = read::<ServiceRecord>(&folder.join(SERVICE_FILE));
            let Some(mut record) = kept.or_else(|| owed(layout, &project.name, &name)) else {
                continue;
            };
            if record.project == project.name && record.name == name {
                record.in_file = project.has(&record.name);
                record.state = ServiceState::Starting;
                record.launched_digest = None;
                record.was_ready = false;
                services.push(record);
            }
        }
    }
    services
}

/// The folders of a project's services that the registry does not know.
fn unknown(folder: &Path, project: &ProjectName, registry: &Registry) -> Vec<(ServiceName, PathBuf)> {
    folders(folder)
        .into_iter()
        .filter_map(|folder| Some((ServiceName::new(name_of(&folder)?).ok()?, folder)))
        .filter(|(name, _)| registry.service(project, name).is_none())
        .collect()
}

fn name_of(folder: &Path) -> Option<&str> {
    folder.file_name()?.to_str()
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(path) else {
        return Vec::new();
    };
    entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A copy of files that the daemon itself wrote when format 1 was the newest. Later versions must always be able
    /// to read them.
    fn fixture() -> (tempfile::TempDir, Layout) {
        let home = tempfile::tempdir().unwrap();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/records-v1");
        let layout = Layout::new(home.path());
        for file in ["demo/project.json", "demo/api/record.json", "demo/db/record.json"] {
            let to = layout.projects().join(file);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(from.join(file), to).unwrap();
        }
        (home, layout)
    }

    fn registry(home: &Path) -> Registry {
        smol::block_on(Registry::open(home.join("state")))
            .unwrap()
            .registry
    }

    #[test]
    fn the_first_format_can_still_be_read() {
        let (home, layout) = fixture();
        let registry = registry(home.path());
        refuse_newer_records(&layout, &registry).unwrap();
        let mut services = lost(&layout, &registry);
        services.sort_by(|a, b| a.name.cmp(&b.name));
        let names: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
        assert_eq!(names, ["api", "db"]);
        let project = registry.project(&ProjectName::new("demo").unwrap()).unwrap();
        assert_eq!(project.source, Path::new("/srv/demo/services.yaml"));
        assert_eq!(project.spec.services.len(), 2);
        for service in &services {
            assert!(service.in_file && service.generation == 1, "{service:?}");
            // If the digest came out differently, the service would be replaced for no reason.
            assert_eq!(service.spec.digest(), service.digest, "{}", service.name);
        }
        let db = &services[1];
        assert_eq!(db.spec.secrets().len(), 1);
        assert_eq!(db.spec.stop_signal.map(|signal| signal.0), Some(2));
        assert_eq!(db.addresses.ports.len(), 1);
        assert!(
            services[0]
                .dependency_addresses
                .contains_key("HARNESS_DB_PORT_MAIN")
        );
        // What is already known is not returned again.
        registry.upsert_service(db.clone(), service_registry::ChangeKind::Registered, "found");
        assert_eq!(lost(&layout, &registry).len(), 1);
    }

    #[test]
    fn a_format_to_come_is_refused_by_name_where_it_is_needed() {
        let (home, layout) = fixture();
        let registry = registry(home.path());
        for file in ["demo/project.json", "demo/db/record.json"] {
            let path = layout.projects().join(file);
            let whole = fs::read_to_string(&path).unwrap();
            let newer = r#"{"format":2,"record":"in a shape that nobody knows"}"#;
            fs::write(&path, newer).unwrap();
            let error = refuse_newer_records(&layout, &registry).unwrap_err().to_string();
            assert!(error.contains(file) && error.contains("format 2"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), newer);
            fs::write(&path, whole).unwrap();
        }
        // Damaged files are ignored, as before. So is a newer copy of something that the store knows.
        for service in lost(&layout, &registry) {
            registry.upsert_service(service, service_registry::ChangeKind::Registered, "found");
        }
        fs::write(layout.projects().join("demo/db/record.json"), r#"{"format":2}"#).unwrap();
        fs::write(layout.projects().join("demo/api/record.json"), "{").unwrap();
        refuse_newer_records(&layout, &registry).unwrap();
    }
}

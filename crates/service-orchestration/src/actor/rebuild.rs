//! What lies beside the run directories, so that services are known again when the store that knew them is lost.
//!
//! ```text
//! projects/<project>/project.json             the project, written when it changes
//! projects/<project>/<service>/record.json    the service as it was last launched
//! projects/<project>/<service>/after_stop.json  the same, while its `after_stop` hook has yet to run to its end
//! ```
//!
//! The store is the truth; these are read only for what it does not know: it was damaged and set aside, or
//! removed, or the daemon was killed before its first write. What runs then is adopted. What does not run is
//! not started by itself, since nobody knows any more whether it was wanted. The last one is read in any case: that
//! a hook is owed stands nowhere else.

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

/// The only format there is.
const FORMAT: u32 = 1;

/// Templates stand in a record, of 4 MiB at most each.
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

/// What can be read of a file of any format.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// What would tell of services that the store does not know was written by a newer version. Nothing has been
/// touched.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} was written by a newer harness (format {found}; this one knows up to {FORMAT}): use that version, or move \
     the file away to do without its services",
    path.display()
)]
pub struct NewerRecord {
    /// The file.
    pub path: PathBuf,
    /// Its format.
    pub found: u32,
}

/// Keeps a project beside its services. A failure is told and costs only what a lost store would need.
pub(super) fn keep_project(layout: &Layout, record: &ProjectRecord) {
    let project = layout.project(&record.name);
    keep(&[layout.projects(), &project], PROJECT_FILE, record);
}

/// Keeps a service beside its run directories; see [`keep_project`].
pub(super) fn keep_service(layout: &Layout, record: &ServiceRecord) {
    let (project, service) = (
        layout.project(&record.project),
        layout.service(&record.project, &record.name),
    );
    keep(&[layout.projects(), &project, &service], SERVICE_FILE, record);
}

/// Notes that the `after_stop` hook of a generation is owed, by the record that it is launched by.
///
/// # Errors
/// When it cannot be written: such a generation must not be launched.
pub(super) fn owe(layout: &Layout, record: &ServiceRecord) -> Result<(), LaunchError> {
    let (project, service) = (
        layout.project(&record.project),
        layout.service(&record.project, &record.name),
    );
    let folders = [layout.projects(), &project, &service];
    make_and_write(&folders, OWED_FILE, record).map_err(|source| LaunchError::Path {
        what: "note that its after_stop hook is owed:",
        path: service.join(OWED_FILE),
        source,
    })
}

/// The record that a generation was launched by whose `after_stop` hook is owed.
pub(super) fn owed(layout: &Layout, project: &ProjectName, service: &ServiceName) -> Option<ServiceRecord> {
    let owed = read::<ServiceRecord>(&layout.service(project, service).join(OWED_FILE))?;
    (owed.project == *project && owed.name == *service).then_some(owed)
}

/// The hook has run. If that cannot be noted, it will run once more.
pub(super) fn pay(layout: &Layout, project: &ProjectName, service: &ServiceName) {
    let path = layout.service(project, service).join(OWED_FILE);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "cannot note that an after_stop hook has run");
        }
        _ => {}
    }
}

/// The record that a generation was launched by, where what is recorded since is another specification.
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
        tracing::warn!(path = %path.display(), %error, "cannot keep a copy for the case that the store is lost");
    }
}

/// In the last of these folders, each of which is made in the one before.
fn make_and_write(folders: &[&Path], name: &str, record: &impl Serialize) -> io::Result<()> {
    folders.iter().try_for_each(|folder| make_folder(folder))?;
    write(folders.last().copied().unwrap_or(Path::new("/")), name, record)
}

/// All or nothing, for the owner alone: it holds the secrets of its service.
fn write<T: Serialize>(folder: &Path, name: &str, record: &T) -> io::Result<()> {
    let new = folder.join(format!("{name}.new"));
    let json = serde_json::to_vec(&Kept {
        format: FORMAT,
        record,
    })?;
    // One that a killed daemon left half written.
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

/// What cannot be read is told and passed over.
fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let bytes = match harness_files::read(path, MAX_SIZE).map_err(io::Error::from) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "cannot read what was kept of a service");
            return None;
        }
    };
    let damaged = |error: serde_json::Error| {
        // Where, and not what stands there: that may be a secret.
        let (line, column) = (error.line(), error.column());
        tracing::warn!(path = %path.display(), line, column, "what was kept of a service is damaged");
    };
    let format = serde_json::from_slice::<Format>(&bytes)
        .map_err(damaged)
        .ok()?
        .format;
    if format != FORMAT {
        tracing::warn!(path = %path.display(), format, "what was kept of a service has an unknown format");
        return None;
    }
    let kept = serde_json::from_slice::<Kept<T>>(&bytes).map_err(damaged).ok()?;
    Some(kept.record)
}

/// Refuses to go on without services that the store has lost and that only a newer version can tell of: this one
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

/// Tells the registry the projects that it does not know and that lie on the disk, and returns the services that
/// it does not know, as they were last launched.
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

    /// A copy of what was checked in when format 1 was the newest, by the daemon itself. Later versions must read it
    /// for ever.
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
            // A service whose digest came out otherwise would be replaced for nothing.
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
        // What is known already is not asked for again.
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
        // Damage is passed over, as before, and so is a newer copy of what the store knows.
        for service in lost(&layout, &registry) {
            registry.upsert_service(service, service_registry::ChangeKind::Registered, "found");
        }
        fs::write(layout.projects().join("demo/db/record.json"), r#"{"format":2}"#).unwrap();
        fs::write(layout.projects().join("demo/api/record.json"), "{").unwrap();
        refuse_newer_records(&layout, &registry).unwrap();
    }
}

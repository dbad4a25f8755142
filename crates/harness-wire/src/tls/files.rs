//! Reads and writes key and certificate files: private, atomic, with one writer at a time.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::TlsError;

/// The mode bits that give access to group or others.
const OTHERS: u32 = 0o077;

/// No key or certificate is longer than this.
const MAX_SIZE: u64 = 1 << 20;

/// Attaches the operation and the path to an I/O error.
pub(super) fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TlsError {
    move |source| TlsError::File {
        operation,
        path: path.to_owned(),
        source,
    }
}

/// Opens the folder, creates it if needed, makes it private, and locks it until the returned file is dropped.
pub(super) fn lock_private_dir(path: &Path) -> Result<File, TlsError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(failed("create", path))?;
    let dir = File::open(path).map_err(failed("open", path))?;
    let mode = dir
        .metadata()
        .map_err(failed("inspect", path))?
        .permissions()
        .mode();
    if mode & OTHERS != 0 {
        // Names and public certificates are not secret, so it is enough to restrict a folder that was open by
        // accident.
        dir.set_permissions(fs::Permissions::from_mode(0o700))
            .map_err(failed("restrict", path))?;
    }
    flock(&dir, FlockOperation::LockExclusive).map_err(|e| failed("lock", path)(e.into()))?;
    Ok(dir)
}

/// Reads a public file; `None` if there is none.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, TlsError> {
    match harness_files::read(path, MAX_SIZE).map_err(io::Error::from) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed("read", path)(e)),
    }
}

/// Reads a key; `None` if there is none. Checks the permissions of the same open file that is read.
pub(super) fn read_key(path: &Path) -> Result<Option<Vec<u8>>, TlsError> {
    let file = match harness_files::open(path).map_err(io::Error::from) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed("read", path)(e)),
    };
    let mode = file
        .metadata()
        .map_err(failed("inspect", path))?
        .permissions()
        .mode()
        & 0o7777;
    if mode & OTHERS != 0 {
        return Err(TlsError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    let mut bytes = Vec::new();
    file.take(MAX_SIZE)
        .read_to_end(&mut bytes)
        .map_err(failed("read", path))?;
    Ok(Some(bytes))
}

/// Replaces a whole file or nothing. The file is private, and on disk when this returns. The caller holds the
/// folder's lock, so one name for the unfinished file is enough, and one that a crash left is overwritten.
pub(super) fn replace(path: &Path, content: &[u8]) -> Result<(), TlsError> {
    let unfinished = path.with_extension("new");
    match fs::remove_file(&unfinished) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &unfinished)(e)),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)
        .map_err(failed("create", &unfinished))?;
    let written = file
        .write_all(content)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&unfinished, path));
    if written.is_err() {
        // The first error is the one that matters.
        let _ = fs::remove_file(&unfinished);
    }
    written.map_err(failed("write", path))
}

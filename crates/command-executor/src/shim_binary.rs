//! One copy of the shim per version. Whoever launches services runs its own copy, named by its digest, so that
//! rebuilding or upgrading never puts another shim under a name that is in use.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// A shim that could not be put in place.
#[derive(Debug, thiserror::Error)]
#[error("cannot install the shim: {operation} {} failed", path.display())]
pub struct InstallError {
    /// What was tried: "read", "write", …
    pub operation: &'static str,
    /// On what.
    pub path: PathBuf,
    /// Why not.
    #[source]
    pub source: io::Error,
}

fn fail(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> InstallError {
    let path = path.to_path_buf();
    move |source| InstallError {
        operation,
        path,
        source,
    }
}

/// Copies the shim to `dir/harness-shim-<digest>` (0700) unless a whole copy is there, and returns its path.
/// The directory is created (0700) if it is missing. Blocks on the disk.
///
/// # Errors
/// When the source cannot be read or the copy cannot be written.
pub fn install(source: &Path, dir: &Path) -> Result<PathBuf, InstallError> {
    let bytes = fs::read(source).map_err(fail("read", source))?;
    let digest = hex(&Sha256::digest(&bytes)[..16]);
    let target = dir.join(format!("harness-shim-{digest}"));
    if is_whole(&target, &digest) {
        return Ok(target);
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(fail("create", dir))?;
    let partial = dir.join(format!(".harness-shim-{digest}.{}", std::process::id()));
    let written = write_copy(&partial, &bytes)
        .map_err(fail("write", &partial))
        .and_then(|()| fs::rename(&partial, &target).map_err(fail("rename", &partial)));
    if let Err(error) = written {
        // The first error is the one that matters.
        let _ = fs::remove_file(&partial);
        return Err(error);
    }
    if !is_whole(&target, &digest) {
        let corrupt = io::Error::new(io::ErrorKind::InvalidData, "it is not what was written");
        return Err(fail("verify", &target)(corrupt));
    }
    Ok(target)
}

fn write_copy(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o700)
        .open(path)?;
    file.write_all(bytes)?;
    file.set_permissions(Permissions::from_mode(0o700))?;
    file.sync_all()
}

/// Whether an executable of this digest is there.
fn is_whole(path: &Path, digest: &str) -> bool {
    let Ok(mut file) = File::open(path) else {
        return false;
    };
    let executable = file
        .metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o777 == 0o700);
    let mut bytes = Vec::new();
    executable && file.read_to_end(&mut bytes).is_ok() && hex(&Sha256::digest(&bytes)[..16]) == digest
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_has_its_own_copy_and_a_damaged_one_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (source, bin) = (dir.path().join("shim"), dir.path().join("home/bin"));
        fs::write(&source, "one").unwrap();
        let first = install(&source, &bin).unwrap();
        assert_eq!(install(&source, &bin).unwrap(), first);
        assert_eq!(fs::metadata(&first).unwrap().permissions().mode() & 0o777, 0o700);

        fs::write(&source, "two").unwrap();
        let second = install(&source, &bin).unwrap();
        assert_ne!(first, second);
        assert_eq!(fs::read(&first).unwrap(), b"one");

        fs::write(&first, "on").unwrap();
        fs::write(&source, "one").unwrap();
        assert_eq!(install(&source, &bin).unwrap(), first);
        assert_eq!(fs::read(&first).unwrap(), b"one");
        assert_eq!(fs::read_dir(&bin).unwrap().count(), 2, "nothing partial is left");
    }

    #[test]
    fn a_missing_source_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = install(&dir.path().join("absent"), dir.path()).unwrap_err();
        assert!(error.to_string().contains("absent"), "{error}");
    }
}

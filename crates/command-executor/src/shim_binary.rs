//! One copy of the shim for each version. Whoever launches services runs its own copy, with the digest in the name.
//! So a rebuild or upgrade never puts another shim under a name that is in use.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

/// A shim binary to run. If it was [installed](install) and somebody removed it, it is put back.
#[derive(Debug, Clone)]
pub struct Shim(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// Kept open, so that its bytes exist whatever happens to its name.
    copy: Option<Mutex<File>>,
    put_back: AtomicBool,
}

impl Shim {
    fn new(path: PathBuf, copy: Option<File>) -> Self {
        Self(Arc::new(Inner {
            path,
            copy: copy.map(Mutex::new),
            put_back: AtomicBool::new(false),
        }))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Whether it was removed and put back since the last call.
    pub fn take_put_back(&self) -> bool {
        self.0.put_back.swap(false, Ordering::Relaxed)
    }

    /// Starts it with `how`. If it is missing, puts it back and tries once more.
    pub(crate) fn start<T>(&self, mut how: impl FnMut(&Path) -> io::Result<T>) -> io::Result<T> {
        match how(self.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => match self.put_back() {
                Ok(()) => how(self.path()),
                // That the file is missing says more than why it cannot be put back.
                Err(_) => Err(error),
            },
            other => other,
        }
    }

    fn put_back(&self) -> io::Result<()> {
        let copy = self.0.copy.as_ref().ok_or(io::ErrorKind::NotFound)?;
        // Only one at a time, because they all write the same partial file.
        let copy = copy.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path();
        if path.exists() {
            return Ok(());
        }
        let dir = path.parent().ok_or(io::ErrorKind::NotFound)?;
        // Do not make its parents: that would bring back a home that is gone.
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let mut bytes = vec![0; usize::try_from(copy.metadata()?.len()).unwrap_or(0)];
        copy.read_exact_at(&mut bytes, 0)?;
        let partial = dir.join(format!(".harness-shim-again.{}", std::process::id()));
        write_copy(&partial, &bytes)?;
        fs::rename(&partial, path)?;
        self.0.put_back.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl<P: Into<PathBuf>> From<P> for Shim {
    /// A shim that somebody else keeps in place.
    fn from(path: P) -> Self {
        Self::new(path.into(), None)
    }
}

impl PartialEq for Shim {
    fn eq(&self, other: &Self) -> bool {
        self.path() == other.path()
    }
}

impl Eq for Shim {}

/// Why a shim could not be installed.
#[derive(Debug, thiserror::Error)]
#[error("cannot install the shim: {operation} {} failed", path.display())]
pub struct InstallError {
    /// The operation: "read", "write", …
    pub operation: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// The cause.
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

/// Copies the shim to `dir/harness-shim-<digest>` (0700), unless a whole copy is already there, and returns it. Makes
/// the directory (0700) if it is missing. Blocks on the disk.
///
/// # Errors
/// When the source cannot be read or the copy cannot be written.
pub fn install(source: &Path, dir: &Path) -> Result<Shim, InstallError> {
    let bytes = fs::read(source).map_err(fail("read", source))?;
    let digest = hex(&Sha256::digest(&bytes)[..16]);
    let target = dir.join(format!("harness-shim-{digest}"));
    if is_whole(&target, &digest) {
        return opened(target);
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
        let corrupt = io::Error::new(io::ErrorKind::InvalidData, "it differs from what was written");
        return Err(fail("verify", &target)(corrupt));
    }
    opened(target)
}

fn opened(path: PathBuf) -> Result<Shim, InstallError> {
    let copy = File::open(&path).map_err(fail("open", &path))?;
    Ok(Shim::new(path, Some(copy)))
}

/// Removes from `dir` the copies of other versions that nobody runs any more, and what an interrupted installation
/// left. Returns how many it removed. Blocks on the disk.
pub fn remove_unused(dir: &Path, current: &Path) -> usize {
    let copies: Vec<PathBuf> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path != current && is_copy(path))
        .collect();
    if copies.is_empty() {
        return 0;
    }
    let Ok(used) = executed_files() else {
        // If the processes cannot be listed, no copy is known to be unused.
        return 0;
    };
    let unused = copies.iter().filter(|path| {
        let file = fs::metadata(path).map(|meta| (meta.dev(), meta.ino()));
        file.is_ok_and(|file| !used.contains(&file))
    });
    unused.filter(|path| fs::remove_file(path).is_ok()).count()
}

/// Whether the file at this path is a whole copy of a shim with this name: its content must have the digest that is
/// in the name. A file that a process executes may have been removed, and can still be read through `/proc`.
pub(crate) fn is_copy_called(name: &str, path: &Path) -> bool {
    name.strip_prefix("harness-shim-")
        .is_some_and(|digest| is_whole(path, digest))
}

fn is_copy(path: &Path) -> bool {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    name.trim_start_matches('.').starts_with("harness-shim-")
}

/// The files, by device and inode, that processes are executing. Those of other users stay hidden, but none of our
/// shims is among them.
fn executed_files() -> io::Result<BTreeSet<(u64, u64)>> {
    let processes = fs::read_dir("/proc")?.flatten();
    let files = processes.filter_map(|entry| {
        let name = entry.file_name();
        let is_process = name.to_str()?.bytes().all(|byte| byte.is_ascii_digit());
        let meta = is_process.then(|| fs::metadata(entry.path().join("exe")))?.ok()?;
        Some((meta.dev(), meta.ino()))
    });
    Ok(files.collect())
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

/// Whether an executable with this digest is there.
fn is_whole(path: &Path, digest: &str) -> bool {
    let Ok(mut file) = harness_files::open(path) else {
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
        let first = first.path();
        assert_eq!(install(&source, &bin).unwrap().path(), first);
        assert_eq!(fs::metadata(first).unwrap().permissions().mode() & 0o777, 0o700);

        fs::write(&source, "two").unwrap();
        let second = install(&source, &bin).unwrap();
        assert_ne!(first, second.path());
        assert_eq!(fs::read(first).unwrap(), b"one");

        fs::write(first, "on").unwrap();
        fs::write(&source, "one").unwrap();
        assert_eq!(install(&source, &bin).unwrap().path(), first);
        assert_eq!(fs::read(first).unwrap(), b"one");
        assert_eq!(fs::read_dir(&bin).unwrap().count(), 2, "nothing partial is left");
    }

    #[test]
    fn copies_that_run_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        let sleep = fs::canonicalize("/bin/sleep").unwrap();
        let old = install(&sleep, &bin).unwrap().path().to_path_buf();
        let dead = bin.join("harness-shim-00");
        let half = bin.join(".harness-shim-00.7");
        fs::write(&dead, "x").unwrap();
        fs::write(&half, "x").unwrap();
        fs::write(bin.join("other"), "x").unwrap();
        let source = dir.path().join("new");
        fs::write(&source, "new").unwrap();
        let current = install(&source, &bin).unwrap().path().to_path_buf();
        #[expect(clippy::disallowed_methods, reason = "something has to run the old copy")]
        let mut running = std::process::Command::new(&old).arg("60").spawn().unwrap();
        assert_eq!(remove_unused(&bin, &current), 2);
        assert!(old.exists() && current.exists() && !dead.exists() && !half.exists());
        running.kill().unwrap();
        running.wait().unwrap();
        assert_eq!(remove_unused(&bin, &current), 1);
        assert!(!old.exists() && current.exists() && bin.join("other").exists());
    }

    #[test]
    fn one_that_was_removed_is_put_back_but_not_its_home() {
        let dir = tempfile::tempdir().unwrap();
        let (source, home) = (dir.path().join("shim"), dir.path().join("home"));
        fs::write(&source, "one").unwrap();
        let shim = install(&source, &home.join("bin")).unwrap();
        fs::write(&source, "an upgrade").unwrap();
        let read = |shim: &Shim| shim.start(|path| fs::read(path));
        assert_eq!(read(&shim).unwrap(), b"one");
        assert!(!shim.take_put_back());
        for removed in [home.join("bin"), shim.path().to_path_buf()] {
            match removed.is_dir() {
                true => fs::remove_dir_all(&removed).unwrap(),
                false => fs::remove_file(&removed).unwrap(),
            }
            assert_eq!(read(&shim).unwrap(), b"one");
            assert_eq!(
                fs::metadata(shim.path()).unwrap().permissions().mode() & 0o777,
                0o700
            );
            assert!(shim.take_put_back());
        }
        fs::remove_dir_all(&home).unwrap();
        assert!(read(&shim).is_err());
        assert!(!home.exists());
    }

    #[test]
    fn a_missing_source_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = install(&dir.path().join("absent"), dir.path()).unwrap_err();
        assert!(error.to_string().contains("absent"), "{error}");
    }
}

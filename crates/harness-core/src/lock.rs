//! The lock that allows only one daemon per home.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use rustix::fs::{FlockOperation, flock};

use crate::home::Home;

/// Held while the daemon runs. The kernel releases it however the daemon ends.
#[derive(Debug)]
pub struct DaemonLock(File);

impl DaemonLock {
    /// Takes the lock. `None` if another daemon has it.
    ///
    /// # Errors
    /// When the lock file cannot be created or locked.
    pub fn take(home: &Home) -> io::Result<Option<Self>> {
        let file = open(home)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                // The path in the lock file shows later whether the home was moved. A full disk is no reason not to
                // run.
                let _ = say_home(&file, home);
                Ok(Some(Self(file)))
            }
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the lock file in the home is still the locked one. If somebody removed it, another daemon could lock a
    /// new one.
    pub(crate) fn is_in_place(&self, home: &Home) -> bool {
        let (held, there) = (self.0.metadata(), std::fs::metadata(home.daemon_lock()));
        match (held, there) {
            (Ok(held), Ok(there)) => (held.dev(), held.ino()) == (there.dev(), there.ino()),
            (_, Err(error)) => error.kind() != io::ErrorKind::NotFound,
            (Err(_), _) => true,
        }
    }

    /// Whether a daemon has the lock.
    ///
    /// # Errors
    /// When the lock file cannot be read.
    pub fn is_held(home: &Home) -> io::Result<bool> {
        let file = match harness_files::open(&home.daemon_lock()).map_err(io::Error::from) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(false),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

fn say_home(mut file: &File, home: &Home) -> io::Result<()> {
    let path = home.path().canonicalize()?;
    file.set_len(0)?;
    file.write_all(path.as_os_str().as_bytes())
}

fn open(home: &Home) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(home.daemon_lock())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_daemon_has_a_home() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        assert!(!DaemonLock::is_held(&home).unwrap());
        let lock = DaemonLock::take(&home).unwrap().unwrap();
        assert!(DaemonLock::is_held(&home).unwrap());
        assert!(DaemonLock::take(&home).unwrap().is_none());
        assert!(lock.is_in_place(&home));
        std::fs::remove_file(home.daemon_lock()).unwrap();
        assert!(!lock.is_in_place(&home));
        std::fs::write(home.daemon_lock(), "").unwrap();
        assert!(!lock.is_in_place(&home));
        drop(lock);
        assert!(!DaemonLock::is_held(&home).unwrap());
    }
}

//! The daemon's home folder and its content.
//!
//! | path | what |
//! |---|---|
//! | `daemon.json` | where to reach the running daemon ([`crate::daemon_info`]) |
//! | `daemon.lock` | held by the running daemon |
//! | `tls/` | CA, server and client certificates |
//! | `state` | the registry's store |
//! | `logs/daemon.log` | the daemon's own log |
//! | `bin/` | its own digest-named copy of the shim |
//! | `projects/` | run directories |

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use harness_files::{Exposure, FileError};

/// Why there is no usable home.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Nothing in the environment says where it is.
    #[error("cannot find the home of harness: set HARNESS_HOME or HOME")]
    NoHome,
    /// It cannot be created or read.
    #[error("cannot use {} as the home of harness: {source}", path.display())]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It belongs to another user, who could read the keys in it.
    #[error("{} belongs to uid {owner}, not to you: set HARNESS_HOME to a folder of your own", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// Other users could replace it, and root would run their programs.
    #[error(
        "{} is not a safe home for root's daemon: {exposure}, and could replace the folder: set \
            HARNESS_HOME to a folder where only root can write, also in the folders above it",
        path.display()
    )]
    Exposed {
        /// The folder.
        path: PathBuf,
        /// Who could, and where.
        exposure: Exposure,
    },
}

/// What to do about a home, or something in it, that cannot be written. `None` for other errors.
pub fn remedy(error: &std::io::Error) -> Option<String> {
    use std::io::ErrorKind::{
        AlreadyExists, NotADirectory, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
    };
    match error.kind() {
        StorageFull | QuotaExceeded => Some("free some space on that disk, then try again".to_owned()),
        ReadOnlyFilesystem => {
            Some("mount it writable, or set HARNESS_HOME to a folder that you can write to".to_owned())
        }
        PermissionDenied | NotADirectory | AlreadyExists => {
            Some("set HARNESS_HOME to a folder that you can write to".to_owned())
        }
        _ => None,
    }
}

/// The home folder of a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home(PathBuf);

impl Home {
    /// `$HARNESS_HOME`, else `$XDG_DATA_HOME/harness`, else `~/.local/share/harness`. Nothing is created.
    ///
    /// # Errors
    /// When none of the variables is set.
    pub fn locate(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, HomeError> {
        let set = |name: &str| {
            variable(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let path = set("HARNESS_HOME")
            .or_else(|| {
                set("XDG_DATA_HOME")
                    .filter(|p| p.is_absolute())
                    .map(|p| p.join("harness"))
            })
            .or_else(|| set("HOME").map(|p| p.join(".local/share/harness")))
            .ok_or(HomeError::NoHome)?;
        if path.to_str().is_none() {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "its path is not UTF-8");
            return Err(HomeError::Unusable { path, source });
        }
        // The daemon changes its current folder, so a relative home would change with it.
        let path = std::path::absolute(&path).map_err(|source| HomeError::Unusable { path, source })?;
        Ok(Self(path))
    }

    /// [`Home::locate`] with this process's environment.
    ///
    /// # Errors
    /// When none of the variables is set.
    pub fn from_environment() -> Result<Self, HomeError> {
        Self::locate(|name| std::env::var_os(name))
    }

    /// A home at this path.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Creates the folder (0700) if it does not exist, and repairs its permissions if they are wider.
    ///
    /// # Errors
    /// When it cannot be created, or belongs to another user.
    pub fn ensure(&self) -> Result<(), HomeError> {
        let unusable = |source| HomeError::Unusable {
            path: self.0.clone(),
            source,
        };
        let is_root = rustix::process::geteuid().is_root();
        if is_root {
            let made = harness_files::make_folder(&self.0).map_err(|error| match error {
                FileError::Link { exposure, .. } => self.exposed(exposure),
                error => unusable(error.into()),
            });
            made?;
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
            .map_err(unusable)?;
        let meta = fs::metadata(&self.0).map_err(unusable)?;
        let me = rustix::process::geteuid().as_raw();
        if meta.uid() != me {
            return Err(HomeError::Foreign {
                path: self.0.clone(),
                owner: meta.uid(),
            });
        }
        if is_root {
            let place = harness_files::place(&self.0).map_err(|error| unusable(error.into()))?;
            // If only its own mode is too wide, that is repaired below.
            if let Some(exposure) = place.exposure.filter(|exposure| exposure.folder != place.path) {
                return Err(self.exposed(exposure));
            }
        }
        if meta.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(&self.0, fs::Permissions::from_mode(0o700)).map_err(unusable)?;
        }
        let logs = self.0.join("logs");
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(logs)
            .map_err(unusable)
    }

    /// Whether a daemon has used this home, or may have used it. An empty folder may have been emptied.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn was_used(&self) -> Result<bool, HomeError> {
        let ours = ["daemon.json", "daemon.lock", "tls", "state", "bin", "projects"];
        let unusable = |source| HomeError::Unusable {
            path: self.0.clone(),
            source,
        };
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(unusable(error)),
        };
        let mut is_empty = true;
        for entry in entries {
            let name = entry.map_err(unusable)?.file_name();
            is_empty = false;
            if ours.iter().any(|ours| name == *ours) {
                return Ok(true);
            }
        }
        Ok(is_empty)
    }

    fn exposed(&self, exposure: Exposure) -> HomeError {
        HomeError::Exposed {
            path: self.0.clone(),
            exposure,
        }
    }

    /// The file in which the running daemon says where it is.
    pub fn daemon_json(&self) -> PathBuf {
        self.0.join("daemon.json")
    }

    /// The file that the running daemon keeps locked.
    pub fn daemon_lock(&self) -> PathBuf {
        self.0.join("daemon.lock")
    }

    /// Keys and certificates.
    pub fn tls(&self) -> PathBuf {
        self.0.join("tls")
    }

    /// The registry's store.
    pub fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    /// Damaged stores that a daemon set aside and nobody has removed yet, oldest first.
    pub fn damaged_stores(&self) -> Vec<PathBuf> {
        service_registry::store::damaged_stores(&self.state())
    }

    /// The folder of the logs.
    pub(crate) fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// The daemon's own log.
    pub fn daemon_log(&self) -> PathBuf {
        self.logs().join("daemon.log")
    }

    /// The daemon's copies of the shim.
    pub fn bin(&self) -> PathBuf {
        self.0.join("bin")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn locate(variables: &[(&str, &str)]) -> Option<PathBuf> {
        let find = |name: &str| {
            variables
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| OsString::from(*v))
        };
        Home::locate(find).ok().map(|home| home.path().to_owned())
    }

    #[test]
    fn the_nearest_variable_wins() {
        let all = [("HARNESS_HOME", "/h"), ("XDG_DATA_HOME", "/x"), ("HOME", "/u")];
        assert_eq!(locate(&all), Some("/h".into()));
        assert_eq!(locate(&all[1..]), Some("/x/harness".into()));
        assert_eq!(locate(&all[2..]), Some("/u/.local/share/harness".into()));
        assert_eq!(
            locate(&[("HARNESS_HOME", ""), ("HOME", "/u")]),
            Some("/u/.local/share/harness".into())
        );
        assert_eq!(locate(&[]), None);
    }

    #[test]
    fn one_that_is_no_text_is_refused_rather_than_passed_over() {
        let home =
            Home::locate(|name| (name == "HARNESS_HOME").then(|| OsString::from_vec(vec![b'/', 0xff])));
        let error = home.unwrap_err();
        assert!(matches!(error, HomeError::Unusable { .. }), "{error:?}");
    }

    #[test]
    fn a_folder_of_other_things_is_no_home_that_was_used() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("h"));
        assert!(!home.was_used().unwrap());
        fs::create_dir(home.path()).unwrap();
        assert!(home.was_used().unwrap(), "it may have been emptied");
        fs::write(home.path().join("letter"), "").unwrap();
        assert!(!home.was_used().unwrap());
        fs::create_dir(home.path().join("projects")).unwrap();
        assert!(home.was_used().unwrap());
        let file = Home::at(home.path().join("letter"));
        assert!(matches!(file.was_used(), Err(HomeError::Unusable { .. })));
    }

    #[test]
    fn root_has_no_home_where_others_could_swap_it() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let theirs = dir.path().join("theirs");
        fs::create_dir(&theirs).unwrap();
        std::os::unix::fs::chown(&theirs, Some(65534), Some(65534)).unwrap();
        fs::create_dir(dir.path().join("own")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("own"), theirs.join("link")).unwrap();
        for below in ["home", "deep/home", "link/home", "link"] {
            let error = Home::at(theirs.join(below)).ensure().unwrap_err();
            assert!(matches!(&error, HomeError::Exposed { .. }), "{below}: {error}");
            assert!(error.to_string().contains("uid 65534 owns"), "{error}");
        }
        std::os::unix::fs::symlink("own", dir.path().join("mine")).unwrap();
        Home::at(dir.path().join("mine/home")).ensure().unwrap();
        assert!(dir.path().join("own/home/logs").is_dir());
    }

    #[test]
    fn wide_permissions_are_repaired() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("h"));
        fs::create_dir(home.path()).unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
        home.ensure().unwrap();
        assert_eq!(
            fs::metadata(home.path()).unwrap().permissions().mode() & 0o777,
            0o700
        );
    }
}

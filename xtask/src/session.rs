//! The folders of one run of the tests.
//!
//! ```text
//! test-activity/logs/current -> session-20250131-235959
//! test-activity/logs/session-20250131-235959/tests.log     the output of cargo test
//!                                           /harness.log   the logs of the tests' daemons, JSON lines
//!                                           /services/     the output of the tests' services, one folder for each test
//!                                           /docker/       the same for containers
//! ```
//!
//! All temporary files are in one folder, so that everything left behind can be recognized.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::error::TaskError;
use crate::root;

/// The folders of one run of the tests.
pub(crate) struct Session {
    logs: PathBuf,
    temporary: PathBuf,
}

impl Session {
    /// Makes the folders, and lets `current` point to them.
    ///
    /// # Errors
    /// When they cannot be made.
    pub(crate) fn begin() -> Result<Self, TaskError> {
        let all = root().join("test-activity/logs");
        let name = format!("session-{}", jiff::Zoned::now().strftime("%Y%m%d-%H%M%S"));
        let logs = all.join(&name);
        for folder in ["services", "docker"] {
            let folder = logs.join(folder);
            fs::create_dir_all(&folder).map_err(TaskError::file("create", folder))?;
        }
        let file = logs.join("harness.log");
        fs::write(&file, "").map_err(TaskError::file("create", file))?;
        let current = all.join("current");
        // It does not exist in the first session.
        let _ = fs::remove_file(&current);
        symlink(&name, &current).map_err(TaskError::file("create", current))?;
        // The path must be short, because Unix sockets are in it.
        let temporary = std::env::temp_dir().join(format!("hxt{}", std::process::id()));
        fs::create_dir_all(&temporary).map_err(TaskError::file("create", &temporary))?;
        // Tests run services as other users.
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&temporary, open).map_err(TaskError::file("open", &temporary))?;
        Ok(Self { logs, temporary })
    }

    /// The folder for logs.
    pub(crate) fn logs(&self) -> &Path {
        &self.logs
    }

    /// The file for the output of cargo test.
    pub(crate) fn tests_log(&self) -> PathBuf {
        self.logs.join("tests.log")
    }

    /// The folder for temporary files.
    pub(crate) fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Removes the temporary files.
    ///
    /// # Errors
    /// When that fails.
    pub(crate) fn end(self) -> Result<(), TaskError> {
        fs::remove_dir_all(&self.temporary).map_err(TaskError::file("remove", self.temporary))
    }
}

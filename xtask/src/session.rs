//! The folders of one run of the tests.
//!
//! ```text
//! test-activity/logs/current -> session-20250131-235959
//! test-activity/logs/session-20250131-235959/tests.log     what cargo test said
//!                                           /harness.log   the logs of the tests' daemons, JSON lines
//!                                           /services/     the output of the tests' services, a folder a test
//!                                           /docker/       the same of containers
//! ```
//!
//! Everything temporary is made below one folder, so that what is left of it can be told from everything else.

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
    /// Makes them, and `current` point to them.
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
        // Not there in the first session.
        let _ = fs::remove_file(&current);
        symlink(&name, &current).map_err(TaskError::file("create", current))?;
        // Short: the paths of Unix sockets in it must be.
        let temporary = std::env::temp_dir().join(format!("hxt{}", std::process::id()));
        fs::create_dir_all(&temporary).map_err(TaskError::file("create", &temporary))?;
        // Tests run services as other users.
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&temporary, open).map_err(TaskError::file("open", &temporary))?;
        Ok(Self { logs, temporary })
    }

    /// Where logs go.
    pub(crate) fn logs(&self) -> &Path {
        &self.logs
    }

    /// What cargo test says.
    pub(crate) fn tests_log(&self) -> PathBuf {
        self.logs.join("tests.log")
    }

    /// Where temporary files go.
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

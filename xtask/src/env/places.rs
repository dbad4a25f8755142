//! Where the engine of the tests and what was built for it are.
//!
//! ```text
//! /run/harness-test-docker/          while the engine runs (short: the paths of Unix sockets must be)
//!     docker.sock docker.pid dockerd.log daemon.json
//!     before.json                    what the engine's start changes on the machine, as it was before
//!     kept                           it was started by hand: tests leave it running
//!     exec/                          its containerd, and what runs
//! $XDG_CACHE_HOME/harness-docker-test-env/    (else ~/.cache/…) until `down --all`
//!     engine/                        its images
//!     base-<digest>.tar              the root of the base image
//!     lock users                     who changes the engine, and who uses it
//!     *.log                          what the last builds said
//! ```

use std::path::{Path, PathBuf};

use super::error::EnvError;
use crate::error::TaskError;
use crate::root;

/// Where things are.
pub(crate) struct Places {
    /// While the engine runs.
    pub(crate) run: PathBuf,
    /// What was built.
    pub(crate) cache: PathBuf,
}

impl Places {
    /// Those of this machine and user. `HARNESS_TEST_DOCKER_RUN` names another run folder: a second engine, in a
    /// network namespace of its own, beside the first.
    pub(crate) fn here() -> Self {
        let run = folder("HARNESS_TEST_DOCKER_RUN");
        let cache = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
        Self {
            run: run.unwrap_or_else(|| PathBuf::from("/run/harness-test-docker")),
            cache: cache.map_or_else(
                || root().join("target/docker-test-env"),
                |cache| cache.join("harness-docker-test-env"),
            ),
        }
    }

    /// Makes the folder of what is built.
    pub(crate) fn make_cache(&self) -> Result<(), EnvError> {
        Ok(make(&self.cache)?)
    }

    /// Makes the folder of what runs.
    pub(crate) fn make_run(&self) -> Result<(), EnvError> {
        Ok(make(&self.run)?)
    }

    /// `DOCKER_HOST` for the engine.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.run("docker.sock").display())
    }

    /// The parent of its containers' cgroups.
    pub(crate) fn cgroup(&self) -> PathBuf {
        Path::new("/").join(self.run.file_name().unwrap_or("harness-test-docker".as_ref()))
    }

    /// A file of the run folder.
    pub(crate) fn run(&self, name: &str) -> PathBuf {
        self.run.join(name)
    }

    /// A file of the cache.
    pub(crate) fn cached(&self, name: &str) -> PathBuf {
        self.cache.join(name)
    }
}

/// Makes a folder, and those above it.
fn make(folder: &Path) -> Result<(), TaskError> {
    std::fs::create_dir_all(folder).map_err(TaskError::file("create", folder))
}

fn folder(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
}

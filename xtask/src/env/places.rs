//! The places of the tests' engine and of what was built for it.
//!
//! ```text
//! /run/harness-test-docker/          while the engine runs (short, because Unix sockets need short paths)
//!     docker.sock docker.pid dockerd.log daemon.json
//!     before.json                    what the engine's start changes on the machine, as it was before
//!     kept                           the engine was started by hand, so tests leave it running
//!     exec/                          its containerd, and what runs
//! $XDG_CACHE_HOME/harness-docker-test-env/    (else ~/.cache/…) until `down --all`
//!     engine/                        its images
//!     base-<digest>.tar              the root of the base image
//!     lock users                     who changes the engine, and who uses it
//!     *.log                          the output of the last builds
//! ```

use std::path::{Path, PathBuf};

use super::error::EnvError;
use crate::error::TaskError;
use crate::root;

/// The places.
pub(crate) struct Places {
    /// The folder that exists while the engine runs.
    pub(crate) run: PathBuf,
    /// The folder of what was built.
    pub(crate) cache: PathBuf,
}

impl Places {
    /// The places for this machine and user. `HARNESS_TEST_DOCKER_RUN` sets another run folder, for a second engine
    /// next to the first, in a network namespace of its own.
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

    /// Makes the cache folder.
    pub(crate) fn make_cache(&self) -> Result<(), EnvError> {
        Ok(make(&self.cache)?)
    }

    /// Makes the run folder.
    pub(crate) fn make_run(&self) -> Result<(), EnvError> {
        Ok(make(&self.run)?)
    }

    /// The value of `DOCKER_HOST` for the engine.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.run("docker.sock").display())
    }

    /// The parent cgroup of its containers.
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

/// Makes a folder and its parents.
fn make(folder: &Path) -> Result<(), TaskError> {
    std::fs::create_dir_all(folder).map_err(TaskError::file("create", folder))
}

fn folder(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
}

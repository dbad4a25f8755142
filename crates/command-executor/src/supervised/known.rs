//! What is known of a run apart from its directory, and killing it by that alone.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use harness_shim::cgroup;
use harness_shim::identity::{Identity, ProcessId};
use harness_shim::run_dir::LaunchSpec;
use harness_shim::tree::{self, LeftoversError};

/// How long a cgroup may take to be empty after its processes were killed.
const EMPTYING: Duration = Duration::from_millis(500);

/// What a starter remembers of a run, to find it again without its directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// The shim and the main process.
    pub identity: Identity,
    /// Its own cgroup, if it has one.
    pub cgroup: Option<PathBuf>,
}

/// What the processes of a run are found by.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) run_id: String,
    pub(super) main: Option<ProcessId>,
    pub(super) cgroup: Option<PathBuf>,
}

impl Known {
    /// For a run that is being launched.
    pub(super) fn of_spec(spec: &LaunchSpec) -> Self {
        Self {
            run_id: spec.run_id.clone(),
            main: None,
            cgroup: spec.cgroup.clone(),
        }
    }

    pub(super) fn of_trace(trace: &Trace) -> Self {
        Self {
            run_id: trace.identity.run_id.clone(),
            main: Some(trace.identity.main.clone()),
            cgroup: trace.cgroup.clone(),
        }
    }

    /// Kills everything of a run with a shim that is dead or is to die now, and removes its cgroup. Returns how many
    /// processes there were. Blocks until none is left.
    pub(super) fn clear(&self) -> Result<usize, LeftoversError> {
        let in_cgroup = self.cgroup.as_deref().map_or(0, kill_cgroup);
        let killed = tree::kill_all(&self.run_id, self.main.as_ref())?;
        self.remove_cgroup();
        Ok(killed.max(in_cgroup))
    }

    /// Removes the cgroup of a run that has ended, after killing whatever is left in it.
    pub(super) fn remove_cgroup(&self) {
        if let Some(cgroup) = &self.cgroup {
            clear_cgroup(cgroup);
        }
    }
}

/// Kills what is in a cgroup, and removes the cgroup. Returns how many processes there were; none if it does not
/// exist.
pub(crate) fn clear_cgroup(path: &Path) -> usize {
    let killed = kill_cgroup(path);
    // A killed process leaves its cgroup a moment after everybody else sees that it is gone.
    let deadline = Instant::now() + EMPTYING;
    while cgroup::remove(path).is_err() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    killed
}

fn kill_cgroup(path: &Path) -> usize {
    let found = cgroup::processes(path).unwrap_or_default().len();
    if found > 0 {
        // What this cannot kill, the search by run id does.
        let _ = cgroup::kill(path);
    }
    found
}

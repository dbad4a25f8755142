//! The limit of open files: a daemon needs one for each service, and may have as many as its hard limit says.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// As many as a daemon ever needs: some programs walk through all descriptors up to the limit, the kernel
/// allocates for it, and a hard limit may be a billion.
const ENOUGH: u64 = 1 << 16;

/// Raises the soft limit of this process; returns what it was, if it was raised, for those it starts.
pub(crate) fn raise() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let before = limit.current?;
    let wanted = limit.maximum.map_or(ENOUGH, |hard| hard.min(ENOUGH));
    if before >= wanted {
        return None;
    }
    let raised = Rlimit {
        current: Some(wanted),
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => Some(before),
        Err(error) => {
            tracing::warn!(%error, before, wanted, "cannot raise the limit of open files");
            None
        }
    }
}

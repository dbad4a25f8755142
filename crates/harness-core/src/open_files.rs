//! The limit of open files. A daemon needs some for each service, and may use as many as its hard limit allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// As many as a daemon ever needs. A hard limit may be a billion, but some programs walk through all descriptors up
/// to the limit, and the kernel allocates memory for it.
const ENOUGH: u64 = 1 << 16;

/// Raises the soft limit of this process. If it was raised, returns the old limit, for the programs that the daemon
/// starts.
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

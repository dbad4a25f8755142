//! Ends and removes what former daemons of a home left on this machine. Everything here blocks.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::{Path, PathBuf};

use harness_shim::tree;

use super::home::cgroups;
use crate::supervised::{LivingShim, clear_cgroup, end_former, is_supervised};

/// Ends the zygotes of former daemons: those that run a shim of this folder.
pub(super) fn end_zygotes(bin: &Path) {
    match end_former(bin) {
        Ok(former) => {
            for zygote in former {
                tracing::warn!(pid = zygote.pid, "ended a stopped zygote of a former daemon");
            }
        }
        Err(error) => tracing::error!(%error, "cannot end the zygote of a former daemon"),
    }
}

/// Ends the commands with run ids below this mark.
pub(super) fn end_commands(mark: &str) {
    match tree::kill_all_below(mark) {
        Ok(0) => {}
        Ok(killed) => tracing::info!(killed, "ended the commands of a former daemon"),
        Err(error) => {
            let cause = error.source().map(tracing::field::display);
            tracing::error!(%error, cause, "cannot end the commands of a former daemon");
        }
    }
}

/// Removes the cgroups with this prefix that no living supervisor uses, and kills what is still in them.
pub(super) fn remove_cgroups(base: &Path, prefix: &str) {
    let left = cgroups(base, prefix);
    if left.is_empty() {
        return;
    }
    // If the processes cannot be listed, no cgroup is known to be unused.
    let Ok(shims) = LivingShim::all() else { return };
    let used: BTreeSet<PathBuf> = shims.iter().filter_map(|shim| shim.spec()?.cgroup).collect();
    let unused = left.into_iter().filter(|path| !used.contains(path));
    // A supervisor of another version may not be recognized, or its spec may not be readable.
    for path in unused.filter(|path| !is_supervised(path)) {
        let killed = clear_cgroup(&path);
        let cgroup = path.display();
        tracing::info!(%cgroup, killed, "removed a leftover cgroup");
    }
}

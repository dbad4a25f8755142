//! The terms that a generation was begun with.

use std::collections::BTreeMap;
use std::time::Duration;

use super::types::{Definition, Hook};

/// The terms that a generation was begun with. They apply until all of it is gone, even if the desired definition
/// changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Which hooks it has, and how long each may take. Whoever runs a hook enforces its limit.
    pub hooks: BTreeMap<Hook, Duration>,
    /// The time from the stop signal until SIGKILL.
    pub shutdown_timeout: Duration,
}

impl Terms {
    /// The terms of a generation that is begun with this definition.
    pub fn of(definition: &Definition) -> Self {
        Self {
            hooks: definition.hooks.clone(),
            shutdown_timeout: definition.shutdown_timeout,
        }
    }

    pub(super) fn has(&self, hook: Hook) -> bool {
        self.hooks.contains_key(&hook)
    }

    /// How long a hook may take.
    pub(super) fn limit(&self, hook: Hook) -> Duration {
        self.hooks.get(&hook).copied().unwrap_or_default()
    }

    /// Whether its hooks may still run, or have left something, when its process is gone.
    pub(super) fn may_leave_something(&self) -> bool {
        self.hooks.keys().any(|hook| *hook != Hook::AfterStop)
    }
}

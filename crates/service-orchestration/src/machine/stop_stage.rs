//! The stages in which a generation is stopped, and how long each may take. What leads from one to the next is in
//! `stopping` and `ending`.

use std::time::Duration;

use super::service::{HOOKS_GONE, MARGIN};
use super::terms::Terms;
use super::types::Hook;

/// How far the stop of a generation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopStage {
    /// An `after_healthy` hook that still runs is being ended.
    Interrupting,
    /// The `before_stop` hook runs.
    BeforeStop,
    /// The stop was ordered.
    Signalled,
    /// The kill was ordered.
    Killed,
    /// It is a one-shot that has completed, and the `after_healthy` hook runs.
    AfterHealthy,
    /// Its process is gone, or there was none. What runs or is left of its hooks is being ended.
    EndingHooks { ran: bool },
    /// A former daemon saw it begin, and its `after_stop` hook has not run yet.
    Owed,
    /// Everything else is gone, and the `after_stop` hook runs.
    AfterStop,
    /// The `after_stop` hook did not end in its time, and is being ended.
    EndingAfterStop,
}

impl StopStage {
    /// Whether a process of the generation may still run in this stage.
    pub(super) fn may_be_live(self) -> bool {
        matches!(
            self,
            Self::Interrupting | Self::BeforeStop | Self::Signalled | Self::Killed
        )
    }

    /// How long this stage may take. Whoever carries it out keeps its own time limit; the machine waits a little
    /// longer.
    pub(super) fn patience(self, terms: &Terms) -> Duration {
        match self {
            Self::Owed => Duration::ZERO,
            Self::Killed => MARGIN,
            Self::Signalled => terms.shutdown_timeout.saturating_add(MARGIN),
            Self::BeforeStop => terms.limit(Hook::BeforeStop).saturating_add(MARGIN),
            Self::AfterHealthy => terms.limit(Hook::AfterHealthy).saturating_add(MARGIN),
            Self::AfterStop => terms.limit(Hook::AfterStop).saturating_add(MARGIN),
            Self::Interrupting | Self::EndingHooks { .. } | Self::EndingAfterStop => HOOKS_GONE,
        }
    }

    pub(super) fn doing(self) -> Option<&'static str> {
        match self {
            Self::BeforeStop => Some("running its before_stop hook"),
            Self::AfterHealthy => Some("running its after_healthy hook"),
            Self::AfterStop => Some("running its after_stop hook"),
            Self::Interrupting | Self::EndingHooks { .. } | Self::EndingAfterStop => Some("ending its hooks"),
            Self::Signalled | Self::Killed | Self::Owed => None,
        }
    }

    /// Whether a hook runs in this stage. It must not be run twice.
    pub(super) fn runs_hook(self) -> bool {
        matches!(self, Self::BeforeStop | Self::AfterHealthy | Self::AfterStop)
    }
}

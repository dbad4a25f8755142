//! Whether a container can be counted on: its engine may be away, and it may be paused. Each change goes to whoever
//! tells people.

use std::sync::{Mutex, PoisonError};

use async_channel::{Receiver, Sender};
use bollard::models::{ContainerState, ContainerStateStatusEnum};
use service_orchestration::machine::Lost;

use crate::instance::Container;

/// How it is, and the changes that have not been heard yet.
pub(crate) struct Contact {
    now: Mutex<Option<Lost>>,
    changes: Sender<Option<Lost>>,
    told: Receiver<Option<Lost>>,
}

impl Contact {
    pub(crate) fn new() -> Self {
        let (changes, told) = async_channel::unbounded();
        Self {
            now: Mutex::default(),
            changes,
            told,
        }
    }

    /// The engine cannot be asked about it, and why.
    pub(crate) fn away(&self, why: String) {
        self.change(Some(Lost::Contact(why)));
    }

    /// Whether it was paused when it was last looked at.
    pub(crate) fn is_paused(&self) -> bool {
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(*now, Some(Lost::Paused(_)))
    }

    /// Whether that is news.
    fn change(&self, lost: Option<Lost>) -> bool {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if *now == lost {
            return false;
        }
        now.clone_from(&lost);
        // It is never closed: both ends are here.
        let _ = self.changes.try_send(lost);
        true
    }

    /// The next change.
    pub(crate) async fn next(&self) -> Option<Lost> {
        match self.told.recv().await {
            Ok(lost) => lost,
            Err(_) => futures_lite::future::pending().await,
        }
    }
}

impl Container {
    /// The engine tells that it runs, and how.
    pub(crate) fn found(&self, state: &ContainerState) {
        let paused = state.status == Some(ContainerStateStatusEnum::PAUSED);
        let lost = paused.then(|| {
            let name = &self.name;
            Lost::Paused(format!(
                "paused in the engine; `docker unpause {name}` lets it go on"
            ))
        });
        if self.contact.change(lost) {
            tracing::info!(
                container = self.name,
                paused,
                "a container that runs was looked at"
            );
        }
    }
}

//! Whether the state of a container is known: its engine may be away, and it may be paused. Each change is passed on
//! to be shown to people.

use std::sync::{Mutex, PoisonError};

use async_channel::{Receiver, Sender};
use service_orchestration::machine::Lost;

/// The current state, and the changes that nobody has taken yet.
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

    /// The engine cannot be asked about the container; `why` says why.
    pub(crate) fn away(&self, why: String) {
        self.change(Some(Lost::Contact(why)));
    }

    /// Whether it was paused when it was last looked at.
    pub(crate) fn is_paused(&self) -> bool {
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(*now, Some(Lost::Paused(_)))
    }

    /// Records the state. Returns whether it has changed.
    pub(super) fn change(&self, lost: Option<Lost>) -> bool {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if *now == lost {
            return false;
        }
        now.clone_from(&lost);
        // The channel is never closed, because both of its ends are here.
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

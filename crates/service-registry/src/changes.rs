//! What happened, in order, for everyone who wants to know: the CLI, dashboards, tests.
//!
//! ```text
//! publish ──> ring of the last CAPACITY changes <── cursor of subscription 1
//!                                               <── cursor of subscription 2 …
//! ```
//!
//! A subscription is a cursor into one shared ring. It uses no memory of its own, and the publisher never waits for
//! it. If it falls behind the ring, it learns exactly how many changes it missed.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use harness_model::{ProjectName, ServiceName, WallTime};

use crate::record::ServiceRecord;

/// How many changes are kept for subscribers that come late or are slow. Each takes about 1.4 kB.
pub const CAPACITY: usize = 4096;

/// The kind of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// A service is managed from now on, or its spec changed.
    Registered,
    /// A service was removed from the registry.
    Removed,
    /// The state of a service changed.
    State,
    /// The health of a service changed.
    Health,
    /// A service was found again after the daemon was replaced.
    Adopted,
    /// A hook of a service has ended.
    Hook,
    /// Something about the whole project changed.
    Project,
}

/// A change in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Counts the changes, starting with 1 each time the daemon starts.
    pub sequence: u64,
    /// When it was published.
    pub time: WallTime,
    /// The name of the project.
    pub project: ProjectName,
    /// The service; `None` for the project as a whole.
    pub service: Option<ServiceName>,
    /// The kind of the change.
    pub kind: ChangeKind,
    /// What happened, in one line for people.
    pub message: String,
    /// The service after the change (before it, for [`ChangeKind::Removed`]); `None` for a project.
    pub record: Option<Arc<ServiceRecord>>,
}

/// An item from a [`Subscription`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// The next change.
    Change(Arc<Change>),
    /// This many changes were dropped before the subscriber read them. Newer ones follow.
    Missed(u64),
}

#[derive(Default)]
struct Ring {
    /// Changes with consecutive sequence numbers, the newest last.
    changes: VecDeque<Arc<Change>>,
    /// The sequence number of the newest change so far; 0 before the first.
    last: u64,
    next_subscriber: u64,
    waiting: BTreeMap<u64, Waker>,
}

/// The log of changes. Clones share it.
#[derive(Clone)]
pub struct Changes {
    ring: Arc<Mutex<Ring>>,
    capacity: usize,
}

impl Default for Changes {
    fn default() -> Self {
        Self::new()
    }
}

impl Changes {
    /// An empty log of [`CAPACITY`] changes.
    pub fn new() -> Self {
        Self::with_capacity(CAPACITY)
    }

    /// An empty log that keeps this many changes (at least one).
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            ring: Arc::default(),
            capacity: capacity.max(1),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        // No code that holds the lock can leave the ring half changed, so it is valid even if the lock is poisoned.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a change and wakes the subscribers, but never waits for them.
    pub fn publish(
        &self,
        project: ProjectName,
        service: Option<ServiceName>,
        kind: ChangeKind,
        message: impl Into<String>,
        record: Option<Arc<ServiceRecord>>,
    ) -> Arc<Change> {
        let message = message.into();
        let mut ring = self.lock();
        ring.last += 1;
        let change = Arc::new(Change {
            sequence: ring.last,
            time: WallTime::now(),
            project,
            service,
            kind,
            message,
            record,
        });
        if ring.changes.len() == self.capacity {
            ring.changes.pop_front();
        }
        ring.changes.push_back(Arc::clone(&change));
        let waiting = std::mem::take(&mut ring.waiting);
        drop(ring);
        waiting.into_values().for_each(Waker::wake);
        change
    }

    /// Follows the changes after sequence number `since`. Kept ones come first (`Some(0)`: all of them). With `None`,
    /// only later ones come. A number that has not been reached yet comes from an earlier run of the daemon, so
    /// everything that is kept is new to its owner.
    pub fn subscribe(&self, since: Option<u64>) -> Subscription {
        let mut ring = self.lock();
        ring.next_subscriber += 1;
        let next = match since {
            None => ring.last + 1,
            Some(since) if since > ring.last => 1,
            Some(since) => since + 1,
        };
        let id = ring.next_subscriber;
        drop(ring);
        Subscription {
            changes: self.clone(),
            id,
            next,
        }
    }
}

/// A reader of the changes; see [`Changes::subscribe`].
pub struct Subscription {
    changes: Changes,
    id: u64,
    /// The sequence number that it reads next.
    next: u64,
}

impl Subscription {
    /// The next change, or how many were missed. Waits forever if nothing happens. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Item {
        poll_fn(|context| {
            let changes = self.changes.clone();
            let mut ring = changes.lock();
            match self.take(&ring) {
                Some(item) => Poll::Ready(item),
                None => {
                    ring.waiting.insert(self.id, context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// The next item, if there is one already.
    pub fn try_next(&mut self) -> Option<Item> {
        let changes = self.changes.clone();
        let ring = changes.lock();
        self.take(&ring)
    }

    fn take(&mut self, ring: &Ring) -> Option<Item> {
        let oldest = ring.changes.front()?.sequence;
        if self.next < oldest {
            let missed = oldest - self.next;
            self.next = oldest;
            return Some(Item::Missed(missed));
        }
        let index = usize::try_from(self.next - oldest).ok()?;
        let change = ring.changes.get(index)?;
        self.next += 1;
        Some(Item::Change(Arc::clone(change)))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.changes.lock().waiting.remove(&self.id);
    }
}

//! How many services fit into the limit of open files of this process, and how many are launched at once.

use std::sync::Arc;

use async_lock::{Semaphore, SemaphoreGuardArc};
use rustix::process::{Resource, getrlimit};

use crate::executor::LaunchError;

/// Descriptors that each service takes: one watches its supervisor, one its main process.
const PER_SERVICE: u64 = 2;

/// Descriptors for everything else: clients, probes, commands, launches, logs being read. At most half of all.
const RESERVE: u64 = 512;

/// How many launches go on at once. More would not be faster, and each holds descriptors and a thread.
const LAUNCHING: usize = 32;

/// Used if there is no limit.
const UNLIMITED: u64 = 1 << 20;

/// Places for services. Each running service holds descriptors; if they were not counted, a full daemon could not
/// even accept the client that asks it to stop something.
#[derive(Debug)]
pub(super) struct Capacity {
    limit: u64,
    services: usize,
    places: Arc<Semaphore>,
    launching: Semaphore,
}

/// A service's place, held while it runs.
#[derive(Debug)]
pub(super) struct Place {
    _permit: Option<SemaphoreGuardArc>,
}

impl Capacity {
    /// The capacity of this process, by its current limit.
    pub(super) fn of_this_process() -> Self {
        Self::new(getrlimit(Resource::Nofile).current.unwrap_or(UNLIMITED))
    }

    fn new(limit: u64) -> Self {
        let for_services = limit - RESERVE.min(limit / 2);
        let services = usize::try_from(for_services / PER_SERVICE).unwrap_or(usize::MAX);
        Self {
            limit,
            services,
            places: Arc::new(Semaphore::new(services)),
            launching: Semaphore::new(LAUNCHING),
        }
    }

    /// Takes a place for a service that is to be launched.
    pub(super) fn take(&self) -> Result<Place, LaunchError> {
        let permit = self.places.try_acquire_arc().ok_or(LaunchError::NoRoom {
            limit: self.limit,
            services: self.services,
        })?;
        Ok(Place {
            _permit: Some(permit),
        })
    }

    /// Takes the place of a service that already runs. It always gets one, whatever the limit was before.
    pub(super) fn take_over(&self) -> Place {
        Place {
            _permit: self.places.try_acquire_arc(),
        }
    }

    /// Waits until a launch may begin. The launch counts as going on until the guard is dropped.
    pub(super) async fn launching(&self) -> async_lock::SemaphoreGuard<'_> {
        self.launching.acquire().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_and_the_refusal_names_the_limit() {
        let capacity = Capacity::new(8);
        let first = capacity.take().unwrap();
        let _adopted = (capacity.take_over(), capacity.take_over());
        let refusal = capacity.take().unwrap_err().to_string();
        assert!(refusal.contains("8 files open (RLIMIT_NOFILE)"), "{refusal}");
        assert!(refusal.contains("2 services"), "{refusal}");
        drop(first);
        capacity.take().unwrap();
        assert_eq!(Capacity::new(4096).services, 1792);
    }
}

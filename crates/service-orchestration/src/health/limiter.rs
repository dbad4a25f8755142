//! How many probes may be in flight at once.

use std::sync::Arc;
use std::time::Duration;

use async_lock::{Mutex, Semaphore, SemaphoreGuardArc};

use super::Prober;
use crate::machine::ProbeOutcome;

/// Limits the probes in flight. All projects of a daemon share the limit, so that a thousand services that start at
/// once do not use up the file descriptors. Clones share it too. First come, first served.
#[derive(Debug, Clone)]
pub struct ProbeLimiter {
    permits: Arc<Semaphore>,
    /// A semaphore lets a newcomer overtake those who wait. Only the holder of this lock may ask for a permit.
    turn: Arc<Mutex<()>>,
}

impl ProbeLimiter {
    /// The default limit of a daemon.
    pub const DEFAULT: usize = 64;

    /// Allows at most `cap` probes in flight, and at least one.
    pub fn new(cap: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(cap.max(1))),
            turn: Arc::new(Mutex::new(())),
        }
    }

    /// Waits for a place. The place is held until the permit is dropped.
    pub async fn acquire(&self) -> ProbePermit {
        let _turn = self.turn.lock().await;
        ProbePermit {
            _permit: self.permits.acquire_arc().await,
        }
    }

    /// Waits for a place, then probes. Waiting does not count against `timeout`.
    pub async fn probe(&self, prober: &dyn Prober, timeout: Duration) -> ProbeOutcome {
        let _permit = self.acquire().await;
        prober.probe(timeout).await
    }
}

impl Default for ProbeLimiter {
    fn default() -> Self {
        Self::new(Self::DEFAULT)
    }
}

/// A place among the probes in flight.
#[derive(Debug)]
pub struct ProbePermit {
    _permit: SemaphoreGuardArc,
}

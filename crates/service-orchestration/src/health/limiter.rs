//! How many probes may be in flight at once.

use std::sync::Arc;
use std::time::Duration;

use async_lock::{Mutex, Semaphore, SemaphoreGuardArc};

use super::Prober;
use crate::machine::ProbeOutcome;

/// A cap on probes in flight, shared by every project of a daemon, so that a thousand services starting at once
/// do not take every file descriptor. Clones share the cap. First come, first served.
#[derive(Debug, Clone)]
pub struct ProbeLimiter {
    permits: Arc<Semaphore>,
    /// A semaphore lets a newcomer pass those who wait; whoever holds this is the only one at it.
    turn: Arc<Mutex<()>>,
}

impl ProbeLimiter {
    /// The cap of a daemon.
    pub const DEFAULT: usize = 64;

    /// At most `cap` probes in flight, and at least one.
    pub fn new(cap: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(cap.max(1))),
            turn: Arc::new(Mutex::new(())),
        }
    }

    /// Waits for a place; it is held until the permit is dropped.
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

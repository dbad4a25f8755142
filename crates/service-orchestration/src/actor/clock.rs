//! The machines' clock. It stops while this process is stopped (by SIGSTOP or a freezer). The daemon did not hear
//! what services did in that time, so no deadline may pass during it.

use std::time::{Duration, Instant};

use command_executor::patience::{PULSE, held_since};
use harness_model::WallTime;

use crate::machine::Time;

/// What the clock shows at first. It is not zero, so that earlier times can be expressed: services may have started
/// before this daemon.
const PAST: Duration = Duration::from_secs(3600);

pub(super) struct Clock {
    /// The instant at which the clock showed [`PAST`]. Every time the process is stopped, it moves later.
    origin: Instant,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            origin: Instant::now(),
        }
    }

    pub(super) fn now(&self) -> Time {
        Time(PAST + self.origin.elapsed())
    }

    /// When to wake up for this deadline, or before it to see whether time still passes.
    pub(super) fn wake_for(&self, deadline: Time) -> Instant {
        let now = Instant::now();
        (self.origin + deadline.0.saturating_sub(PAST)).clamp(now, now + PULSE)
    }

    /// Leaves out the time that the process was stopped: it shows when a wait that was to end at `due` ends late.
    pub(super) fn woke(&mut self, due: Instant) {
        let held = held_since(due);
        if !held.is_zero() {
            tracing::warn!(
                ?held,
                "the daemon was stopped for a while; every deadline moves back by that long"
            );
            self.origin += held;
        }
    }

    /// The time of an instant, as [`WallTime::steady`] counts it.
    pub(super) fn wall(&self, time: Time) -> WallTime {
        let now = WallTime::steady().0;
        let (here, there) = (self.now().0, time.0);
        let nanos = |d: std::time::Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        WallTime(if there >= here {
            now.saturating_add(nanos(there - here))
        } else {
            now.saturating_sub(nanos(here - there))
        })
    }
}

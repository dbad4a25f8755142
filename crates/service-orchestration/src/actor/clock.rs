//! The machines' clock. It stands still while this process is held (SIGSTOP, a freezer): what a service did in
//! that time was not heard, so no deadline may pass in it.

use std::time::{Duration, Instant};

use command_executor::patience::{PULSE, held_since};
use harness_model::WallTime;

use crate::machine::Time;

/// What the clock shows at first, so that there are times before: services may run longer than this daemon.
const PAST: Duration = Duration::from_secs(3600);

pub(super) struct Clock {
    /// The instant at which it showed [`PAST`]; put off by every hold.
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

    /// When to wake up for this deadline, or on the way to it to see whether time still passes.
    pub(super) fn wake_for(&self, deadline: Time) -> Instant {
        let now = Instant::now();
        (self.origin + deadline.0.saturating_sub(PAST)).clamp(now, now + PULSE)
    }

    /// Takes in that it is now, when whoever waits was to wake up at `due`.
    pub(super) fn woke(&mut self, due: Instant) {
        let held = held_since(due);
        if !held.is_zero() {
            tracing::warn!(
                ?held,
                "the daemon was held up; every deadline is put off by as long"
            );
            self.origin += held;
        }
    }

    /// The time of an instant by [`WallTime::steady`].
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

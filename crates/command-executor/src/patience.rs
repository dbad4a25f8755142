//! Limits that count only the time in which this process ran.
//!
//! A process that was held (by SIGSTOP, a freezer, a machine out of breath) neither heard an answer nor asked a
//! question meanwhile. A limit that passed in that time says nothing about whoever was waited for.

use std::time::{Duration, Instant};

use async_io::Timer;

/// The longest to wait without a look at the clock: so much of a hold may count at most.
pub const PULSE: Duration = Duration::from_secs(1);

/// Who wakes up so much later than it wanted was held.
const HELD: Duration = Duration::from_millis(500);

/// Waits until this process has run for so long.
pub async fn pass(limit: Duration) {
    let mut left = limit;
    while !left.is_zero() {
        let slice = left.min(PULSE);
        let due = Instant::now() + slice;
        Timer::at(due).await;
        if held_since(due).is_zero() {
            left -= slice;
        }
    }
}

/// For how long this process was held when it was to wake up at `due` and does now; zero if it was in time.
pub fn held_since(due: Instant) -> Duration {
    let late = due.elapsed();
    if late > HELD { late } else { Duration::ZERO }
}

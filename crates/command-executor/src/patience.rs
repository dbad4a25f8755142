//! Time limits that count only while this process runs.
//!
//! A process that was stopped (by SIGSTOP or a freezer, or because the machine was overloaded) has neither heard an
//! answer nor asked a question in that time. If a limit passes meanwhile, that says nothing about the other side.

use std::time::{Duration, Instant};

use async_io::Timer;

/// The longest time to wait without looking at the clock. At most this much of a stop can count.
pub const PULSE: Duration = Duration::from_secs(1);

/// If this process wakes up later than planned by this much, it was stopped.
const HELD: Duration = Duration::from_millis(500);

/// Waits until this process has run for this long.
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

/// How long this process was stopped, when it was to wake up at `due` and wakes up now. Zero if it woke up in time.
pub fn held_since(due: Instant) -> Duration {
    let late = due.elapsed();
    if late > HELD { late } else { Duration::ZERO }
}

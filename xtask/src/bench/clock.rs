//! The common clock of a bench. Its programs send each other times of this clock.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Nanoseconds since the machine started, the same in all processes.
pub(crate) fn now() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// How many nanoseconds this thread has run.
pub(crate) fn thread_cpu() -> u64 {
    nanoseconds(clock_gettime(ClockId::ThreadCPUTime))
}

/// The seconds between two times.
pub(crate) fn seconds(from: u64, to: u64) -> f64 {
    (to as f64 - from as f64) / 1e9
}

fn nanoseconds(time: Timespec) -> u64 {
    u64::try_from(time.tv_sec).unwrap_or_default() * 1_000_000_000
        + u64::try_from(time.tv_nsec).unwrap_or_default()
}

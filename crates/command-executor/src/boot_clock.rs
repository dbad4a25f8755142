//! The time since the machine booted. Nobody can set this clock, and the kernel uses it to note when a process
//! started.

use std::time::Duration;

use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, clock_gettime};

/// The time since the boot, including suspended time (CLOCK_BOOTTIME).
pub fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    // Neither is negative, because the clock starts at zero.
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}

/// When a process started, as the time since the boot; `ticks` as in `/proc/PID/stat` (proc(5)).
pub fn started_after_boot(ticks: u64) -> Duration {
    // The rate is at least one.
    let rate = clock_ticks_per_second().max(1);
    Duration::from_secs(ticks / rate) + Duration::from_nanos(ticks % rate * (1_000_000_000 / rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_begun_between_the_boot_and_now() {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let after_name = stat.rsplit_once(") ").unwrap().1;
        let ticks = after_name.split(' ').nth(19).unwrap().parse().unwrap();
        let age = since_boot().checked_sub(started_after_boot(ticks)).unwrap();
        assert!(age < Duration::from_secs(600), "{age:?}");
    }
}

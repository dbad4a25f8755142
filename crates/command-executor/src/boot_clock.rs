//! The time since the machine's boot, which nobody sets, and by which the kernel notes when a process began.

use std::time::Duration;

use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, clock_gettime};

/// The time since the boot, suspension included (CLOCK_BOOTTIME).
pub fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    // Neither is negative: the clock begins at zero.
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}

/// The start of a process in that time: `ticks` as in `/proc/PID/stat` (proc(5)).
pub fn started_after_boot(ticks: u64) -> Duration {
    // It is at least one.
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

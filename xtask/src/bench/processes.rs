//! Information about processes from /proc.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::TaskError;

/// The processes with a certain first argument, found as they appear. A process that was found once is not looked at
/// again, so that looking costs little.
pub(crate) struct Marked {
    marker: Vec<u8>,
    found: HashSet<u32>,
}

impl Marked {
    /// Finds processes with this first argument. A program that launches them may have it as a later argument.
    pub(crate) fn new(marker: &str) -> Self {
        Self {
            marker: marker.as_bytes().to_owned(),
            found: HashSet::new(),
        }
    }

    /// Looks for new ones. Returns how many were found so far.
    pub(crate) fn look(&mut self) -> usize {
        for pid in all() {
            if !self.found.contains(&pid) && has_first_argument(pid, &self.marker) {
                self.found.insert(pid);
            }
        }
        self.found.len()
    }

    /// Waits until this many have appeared. Each pause is half of the time that the rest should take at the current
    /// pace. So there are only few looks, and the last one comes at most a millisecond after the last process.
    ///
    /// # Errors
    /// When they do not appear in time.
    pub(crate) fn await_count(&mut self, count: usize, patience: Duration) -> Result<(), TaskError> {
        let begun = Instant::now();
        loop {
            let found = self.look();
            if found >= count {
                return Ok(());
            }
            let passed = begun.elapsed();
            if passed > patience {
                return Err(TaskError::Bench(format!(
                    "{found} of {count} services run after {passed:?}"
                )));
            }
            std::thread::sleep(pause(passed, found, count));
        }
    }
}

fn pause(passed: Duration, found: usize, count: usize) -> Duration {
    let rest = passed.mul_f64((count - found) as f64 / found.max(1) as f64 / 2.0);
    rest.clamp(Duration::from_millis(1), Duration::from_millis(10))
}

/// The proportional set size of a process in bytes: its own memory, plus its part of what it shares.
///
/// # Errors
/// When it has ended, or belongs to another user.
pub(crate) fn pss(pid: u32) -> Result<f64, TaskError> {
    let path = PathBuf::from(format!("/proc/{pid}/smaps_rollup"));
    let text = fs::read_to_string(&path).map_err(TaskError::file("read", &path))?;
    Ok(pss_of(&text) * 1024.0)
}

/// The kB after `Pss:`.
fn pss_of(rollup: &str) -> f64 {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// The CPU time that a process and its ended children have used, in seconds.
pub(crate) fn cpu(pid: u32) -> f64 {
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    ticks(&read(pid, "stat")) as f64 / per_second
}

/// utime, stime, cutime and cstime of a `stat`.
fn ticks(stat: &str) -> u64 {
    let fields = after_name(stat);
    let times = fields.get(11..15).unwrap_or_default();
    times.iter().filter_map(|field| field.parse::<u64>().ok()).sum()
}

/// The fields after the name. The name is in parentheses and may contain anything.
fn after_name(stat: &str) -> Vec<&str> {
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    rest.split_whitespace().collect()
}

/// The processes of a home that belong to harness itself: the daemon, and whatever runs one of its programs.
pub(crate) fn of_home(home: &Path, programs: &Path) -> Vec<u32> {
    let needle = home.as_os_str().as_encoded_bytes();
    let own = |pid: &u32| {
        let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        let is_harness = program.starts_with(home)
            || (program.starts_with(programs)
                && program
                    .file_name()
                    .is_some_and(|name| name.as_encoded_bytes().starts_with(b"harness")));
        let names_home = || {
            ["cmdline", "environ"].iter().any(|file| {
                let text = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
                text.windows(needle.len()).any(|window| window == needle)
            })
        };
        is_harness && names_home()
    };
    all().filter(own).collect()
}

fn all() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn has_first_argument(pid: u32, argument: &[u8]) -> bool {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    words.split(|byte| *byte == 0).nth(1) == Some(argument)
}

fn read(pid: u32, file: &str) -> String {
    let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_times_are_found_after_any_name() {
        let stat = "7 (a) b) c) S 1 7 7 0 -1 4194560 100 0 0 0 11 22 3 4 20 0 1 0 500 1000 10";
        assert_eq!(ticks(stat), 40);
        assert_eq!(ticks(""), 0);
    }

    #[test]
    fn pss_is_read_from_the_rollup() {
        let rollup = "55d0-7ffc ---p 00000000 00:00 0 [rollup]\nRss: 900 kB\nPss:  123 kB\nPss_Dirty: 9 kB\n";
        assert_eq!(pss_of(rollup), 123.0);
    }

    #[test]
    fn pauses_shrink_with_what_is_left() {
        let passed = Duration::from_millis(100);
        assert_eq!(pause(passed, 0, 100), Duration::from_millis(10));
        assert_eq!(
            pause(passed, 95, 100),
            Duration::from_secs_f64(0.1 * 5.0 / 95.0 / 2.0)
        );
        assert_eq!(pause(passed, 100, 100), Duration::from_millis(1));
    }

    #[test]
    fn this_process_uses_memory() {
        assert!(pss(std::process::id()).unwrap() > 0.0);
        assert!(pss(u32::MAX).is_err());
    }
}

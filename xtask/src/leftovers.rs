//! Processes that the tests left running.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::TaskError;

/// How long a process that is just ending may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Fails if a process of the session still lives, after killing it. A process belongs to the session if its
/// arguments, environment or working directory contain the session's temporary folder: daemons have their home there,
/// shims have their run directory there, and services inherit it as TMPDIR.
pub(crate) fn check(temporary: &Path) -> Result<(), TaskError> {
    let deadline = Instant::now() + PATIENCE;
    let mut found = living(temporary);
    while !found.is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
        found = living(temporary);
    }
    if found.is_empty() {
        return Ok(());
    }
    let list = found
        .iter()
        .map(|pid| format!("  {} {}\n", pid.as_raw_nonzero(), words(*pid)))
        .collect();
    for pid in found {
        // It may be gone by now, which is fine.
        let _ = kill_process(pid, Signal::KILL);
    }
    Err(TaskError::Leftovers(list))
}

fn living(temporary: &Path) -> Vec<Pid> {
    let needle = temporary.as_os_str().as_encoded_bytes();
    let own = rustix::process::getpid();
    let names = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name());
    names
        .filter_map(|name| Pid::from_raw(name.to_str()?.parse().ok()?))
        .filter(|pid| *pid != own && is_alive(*pid) && names_it(*pid, needle))
        .collect()
}

fn is_alive(pid: Pid) -> bool {
    let stat = read(pid, "stat");
    // The state comes after the name, which is in parentheses and may contain anything.
    let state = stat
        .iter()
        .rposition(|byte| *byte == b')')
        .and_then(|at| stat.get(at + 2));
    !matches!(state, None | Some(b'Z' | b'X'))
}

fn names_it(pid: Pid, needle: &[u8]) -> bool {
    let folder = fs::read_link(format!("/proc/{}/cwd", pid.as_raw_nonzero())).unwrap_or_default();
    let contains = |text: &[u8]| text.windows(needle.len()).any(|window| window == needle);
    contains(&read(pid, "cmdline"))
        || contains(&read(pid, "environ"))
        || contains(folder.as_os_str().as_encoded_bytes())
}

fn words(pid: Pid) -> String {
    String::from_utf8_lossy(&read(pid, "cmdline"))
        .replace('\0', " ")
        .trim()
        .to_owned()
}

fn read(pid: Pid, file: &str) -> Vec<u8> {
    fs::read(format!("/proc/{}/{file}", pid.as_raw_nonzero())).unwrap_or_default()
}

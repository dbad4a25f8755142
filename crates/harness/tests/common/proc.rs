//! What /proc says, the only source that a test may trust.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// A process.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    /// Its pid.
    pub(crate) pid: u32,
    /// Its arguments, or the name of the program if it has none.
    pub(crate) command: String,
}

impl Process {
    /// Whether it is a zygote, from which supervisors are forked: it belongs to its daemon, and ends with it.
    pub(crate) fn is_zygote(&self) -> bool {
        self.command.trim_end().ends_with(" zygote")
    }
}

/// Whether a process is alive. A zombie is not.
pub(crate) fn is_alive(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    let Some((_, rest)) = stat.rsplit_once(") ") else {
        return false;
    };
    let mut fields = rest.split(' ');
    let has_exited = matches!(fields.next(), Some("Z" | "X"));
    // Field 20. If only the first thread has exited, the others still hold its files and locks.
    let threads: u32 = fields
        .nth(16)
        .and_then(|threads| threads.parse().ok())
        .unwrap_or(0);
    !has_exited || threads > 1
}

/// The living processes, except this one, that have this path in their arguments, environment or working directory.
pub(crate) fn mentioning(path: &Path) -> Vec<Process> {
    let needle = path.as_os_str().as_encoded_bytes();
    let own = std::process::id();
    all()
        .filter(|pid| *pid != own && is_alive(*pid))
        .filter(|pid| {
            let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let cwd = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
            contains(&read("cmdline"), needle)
                || contains(&read("environ"), needle)
                || contains(cwd.as_os_str().as_encoded_bytes(), needle)
        })
        .map(|pid| Process {
            pid,
            command: command(pid),
        })
        .collect()
}

/// The arguments of a process, for people.
pub(crate) fn command(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    if line.is_empty() {
        return fs::read_to_string(format!("/proc/{pid}/comm"))
            .unwrap_or_default()
            .trim()
            .to_owned();
    }
    String::from_utf8_lossy(&line)
        .replace('\0', " ")
        .trim()
        .to_owned()
}

/// The parent of a process.
pub(crate) fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// Whether somebody listens on this TCP port of 127.0.0.1, or of every address.
pub(crate) fn is_listening(port: u16) -> bool {
    ["tcp", "tcp6"].iter().any(|table| {
        let text = fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
        text.lines().skip(1).any(|line| {
            let mut columns = line.split_whitespace().skip(1);
            let local = columns.next().unwrap_or_default();
            let state = columns.nth(1).unwrap_or_default();
            state == "0A" && local.rsplit(':').next() == Some(&format!("{port:04X}"))
        })
    })
}

/// The Unix sockets that are bound below this path.
pub(crate) fn sockets_below(path: &Path) -> Vec<String> {
    let text = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let below = |line: &str| {
        let name = line.split_whitespace().nth(7)?;
        Path::new(name).starts_with(path).then(|| name.to_owned())
    };
    text.lines().filter_map(below).collect()
}

/// Ends a process for good.
pub(crate) fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

/// Sends a signal. It is fine if the process is already gone.
pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

fn all() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// The resident memory of a process, in KiB.
pub(crate) fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or_else(|| panic!("{pid} has no resident memory"))
}

/// How many descriptors a process has open.
pub(crate) fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// The CPU time of a process and of those it has waited for, in ticks of a hundredth of a second.
pub(crate) fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let (_, rest) = stat.rsplit_once(") ").expect("the process is there");
    // Fields 14 to 17 of proc_pid_stat(5); what is left begins with field 3.
    rest.split_whitespace()
        .skip(11)
        .take(4)
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum()
}

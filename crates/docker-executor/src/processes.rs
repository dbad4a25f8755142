//! Processes inside containers, as this machine sees them.
//!
//! An engine signals main processes alone. Others are signalled by their pid on this machine, after their cgroup has
//! shown that they belong to the container: an engine elsewhere tells pids that are somebody else's here. What a
//! command started is found by what its environment was marked with.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use harness_model::WallTime;
use rustix::process::{Pid, Signal};

/// Marks our commands and what they start, so that the next daemon finds what a killed one left.
pub(crate) const MARK: &str = "HARNESS_COMMAND_OF";

/// What is killed may be starting more: it is looked for again so often.
const ROUNDS: u32 = 20;

/// What marks one command of a container.
pub(crate) fn mark(container: &str) -> String {
    static COMMANDS: AtomicU64 = AtomicU64::new(0);
    let (time, number) = (WallTime::now().0, COMMANDS.fetch_add(1, Ordering::Relaxed));
    format!("{container}:{time:x}-{number}")
}

/// Signals a process of a container. Blocks on `/proc`.
pub(crate) fn signal(pid: Option<i32>, container: &str, signal: Signal) {
    let Some(pid) = pid.and_then(Pid::from_raw) else {
        return;
    };
    if !is_of(pid, container) {
        tracing::warn!(%container, "a command cannot be signalled: the engine's processes are not this machine's");
        return;
    }
    send(pid, container, signal);
}

/// Kills what one command of a container started. Blocks on `/proc`.
pub(crate) fn kill_marked(container: &str, mark: &str) {
    kill_all(container, |value| value == mark.as_bytes());
}

/// Kills all commands of a container: those that a former daemon left. Blocks on `/proc`.
pub(crate) fn kill_commands(container: &str) {
    kill_all(container, |value| value.starts_with(container.as_bytes()));
}

fn kill_all(container: &str, is_marked: impl Fn(&[u8]) -> bool) {
    for _ in 0..ROUNDS {
        let marked: Vec<Pid> = pids()
            .filter(|pid| {
                is_of(*pid, container) && value_of_mark(*pid).is_some_and(|value| is_marked(&value))
            })
            .collect();
        if marked.is_empty() {
            return;
        }
        for pid in marked {
            send(pid, container, Signal::KILL);
        }
    }
}

fn send(pid: Pid, container: &str, signal: Signal) {
    match rustix::process::kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => tracing::warn!(%container, %error, "a command in a container cannot be signalled"),
    }
}

fn pids() -> impl Iterator<Item = Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
}

fn file(pid: Pid, name: &str) -> PathBuf {
    Path::new("/proc")
        .join(pid.as_raw_nonzero().to_string())
        .join(name)
}

fn is_of(pid: Pid, container: &str) -> bool {
    std::fs::read_to_string(file(pid, "cgroup")).is_ok_and(|cgroup| cgroup.contains(container))
}

/// What a process was marked with. One that has ended has no environment any more.
fn value_of_mark(pid: Pid) -> Option<Vec<u8>> {
    let environ = std::fs::read(file(pid, "environ")).ok()?;
    let entries = environ.split(|byte| *byte == 0);
    let mut values = entries.filter_map(|entry| entry.strip_prefix(MARK.as_bytes())?.strip_prefix(b"="));
    values.next_back().map(<[u8]>::to_vec)
}

//! Processes inside containers, as this machine sees them.
//!
//! An engine signals main processes alone. Others are signalled by their pid on this machine, after their cgroup has
//! shown that they belong to the container: an engine elsewhere tells pids that are somebody else's here. What a
//! command started is found by what its environment was marked with.

use std::sync::atomic::{AtomicU64, Ordering};

use harness_model::WallTime;
use harness_shim::identity::ProcessId;
use harness_shim::tree::{self, Look};
use rustix::process::Signal;

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
    // Named first, so that what is looked at is what is signalled.
    let process = pid.and_then(|pid| ProcessId::of(u32::try_from(pid).ok()?).ok());
    let Some(process) = process else {
        return;
    };
    if !is_of(process.pid, container) {
        tracing::warn!(%container, "a command cannot be signalled: the engine's processes are not this machine's");
        return;
    }
    send(&process, container, signal);
}

/// Kills what one command of a container started. Blocks on `/proc`.
pub(crate) fn kill_marked(container: &str, mark: &str) {
    kill_all(container, |value| value == mark.as_bytes());
}

/// Kills all commands of a container: those that a former daemon left. Blocks on `/proc`.
pub(crate) fn kill_commands(container: &str) {
    kill_all(container, |value| value.starts_with(container.as_bytes()));
}

/// Kills what is marked so, and what descends from that without a mark.
fn kill_all(container: &str, is_marked: impl Fn(&[u8]) -> bool) {
    for _ in 0..ROUNDS {
        let mut look = Look::default();
        let marked = pids().filter(|pid| is_of(*pid, container) && look.finds_value(*pid, MARK, &is_marked));
        let mut found: Vec<ProcessId> = Vec::new();
        for pid in marked {
            found.extend(ProcessId::of(pid));
            found.extend(tree::descendants(pid).unwrap_or_default());
        }
        if found.is_empty() {
            return;
        }
        for process in found {
            // Looked at again now that it is named: had its pid been given away, it would be somebody else's.
            if is_of(process.pid, container) {
                send(&process, container, Signal::KILL);
            }
        }
    }
}

fn send(process: &ProcessId, container: &str, signal: Signal) {
    if let Err(error) = process.signal(signal.as_raw()) {
        tracing::warn!(%container, %error, "a command in a container cannot be signalled");
    }
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn is_of(pid: u32, container: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|cgroup| cgroup.contains(container))
}

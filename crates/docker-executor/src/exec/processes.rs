//! Processes inside containers, as this machine sees them.
//!
//! An engine signals only main processes. Other processes are signalled by their pid on this machine, but only if
//! their cgroup shows that they belong to the container: an engine on another machine reports pids that mean other
//! processes here. What a command started is found by a mark in its environment.

use std::sync::atomic::{AtomicU64, Ordering};

use harness_model::WallTime;
use harness_shim::identity::ProcessId;
use harness_shim::tree::{self, Look};
use rustix::process::Signal;

/// Marks our commands and what they start, so that the next daemon finds what a killed daemon left.
pub(crate) const MARK: &str = "HARNESS_COMMAND_OF";

/// A process that is being killed may start more, so this looks again up to this many times.
const ROUNDS: u32 = 20;

/// The mark of one command of a container.
pub(crate) fn mark(container: &str) -> String {
    static COMMANDS: AtomicU64 = AtomicU64::new(0);
    let (time, number) = (WallTime::now().0, COMMANDS.fetch_add(1, Ordering::Relaxed));
    format!("{container}:{time:x}-{number}")
}

/// Signals a process of a container. Blocks on `/proc`.
pub(crate) fn signal(pid: Option<i32>, container: &str, signal: Signal) {
    // Take its identity first, so that the process that is checked is the one that is signalled.
    let process = pid.and_then(|pid| ProcessId::of(u32::try_from(pid).ok()?).ok());
    let Some(process) = process else {
        return;
    };
    if !is_of(process.pid, container) {
        tracing::warn!(%container, "cannot signal a command: the engine's processes are not on this machine");
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

/// Kills everything with such a mark, and its descendants without a mark.
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
            // Check again after taking its identity: if its pid was reused meanwhile, it would be another process.
            if is_of(process.pid, container) {
                send(&process, container, Signal::KILL);
            }
        }
    }
}

fn send(process: &ProcessId, container: &str, signal: Signal) {
    if let Err(error) = process.signal(signal.as_raw()) {
        tracing::warn!(%container, %error, "cannot signal a command in a container");
    }
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn is_of(pid: u32, container: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|cgroup| cgroup.contains(container))
}

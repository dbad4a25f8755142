//! The processes of the tree. All descend from the supervisor, because it becomes the parent of orphans.

use std::fs;
use std::path::PathBuf;

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, kill_process_group, wait};

use super::complain;
use crate::cgroup;
use crate::identity::{signal_from_number, signal_verified};
use crate::run_dir::{Background, Outcome};
use crate::tree::{family_of, snapshot};

/// How many times the direct children are killed in one round. When a process is killed, its children get the
/// supervisor as their parent. A process that forks and exits again and again is hit in one of these attempts.
const KILLS_IN_A_ROUND: usize = 50;

/// The main process and everything that came from it.
pub(crate) struct Family {
    main: Pid,
    main_ended: bool,
    cgroup: Option<PathBuf>,
    /// There is no child left, and so no descendant.
    gone: bool,
}

impl Family {
    pub(crate) fn new(main: Pid, cgroup: Option<PathBuf>) -> Self {
        Self {
            main,
            main_ended: false,
            cgroup,
            gone: false,
        }
    }

    /// Whether no process is left.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Whether the main process has ended.
    pub(crate) fn main_ended(&self) -> bool {
        self.main_ended
    }

    /// Collects the exit status of every process that has ended. Returns the status of the main process if it is
    /// among them.
    pub(crate) fn reap(&mut self) -> Option<Outcome> {
        let mut outcome = None;
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    if pid == self.main && !self.main_ended {
                        self.main_ended = true;
                        outcome = Some(outcome_of(status));
                    }
                }
                Ok(None) => return outcome,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => {
                    self.gone = true;
                    return outcome;
                }
            }
        }
    }

    /// Sends a signal to the main process, which must not have ended: until it is reaped, its pid belongs to nobody
    /// else.
    pub(crate) fn signal_main(&self, signal: i32) -> rustix::io::Result<()> {
        let signal = signal_from_number(signal).map_err(|_| rustix::io::Errno::INVAL)?;
        kill_process(self.main, signal)
    }

    /// Sends a signal to the process group of the main process. Sends nothing once the main process has ended,
    /// because another group may have the number then.
    pub(crate) fn signal_main_group(&self, signal: i32) -> rustix::io::Result<()> {
        if self.main_ended {
            return Ok(());
        }
        let signal = signal_from_number(signal).map_err(|_| rustix::io::Errno::INVAL)?;
        kill_process_group(self.main, signal)
    }

    /// Sends a signal to every process of the tree.
    pub(crate) fn signal_all(&self, signal: i32) {
        let Ok(signal) = signal_from_number(signal) else {
            return;
        };
        let family = match family_of(std::process::id()) {
            Ok(family) => family,
            Err(error) => return complain(format_args!("cannot list processes: {error}")),
        };
        for stat in family {
            // A process that cannot be signalled (of another user) is killed or reported later.
            let _ = signal_verified(stat.pid, stat.start_time, signal);
        }
    }

    /// Kills everything that can be found now. Returns the status of the main process if it ended because of this.
    pub(crate) fn kill_round(&mut self) -> Option<Outcome> {
        if let Some(cgroup) = &self.cgroup {
            // What this cannot kill, the walk does.
            let _ = cgroup::kill(cgroup);
        }
        self.signal_all(libc::SIGKILL);
        let mut outcome = self.reap();
        let mut before = Vec::new();
        for _ in 0..KILLS_IN_A_ROUND {
            let children = children();
            if self.gone || children == before {
                break;
            }
            for child in &children {
                // Only its parent, which is this process, could make the pid free.
                let _ = kill_process(*child, Signal::KILL);
            }
            before = children;
            outcome = self.reap().or(outcome);
        }
        outcome
    }

    /// The pids of the processes that are left, for a message.
    pub(crate) fn left(&self) -> Vec<u32> {
        let left = family_of(std::process::id()).unwrap_or_default();
        left.iter().map(|stat| stat.pid).collect()
    }

    /// What runs in sessions of its own: whoever makes itself a daemon begins one, while the rest of a pipeline, say, is
    /// still in that of the main process.
    pub(crate) fn background(&self) -> Option<Background> {
        let family = family_of(std::process::id()).unwrap_or_default();
        let main = self.main.as_raw_pid().unsigned_abs();
        let left: Vec<u32> = family
            .iter()
            .filter(|stat| !stat.is_gone() && stat.session != main)
            .map(|stat| stat.pid)
            .collect();
        let first = left.first()?;
        let name = fs::read(format!("/proc/{first}/comm")).unwrap_or_default();
        let name = String::from_utf8_lossy(&name);
        Some(Background {
            name: name.trim_end_matches('\n').to_owned(),
            processes: u32::try_from(left.len()).unwrap_or(u32::MAX),
        })
    }

    /// Removes the cgroup, after killing everything in it that is not a descendant.
    pub(crate) fn remove_cgroup(&self) {
        if let Some(cgroup) = &self.cgroup {
            if cgroup::processes(cgroup).is_ok_and(|pids| !pids.is_empty()) {
                let _ = cgroup::kill(cgroup);
            }
            crate::tree::remove_when_empty(cgroup);
        }
    }
}

/// The direct children, including zombies.
fn children() -> Vec<Pid> {
    let me = std::process::id();
    let parse = |pid: &str| Pid::from_raw(pid.parse().ok()?);
    match fs::read_to_string(format!("/proc/self/task/{me}/children")) {
        Ok(text) => text.split_ascii_whitespace().filter_map(parse).collect(),
        // Some kernels do not have that file.
        Err(_) => snapshot()
            .unwrap_or_default()
            .iter()
            .filter(|stat| stat.parent == me)
            .filter_map(|stat| Pid::from_raw(stat.pid.cast_signed()))
            .collect(),
    }
}

fn outcome_of(status: WaitStatus) -> Outcome {
    match status.terminating_signal() {
        Some(signal) => Outcome::Signaled(signal),
        None => Outcome::Exited(status.exit_status().unwrap_or(0)),
    }
}

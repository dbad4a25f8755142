//! Finding and killing what a dead shim left behind.
//!
//! With its shim gone, a tree hangs together by three threads: the run id in the environment of its processes,
//! descent from one of those, and the session of the main process. The session counts only while a process
//! of it is known otherwise: then its number cannot have been given to another one. Every process found is
//! named by its start time too, so a pid reused between finding and killing is left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io;
use std::time::{Duration, Instant};

use crate::cgroup;
use crate::identity::{Identity, ProcessId, Stat, boot_id, pid_namespace};
use crate::run_dir::{LockState, RunDir, RunDirError};

/// The variable by which processes of a run are found.
pub const RUN_ID_VARIABLE: &str = "HARNESS_RUN_ID";
/// How long [`kill_leftovers`] tries.
pub const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// Why leftovers could not be cleared away.
#[derive(Debug)]
#[non_exhaustive]
pub enum LeftoversError {
    /// The shim lives: it is to be asked.
    ShimAlive,
    /// The run directory cannot be read.
    RunDir(RunDirError),
    /// `/proc` cannot be read.
    Proc(io::Error),
    /// Some are still there after the deadline (in the kernel, or of another user).
    StillThere(Vec<ProcessId>),
}

impl fmt::Display for LeftoversError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ShimAlive => f.write_str("the supervisor is alive"),
            Self::RunDir(_) => f.write_str("cannot find out what was left behind"),
            Self::Proc(_) => f.write_str("cannot list processes"),
            Self::StillThere(processes) => {
                let pids: Vec<String> = processes.iter().map(|p| p.pid.to_string()).collect();
                write!(f, "cannot kill {}", pids.join(", "))
            }
        }
    }
}

impl std::error::Error for LeftoversError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::RunDir(source) => Some(source),
            Self::Proc(source) => Some(source),
            Self::ShimAlive | Self::StillThere(_) => None,
        }
    }
}

/// All processes, zombies included, as they were one after the other.
pub(crate) fn snapshot() -> io::Result<Vec<Stat>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        if let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) {
            // Gone since, or not to be read: then it is not ours.
            all.extend(Stat::read(pid));
        }
    }
    Ok(all)
}

/// The descendants of `roots` in a snapshot, roots not included.
pub(crate) fn descendants_in(all: &[Stat], roots: impl IntoIterator<Item = u32>) -> Vec<Stat> {
    let mut children: BTreeMap<u32, Vec<&Stat>> = BTreeMap::new();
    for stat in all {
        children.entry(stat.parent).or_default().push(stat);
    }
    let mut found = Vec::new();
    let mut queue: Vec<u32> = roots.into_iter().collect();
    while let Some(parent) = queue.pop() {
        // Removed, so that a snapshot torn by reused pids cannot make a circle.
        for child in children.remove(&parent).unwrap_or_default() {
            found.push(*child);
            queue.push(child.pid);
        }
    }
    found
}

/// How often a family is listed at most, until two listings agree.
const LISTINGS: usize = 5;

/// The descendants of a process, zombies included, itself not. The kernel's lists of children are followed, so
/// that it costs what the family is large, not what the machine runs: a thousand services that stop at once
/// would otherwise each read the whole of `/proc`.
///
/// # Errors
/// When `/proc` cannot be read.
pub(crate) fn family_of(root: u32) -> io::Result<Vec<Stat>> {
    let mut before = None;
    for _ in 0..LISTINGS {
        let Some(family) = list_family(root) else {
            return Ok(descendants_in(&snapshot()?, [root]));
        };
        // A child that ends while the list is read can hide the one behind it, but hardly twice.
        if before.as_ref() == Some(&family) {
            break;
        }
        before = Some(family);
    }
    Ok(before.unwrap_or_default())
}

/// `None` from a kernel without lists of children.
fn list_family(root: u32) -> Option<Vec<Stat>> {
    let mut found: BTreeMap<u32, Stat> = BTreeMap::new();
    let mut queue = vec![root];
    while let Some(parent) = queue.pop() {
        let children = match children_of(parent) {
            Ok(children) => children,
            Err(_) if parent == root => return None,
            // Gone since: its children are now those of another one on the list.
            Err(_) => continue,
        };
        for child in children {
            if let Ok(stat) = Stat::read(child)
                && found.insert(child, stat).is_none()
            {
                queue.push(child);
            }
        }
    }
    Some(found.into_values().collect())
}

/// The children that each thread of a process has.
fn children_of(pid: u32) -> io::Result<Vec<u32>> {
    let mut children = Vec::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(thread?.path().join("children"))?;
        children.extend(
            text.split_ascii_whitespace()
                .filter_map(|pid| pid.parse::<u32>().ok()),
        );
    }
    Ok(children)
}

/// The living descendants of a process.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn descendants(pid: u32) -> io::Result<Vec<ProcessId>> {
    name(family_of(pid)?.into_iter())
}

/// The living processes with this run id in their environment, the caller not included. Only processes whose
/// environment may be read are found: for root all, otherwise the user's own.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn find_by_run_id(run_id: &str) -> io::Result<Vec<ProcessId>> {
    let all = snapshot()?;
    name(all.into_iter().filter(|stat| has_run_id(stat.pid, run_id)))
}

fn has_run_id(pid: u32, run_id: &str) -> bool {
    let wanted = format!("{RUN_ID_VARIABLE}={run_id}");
    fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environ| {
        environ
            .split(|&b| b == 0)
            .any(|variable| variable == wanted.as_bytes())
    })
}

fn name(stats: impl Iterator<Item = Stat>) -> io::Result<Vec<ProcessId>> {
    let (boot_id, pid_ns) = (boot_id()?, pid_namespace()?);
    let me = std::process::id();
    Ok(stats
        .filter(|stat| !stat.is_gone() && stat.pid != me)
        .map(|stat| ProcessId {
            pid: stat.pid,
            start_time: stat.start_time,
            boot_id: boot_id.clone(),
            pid_ns,
        })
        .collect())
}

/// Every living process of a run whose shim is dead.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn leftovers(run_id: &str, main: Option<&ProcessId>) -> io::Result<Vec<ProcessId>> {
    find_leftovers(run_id, main, &mut BTreeSet::new())
}

/// `sessions` are those that earlier calls found to be the run's own, and keeps them for the next one: whoever
/// proved it may be dead by then.
fn find_leftovers(
    run_id: &str,
    main: Option<&ProcessId>,
    sessions: &mut BTreeSet<u32>,
) -> io::Result<Vec<ProcessId>> {
    let all = snapshot()?;
    // Its zombie still says that its number, and so that of its session, is nobody else's.
    let main = main.filter(|main| main.is_visible());
    let is_main = |stat: &Stat| main.is_some_and(|m| (m.pid, m.start_time) == (stat.pid, stat.start_time));
    let mut known: BTreeSet<u32> = all
        .iter()
        .filter(|stat| is_main(stat) || has_run_id(stat.pid, run_id))
        .map(|stat| stat.pid)
        .collect();
    sessions.extend(own_sessions(&all, &known));
    let alive: BTreeSet<u32> = living(&all).map(|stat| stat.pid).collect();
    sessions.retain(|session| known.contains(session) || !alive.contains(session));
    known.extend(
        living(&all)
            .filter(|stat| sessions.contains(&stat.session))
            .map(|stat| stat.pid),
    );
    known.extend(
        descendants_in(&all, known.iter().copied())
            .iter()
            .map(|stat| stat.pid),
    );
    name(all.into_iter().filter(|stat| known.contains(&stat.pid)))
}

fn living(all: &[Stat]) -> impl Iterator<Item = &Stat> {
    all.iter().filter(|stat| !stat.is_gone())
}

/// The sessions begun by the run: their leaders are known, or dead with a known process left in them. A session
/// that was there before (of a terminal, say) has other people in it.
fn own_sessions(all: &[Stat], known: &BTreeSet<u32>) -> BTreeSet<u32> {
    let alive: BTreeSet<u32> = living(all).map(|stat| stat.pid).collect();
    all.iter()
        .filter(|stat| known.contains(&stat.pid))
        .map(|stat| stat.session)
        .filter(|session| *session != 0 && (known.contains(session) || !alive.contains(session)))
        .collect()
}

/// Kills every process of a run whose shim is dead, until none is left or [`KILL_DEADLINE`] has passed.
/// Returns how many there were.
///
/// # Errors
/// When the processes cannot be found, or some cannot be killed.
pub fn kill_all(run_id: &str, main: Option<&ProcessId>) -> Result<usize, LeftoversError> {
    kill_each(run_id, main).map(|killed| killed.len())
}

fn kill_each(run_id: &str, main: Option<&ProcessId>) -> Result<Vec<ProcessId>, LeftoversError> {
    let deadline = Instant::now() + KILL_DEADLINE;
    let mut sessions = BTreeSet::new();
    let mut dying: Vec<ProcessId> = Vec::new();
    let mut pause = Duration::from_micros(200);
    loop {
        let found = find_leftovers(run_id, main, &mut sessions).map_err(LeftoversError::Proc)?;
        // Whoever was found may have forked since: only a look that finds nobody is the last one.
        let quiet = found.is_empty();
        for process in found {
            // What cannot be signalled is still there in the end, and is reported then.
            let _ = process.signal(libc::SIGKILL);
            if !dying.contains(&process) {
                dying.push(process);
                pause = Duration::from_micros(200);
            }
        }
        // A process on its way out has no environment any more, so it is not found again, but still there.
        let left = || dying.iter().filter(|process| process.is_alive());
        if quiet && left().next().is_none() {
            return Ok(dying);
        }
        if Instant::now() >= deadline {
            return Err(LeftoversError::StillThere(left().cloned().collect()));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Clears away what a dead shim left behind in a run directory: processes, control socket, cgroup. Returns how
/// many processes were killed.
///
/// # Errors
/// When the shim is alive after all, what to look for cannot be read, or some processes cannot be killed.
pub fn kill_leftovers(run_dir: &RunDir) -> Result<usize, LeftoversError> {
    if run_dir.lock_state().map_err(LeftoversError::RunDir)? == LockState::Held {
        return Err(LeftoversError::ShimAlive);
    }
    // Either tells the run id: one that is damaged, or that a newer version wrote, is no reason to leave processes
    // alone that the other one leads to.
    let identity = run_dir.read_identity().ok().flatten();
    let (run_id, cgroup) = match (run_dir.read_spec(), &identity) {
        (Ok(spec), _) => (spec.run_id, spec.cgroup),
        (Err(_), Some(identity)) => (identity.run_id.clone(), None),
        (Err(error), None) => return Err(LeftoversError::RunDir(error)),
    };
    let main = identity.map(|identity: Identity| identity.main);
    let mut killed = BTreeSet::new();
    if let Some(cgroup) = cgroup.as_deref() {
        killed.extend(cgroup::processes(cgroup).unwrap_or_default());
        // The walk finds what this does not reach.
        let _ = cgroup::kill(cgroup);
    }
    let found = kill_each(&run_id, main.as_ref())?;
    killed.extend(found.iter().map(|process| process.pid));
    if let Some(cgroup) = cgroup.as_deref() {
        remove_when_empty(cgroup);
    }
    let _ = fs::remove_file(run_dir.path().join(crate::run_dir::CONTROL_SOCKET));
    Ok(killed.len())
}

/// A killed process leaves its cgroup a moment after it is gone for everybody else.
pub(crate) fn remove_when_empty(cgroup: &std::path::Path) {
    let deadline = Instant::now() + Duration::from_millis(500);
    while cgroup::remove(cgroup).is_err() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
}

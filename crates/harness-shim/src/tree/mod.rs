//! Finds and kills what a dead shim, or the command of a dead daemon, left behind.
//!
//! What proves that a process belongs to a run, and what does not:
//!
//! | evidence | proves it |
//! |---|---|
//! | it is the main process that the identity names (pid, start time, boot, pid namespace) | yes |
//! | it is in the cgroup of the run | yes |
//! | it descends from a process of the run, now or when it was last looked at | yes |
//! | its environment contains the run id | yes |
//! | it is in the same session or process group, whoever leads that | no |
//! | its pid once belonged to the run, or it has the same name or arguments | no |
//!
//! A session proves nothing because other processes may be in it: a daemon that was started from a shell that is gone
//! shares its session with the user's own jobs. Every process that is found is also identified by its start time, so
//! a pid that is reused between finding and killing is left alone.

mod listing;
mod run_id;

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::cgroup;
use crate::identity::{Identity, ProcessId, Stat, boot_id, pid_namespace};
use crate::run_dir::{LockState, RunDir, RunDirError};

use listing::descendants_in;
pub(crate) use listing::{family_of, pids, snapshot};
pub use run_id::Look;
use run_id::Wanted;

/// The variable by which the processes of a run are found.
pub const RUN_ID_VARIABLE: &str = "HARNESS_RUN_ID";
/// How long [`kill_leftovers`] keeps trying.
pub const KILL_DEADLINE: Duration = Duration::from_secs(10);
/// Separates a run id from the part that was added to it. A cleaned path never contains it.
const BELOW: &str = "//";

/// Why leftovers could not be removed.
#[derive(Debug)]
#[non_exhaustive]
pub enum LeftoversError {
    /// The shim lives, so it should be asked instead.
    ShimAlive,
    /// The run directory cannot be read.
    RunDir(RunDirError),
    /// `/proc` cannot be read.
    Proc(io::Error),
    /// Some processes still exist after the deadline (stuck in the kernel, or of another user).
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

/// A run id for something that belongs to the owner of another run id. It is found by both.
pub fn below(run_id: &str, name: &str) -> String {
    format!("{run_id}{BELOW}{name}")
}

/// The living descendants of a process.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn descendants(pid: u32) -> io::Result<Vec<ProcessId>> {
    name(family_of(pid)?.into_iter())
}

/// The living processes with this run id in their environment, without the caller. This finds only processes with a
/// readable environment: all of them for root, otherwise the user's own.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn find_by_run_id(run_id: &str) -> io::Result<Vec<ProcessId>> {
    let mut look = Look::default();
    let all = snapshot()?;
    name(
        all.into_iter()
            .filter(|stat| look.finds(stat.pid, Wanted::Run(run_id))),
    )
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

/// Every living process of a run with a dead shim.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn leftovers(run_id: &str, main: Option<&ProcessId>) -> io::Result<Vec<ProcessId>> {
    Search::new(Wanted::Run(run_id), main, None).find()
}

/// A search for the processes of a run, repeated until none is left.
struct Search<'a> {
    wanted: Wanted<'a>,
    main: Option<&'a ProcessId>,
    cgroup: Option<&'a Path>,
    /// The processes found so far, by pid and start time. The process that proved that they belong to the run may be
    /// dead by now.
    seen: BTreeSet<(u32, u64)>,
}

impl<'a> Search<'a> {
    fn new(wanted: Wanted<'a>, main: Option<&'a ProcessId>, cgroup: Option<&'a Path>) -> Self {
        Self {
            wanted,
            // A zombie is enough: its descendants keep their parent until it is reaped.
            main: main.filter(|main| main.is_visible()),
            cgroup,
            seen: BTreeSet::new(),
        }
    }

    fn find(&mut self) -> io::Result<Vec<ProcessId>> {
        let all = self.list()?;
        let is_main = |stat: &Stat| {
            let main = self.main.map(|main| (main.pid, main.start_time));
            main == Some((stat.pid, stat.start_time))
        };
        let inside = self.in_cgroup();
        let known = |stat: &Stat| {
            is_main(stat) || inside.contains(&stat.pid) || self.seen.contains(&(stat.pid, stat.start_time))
        };
        let mut found: BTreeSet<u32> = all
            .iter()
            .filter(|stat| known(stat))
            .map(|stat| stat.pid)
            .collect();
        let descend = |found: &mut BTreeSet<u32>| {
            let family = descendants_in(&all, found.iter().copied());
            found.extend(family.iter().map(|stat| stat.pid));
        };
        descend(&mut found);
        // What a process says of itself comes last, and only if nothing else is known of it.
        let mut look = Look::default();
        let unknown = all
            .iter()
            .filter(|stat| !stat.is_gone() && !found.contains(&stat.pid));
        let marked: Vec<u32> = unknown
            .filter(|stat| look.finds(stat.pid, self.wanted))
            .map(|stat| stat.pid)
            .collect();
        found.extend(marked);
        descend(&mut found);
        let found: Vec<Stat> = all.into_iter().filter(|stat| found.contains(&stat.pid)).collect();
        self.seen
            .extend(found.iter().map(|stat| (stat.pid, stat.start_time)));
        name(found.into_iter())
    }

    /// All processes except the searching one. That may have been started by the run itself, but neither it nor what
    /// it starts is meant.
    fn list(&self) -> io::Result<Vec<Stat>> {
        let before = self.in_cgroup();
        let mut all = snapshot()?;
        let after = self.in_cgroup();
        let me = std::process::id();
        // If a pid is in the cgroup before and after, it belonged to a process of the run all the time. A process
        // that came in meanwhile is found by the next look.
        all.retain(|stat| stat.pid != me && before.contains(&stat.pid) == after.contains(&stat.pid));
        Ok(all)
    }

    fn in_cgroup(&self) -> BTreeSet<u32> {
        let inside = self
            .cgroup
            .map(|cgroup| cgroup::processes(cgroup).unwrap_or_default());
        inside.unwrap_or_default().into_iter().collect()
    }
}

/// Kills every process of a run with a dead shim, until none is left or [`KILL_DEADLINE`] has passed. Returns how
/// many there were.
///
/// # Errors
/// When the processes cannot be found, or some cannot be killed.
pub fn kill_all(run_id: &str, main: Option<&ProcessId>) -> Result<usize, LeftoversError> {
    kill_each(Search::new(Wanted::Run(run_id), main, None)).map(|killed| killed.len())
}

/// The same for this run id and all that were made from it with [`below`].
///
/// # Errors
/// When the processes cannot be found, or some cannot be killed.
pub fn kill_all_below(run_id: &str) -> Result<usize, LeftoversError> {
    kill_each(Search::new(Wanted::Below(run_id), None, None)).map(|killed| killed.len())
}

fn kill_each(mut search: Search<'_>) -> Result<Vec<ProcessId>, LeftoversError> {
    let deadline = Instant::now() + KILL_DEADLINE;
    let mut dying: Vec<ProcessId> = Vec::new();
    let mut pause = Duration::from_micros(200);
    loop {
        let found = search.find().map_err(LeftoversError::Proc)?;
        // A process that was found may have forked since. Only a look that finds nobody can be the last one.
        let quiet = found.is_empty();
        for process in found {
            // If a process cannot be signalled, it still exists in the end and is reported then.
            let _ = process.signal(libc::SIGKILL);
            if !dying.contains(&process) {
                dying.push(process);
                pause = Duration::from_micros(200);
            }
        }
        // A process that is just ending has no environment any more. So it is not found again, but it still exists.
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

/// Removes what a dead shim left behind in a run directory: processes, control socket, cgroup. Returns how many
/// processes were killed.
///
/// # Errors
/// When the shim is alive after all, the files that say what to look for cannot be read, or some processes cannot be
/// killed.
pub fn kill_leftovers(run_dir: &RunDir) -> Result<usize, LeftoversError> {
    if run_dir.lock_state().map_err(LeftoversError::RunDir)? == LockState::Held {
        return Err(LeftoversError::ShimAlive);
    }
    // Both files contain the run id. If one is damaged or was written by a newer version, the other one still leads
    // to the processes.
    let identity = run_dir.read_identity().ok().flatten();
    let (run_id, cgroup): (String, Option<PathBuf>) = match (run_dir.read_spec(), &identity) {
        (Ok(spec), _) => (spec.run_id, spec.cgroup),
        (Err(_), Some(identity)) => (identity.run_id.clone(), None),
        (Err(error), None) => return Err(LeftoversError::RunDir(error)),
    };
    let main = identity.map(|identity: Identity| identity.main);
    let mut killed = BTreeSet::new();
    // Search before the cgroup is killed: descendants of its processes that are outside of it can be found only now.
    let mut search = Search::new(Wanted::Run(&run_id), main.as_ref(), cgroup.as_deref());
    let found = search.find().map_err(LeftoversError::Proc)?;
    killed.extend(found.iter().map(|process| process.pid));
    if let Some(cgroup) = cgroup.as_deref() {
        let _ = cgroup::kill(cgroup);
    }
    let found = kill_each(search)?;
    killed.extend(found.iter().map(|process| process.pid));
    if let Some(cgroup) = cgroup.as_deref() {
        remove_when_empty(cgroup);
    }
    let _ = fs::remove_file(run_dir.path().join(crate::run_dir::CONTROL_SOCKET));
    Ok(killed.len())
}

/// A killed process leaves its cgroup a moment after everybody else sees that it is gone.
pub(crate) fn remove_when_empty(cgroup: &Path) {
    let deadline = Instant::now() + Duration::from_millis(500);
    while cgroup::remove(cgroup).is_err() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
}

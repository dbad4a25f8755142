//! Finds the process that a socket belongs to: `/proc/<pid>/fd` has links like `socket:[24871]`, see proc(5).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::HarnessDaemon;

/// A process that holds a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) pid: u32,
    pub(super) program: Option<String>,
    pub(super) uid: Option<u32>,
}

/// The program of a daemon.
const DAEMON: &str = "harness-executor-daemon";

/// The file in its home that a daemon holds open as long as it lives.
const DAEMON_LOCK: &str = "daemon.lock";

impl Owner {
    /// Which harness daemon it is, if it is one.
    pub(super) fn daemon(&self) -> Option<HarnessDaemon> {
        if self.program.as_deref() != Some(DAEMON) {
            return None;
        }
        if self.pid == std::process::id() {
            return Some(HarnessDaemon::This);
        }
        let files = fs::read_dir(process(self.pid, "fd"))
            .into_iter()
            .flatten()
            .flatten();
        let mut files = files.filter_map(|entry| fs::read_link(entry.path()).ok());
        let lock = files.find(|file| file.file_name().is_some_and(|name| name == DAEMON_LOCK));
        Some(HarnessDaemon::OfHome(
            lock.and_then(|lock| Some(lock.parent()?.to_owned())),
        ))
    }
}

/// The daemon of another home, where it is the only one of this user: nobody but root may look into daemons, but what they
/// are called everybody may know.
pub(super) fn hidden_daemon(uid: u32) -> Option<Owner> {
    let is_daemon = |pid: &u32| {
        *pid != std::process::id()
            && fs::read(process(*pid, "comm"))
                .is_ok_and(|name| DAEMON.as_bytes().starts_with(name.trim_ascii_end()))
            && fs::read(process(*pid, "cmdline")).is_ok_and(|line| names_daemon(&line))
            && status_field(*pid, "Uid:") == Some(uid)
    };
    let mut daemons = pids().filter(is_daemon);
    let pid = daemons.next()?;
    daemons.next().is_none().then(|| Owner {
        pid,
        program: Some(DAEMON.to_owned()),
        uid: Some(uid),
    })
}

/// Whether a command line begins with the program of a daemon.
fn names_daemon(line: &[u8]) -> bool {
    let program = line.split(|&byte| byte == 0).next().unwrap_or_default();
    program.rsplit(|&byte| byte == b'/').next() == Some(DAEMON.as_bytes())
}

/// The processes that hold sockets, as far as they can be seen.
#[derive(Debug, Default)]
pub(super) struct Owners {
    by_inode: BTreeMap<u64, Owner>,
}

impl Owners {
    /// Looks into every process that it may look into. Processes that end meanwhile are skipped.
    pub(super) fn find(inodes: BTreeSet<u64>) -> Self {
        let mut found: BTreeMap<u64, BTreeSet<u32>> = BTreeMap::new();
        if inodes.is_empty() {
            return Self::default();
        }
        for pid in pids() {
            for inode in sockets(pid) {
                if inodes.contains(&inode) {
                    found.entry(inode).or_default().insert(pid);
                }
            }
        }
        let by_inode = found
            .into_iter()
            .filter_map(|(inode, pids)| Some((inode, describe(first_of_family(&pids)?))))
            .collect();
        Self { by_inode }
    }

    pub(super) fn of(&self, inode: u64) -> Option<&Owner> {
        self.by_inode.get(&inode)
    }
}

fn pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn process(pid: u32, file: &str) -> PathBuf {
    Path::new("/proc").join(pid.to_string()).join(file)
}

fn sockets(pid: u32) -> impl Iterator<Item = u64> {
    fs::read_dir(process(pid, "fd"))
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let target = fs::read_link(entry.ok()?.path()).ok()?;
            target
                .to_str()?
                .strip_prefix("socket:[")?
                .strip_suffix(']')?
                .parse()
                .ok()
        })
}

/// Workers inherit the socket of their parent, so the parent is named.
fn first_of_family(pids: &BTreeSet<u32>) -> Option<u32> {
    let is_child = |pid: u32| status_field(pid, "PPid:").is_some_and(|parent| pids.contains(&parent));
    pids.iter()
        .copied()
        .find(|pid| !is_child(*pid))
        .or_else(|| pids.first().copied())
}

/// Whether a process is `ancestor` or below it.
pub(super) fn descends_from(pid: u32, ancestor: u32) -> bool {
    std::iter::successors(Some(pid), |pid| status_field(*pid, "PPid:"))
        .take_while(|pid| *pid != 0)
        .any(|pid| pid == ancestor)
}

fn describe(pid: u32) -> Owner {
    Owner {
        pid,
        program: program(pid),
        uid: status_field(pid, "Uid:"),
    }
}

/// The first number after a key of `/proc/<pid>/status`.
fn status_field(pid: u32, key: &str) -> Option<u32> {
    let status = fs::read_to_string(process(pid, "status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// The command name. The kernel cuts it off at 15 bytes; the rest comes from the executable, if that shows it.
fn program(pid: u32) -> Option<String> {
    const CUT: usize = 15;
    let name = fs::read(process(pid, "comm")).ok()?;
    let name = String::from_utf8_lossy(&name).trim_end().to_owned();
    if name.len() == CUT
        && let Ok(executable) = fs::read_link(process(pid, "exe"))
        && let Some(whole) = executable.file_name().and_then(|file| file.to_str())
        && whole.starts_with(&name)
    {
        return Some(whole.to_owned());
    }
    Some(name)
}

/// The name of a user, or the number if this machine's own list has no name for it.
pub(super) fn user_name(uid: u32) -> String {
    let number = uid.to_string();
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == number).then(|| name.to_owned())
    });
    name.unwrap_or(number)
}

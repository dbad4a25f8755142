//! Finding living shims by what they are, where no file leads to them any more: their run directory was removed,
//! moved, or lost the files that name them.
//!
//! A command line proves nothing: anybody can give a program any arguments. A shim is a process of our own user, in our
//! pid namespace and under our root, that executes a copy of the shim with the digest that its name tells, was called
//! `supervise DIR`, and holds the lock of a run directory.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use harness_shim::cgroup;
use harness_shim::identity::{ProcessId, pid_namespace};
use harness_shim::run_dir::{LOCK, LaunchSpec, RunDir};
use harness_shim::tree;

use crate::shim_binary;

/// How much of a command line is read, in bytes: a shim's is shorter.
const MAX_COMMAND_LINE: u64 = 8 << 10;

/// How many descriptors of a shim are looked at: it has about ten, and a few for each client.
const MAX_DESCRIPTORS: usize = 256;

/// How far up from a process its supervisor is looked for: a circle of reused pids has no end.
const LONGEST_LINE: usize = 1024;

/// What `/proc` adds to the name of a file that was removed.
const DELETED: &[u8] = b" (deleted)";

/// A file or folder, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// What is at this path; links are followed.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn of(path: &Path) -> io::Result<Self> {
        Ok(Self::from(&fs::metadata(path)?))
    }
}

impl From<&fs::Metadata> for FileId {
    fn from(meta: &fs::Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
        }
    }
}

/// A shim that lives.
#[derive(Debug, Clone)]
pub struct LivingShim {
    process: ProcessId,
    launched_in: PathBuf,
    works_in: PathBuf,
    folder: FileId,
    is_removed: bool,
}

impl LivingShim {
    /// Every shim of our own user that this process can see, those of other homes included. Blocks on `/proc`.
    ///
    /// # Errors
    /// When `/proc` cannot be listed.
    pub fn all() -> io::Result<Vec<Self>> {
        let me = rustix::process::geteuid().as_raw();
        let mut copies = Copies::default();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")?.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let is_ours = entry.metadata().is_ok_and(|meta| meta.uid() == me);
            if let Some(launched_in) = is_ours.then(|| supervises(pid)).flatten()
                && copies.is_run_by(pid)
            {
                found.extend(Self::read(pid, launched_in));
            }
        }
        Ok(found)
    }

    /// The shim that is this very process, if it still lives. Nothing but the name of the process is believed.
    pub(super) fn of(process: &ProcessId) -> Option<Self> {
        let launched_in = supervises(process.pid).unwrap_or_default();
        Self::read(process.pid, launched_in).filter(|shim| shim.process == *process)
    }

    fn read(pid: u32, launched_in: PathBuf) -> Option<Self> {
        // Named before it is looked at, and looked for again afterwards, so that no other one is meant.
        let process = ProcessId::of(pid).ok()?;
        let namespace = fs::metadata(format!("/proc/{pid}/ns/pid")).ok()?.ino();
        let is_here = pid_namespace().ok()? == namespace
            && FileId::of(&file_of(pid, "root")).ok()? == FileId::of(Path::new("/")).ok()?;
        let cwd = file_of(pid, "cwd");
        let meta = fs::metadata(&cwd).ok()?;
        let (works_in, told_removed) = without_mark(&fs::read_link(&cwd).ok()?);
        let shim = Self {
            launched_in,
            works_in,
            folder: FileId::from(&meta),
            is_removed: told_removed || meta.nlink() == 0,
            process,
        };
        (is_here && shim.is_alive()).then_some(shim)
    }

    /// Its process.
    pub fn process(&self) -> &ProcessId {
        &self.process
    }

    /// Whether it still lives.
    pub fn is_alive(&self) -> bool {
        self.process.is_alive()
    }

    /// The run directory as it was called when it was launched. What it works in since may have been renamed.
    pub fn launched_in(&self) -> &Path {
        &self.launched_in
    }

    /// What its run directory is called now, or was last.
    pub fn works_in(&self) -> &Path {
        &self.works_in
    }

    /// Its run directory.
    pub fn folder(&self) -> FileId {
        self.folder
    }

    /// Whether its run directory was removed.
    pub fn is_removed(&self) -> bool {
        self.is_removed
    }

    /// Whether it has entered its run directory: until then it has begun nothing.
    pub fn has_entered(&self) -> bool {
        self.works_in != Path::new("/")
    }

    /// The folder so many levels above its run directory, which leads up from a removed one too.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn ancestor(&self, levels: usize) -> io::Result<PathBuf> {
        let mut path = file_of(self.process.pid, "cwd");
        path.extend(std::iter::repeat_n("..", levels));
        FileId::of(&path)?;
        self.is_alive()
            .then_some(path)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Its run directory, by a path that leads there while it lives.
    pub(super) fn run_dir(&self) -> io::Result<RunDir> {
        let run_dir = RunDir::open(file_of(self.process.pid, "cwd")).map_err(io::Error::other)?;
        self.is_alive()
            .then_some(run_dir)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// What it was told to run: it holds the file, removed or not. `None` when that cannot be read, or the process
    /// holds no such lock and so is no shim at work.
    pub fn spec(&self) -> Option<LaunchSpec> {
        let spec = descriptors(self.process.pid)
            .find_map(|path| held_spec(&path))
            .or_else(|| self.run_dir().ok()?.read_spec().ok());
        spec.filter(|_| self.is_alive())
    }

    /// Its main process: the first of what descends from it and carries the run id. `None` while that has not begun, or
    /// when it has ended.
    pub(super) fn main(&self, run_id: &str) -> Option<ProcessId> {
        let marked = tree::find_by_run_id(run_id).ok()?;
        let mut family = tree::descendants(self.process.pid).ok()?;
        family.retain(|process| marked.contains(process));
        family
            .into_iter()
            .min_by_key(|process| (process.start_time, process.pid))
    }
}

/// Whether something in a cgroup runs below what calls itself a supervisor, whatever version or build that is, or cannot
/// be seen from here: then the cgroup is not for us to clear.
pub fn is_supervised(cgroup: &Path) -> bool {
    let Ok(inside) = cgroup::processes(cgroup) else {
        return true;
    };
    inside.into_iter().any(|pid| {
        // Those of another pid namespace have the number 0.
        let line = std::iter::successors(Some(pid), |pid| parent_of(*pid)).take(LONGEST_LINE);
        line.take_while(|pid| *pid != 1)
            .any(|pid| pid == 0 || supervises(pid).is_some())
    })
}

/// `None` when the process is gone.
fn parent_of(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(file_of(pid, "status")).ok()?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    parent.trim().parse().ok().filter(|parent| *parent != 0)
}

fn file_of(pid: u32, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{name}"))
}

/// The run directory that a process was told to supervise by its command line.
fn supervises(pid: u32) -> Option<PathBuf> {
    let mut line = Vec::new();
    let file = File::open(file_of(pid, "cmdline")).ok()?;
    file.take(MAX_COMMAND_LINE).read_to_end(&mut line).ok()?;
    let mut arguments = line.split(|byte| *byte == 0).skip(1);
    let is_told = arguments.next()? == b"supervise";
    let path = Path::new(OsStr::from_bytes(arguments.next()?)).to_owned();
    // A shim that was forked has the room that its zygote had kept for this.
    (is_told && path.is_absolute() && arguments.all(<[u8]>::is_empty)).then_some(path)
}

fn without_mark(path: &Path) -> (PathBuf, bool) {
    match path.as_os_str().as_bytes().strip_suffix(DELETED) {
        Some(name) => (OsStr::from_bytes(name).into(), true),
        None => (path.to_owned(), false),
    }
}

/// The files that a process has open and that are called as the lock of a run directory is.
fn descriptors(pid: u32) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(file_of(pid, "fd")).into_iter().flatten().flatten();
    entries
        .take(MAX_DESCRIPTORS)
        .map(|entry| entry.path())
        .filter(|path| {
            let target = fs::read_link(path).map(|target| without_mark(&target).0);
            target.is_ok_and(|target| target.file_name() == Some(OsStr::new(LOCK)))
        })
}

/// The spec in a file that somebody holds locked.
fn held_spec(path: &Path) -> Option<LaunchSpec> {
    use rustix::fs::{FlockOperation, flock};
    if !fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let file = File::open(path).ok()?;
    let is_held = flock(&file, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK);
    is_held.then(|| LaunchSpec::read(file).ok())?
}

/// The copies of shims that processes execute, each looked at once.
#[derive(Default)]
struct Copies(BTreeMap<(FileId, Vec<u8>), bool>);

impl Copies {
    fn is_run_by(&mut self, pid: u32) -> bool {
        let exe = file_of(pid, "exe");
        let (Ok(link), Ok(meta)) = (fs::read_link(&exe), fs::metadata(&exe)) else {
            return false;
        };
        let (path, _) = without_mark(&link);
        let Some(name) = path.file_name() else {
            return false;
        };
        let name = name.to_owned();
        *self
            .0
            .entry((FileId::from(&meta), name.clone().into_vec()))
            .or_insert_with(|| {
                name.to_str()
                    .is_some_and(|name| shim_binary::is_copy_called(name, &exe))
            })
    }
}

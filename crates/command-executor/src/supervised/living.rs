//! Finds living shims by what they are, if no file leads to them any more: their run directory was removed, moved, or
//! lost the files that name them.
//!
//! A command line proves nothing, since anybody can give a program any arguments. A process counts as a shim if it is
//! our own user's, is in our pid namespace and under our root, executes a copy of the shim with the digest that is in
//! the copy's name, was called with `supervise DIR`, and holds the lock of a run directory.

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

/// How much of a command line is read, in bytes. A shim's is shorter.
const MAX_COMMAND_LINE: u64 = 8 << 10;

/// How many descriptors of a shim are looked at. It has about ten, and a few for each client.
const MAX_DESCRIPTORS: usize = 256;

/// How many parents of a process are searched for its supervisor. If pids were reused in a circle, the search would
/// never end.
const LONGEST_LINE: usize = 1024;

/// What `/proc` appends to the name of a removed file.
const DELETED: &[u8] = b" (deleted)";

/// Identifies a file or folder, whatever its name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// The file or folder at this path. Links are followed.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
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

/// A living shim.
#[derive(Debug, Clone)]
pub(crate) struct LivingShim {
    process: ProcessId,
    launched_in: PathBuf,
    works_in: PathBuf,
    folder: FileId,
    is_removed: bool,
}

impl LivingShim {
    /// Every shim of our own user that this process can see, including those of other homes. Blocks on `/proc`.
    ///
    /// # Errors
    /// When `/proc` cannot be listed.
    pub(crate) fn all() -> io::Result<Vec<Self>> {
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

    /// The shim that is exactly this process, if it still lives. Only the process itself is taken on trust; everything
    /// else about it is checked.
    pub(crate) fn of(process: &ProcessId) -> Option<Self> {
        let launched_in = supervises(process.pid).unwrap_or_default();
        Self::read(process.pid, launched_in).filter(|shim| shim.process == *process)
    }

    fn read(pid: u32, launched_in: PathBuf) -> Option<Self> {
        // Take its identity before looking at it, and check it again afterwards, so that it cannot be another
        // process.
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
    pub(crate) fn process(&self) -> &ProcessId {
        &self.process
    }

    /// Whether it still lives.
    pub(crate) fn is_alive(&self) -> bool {
        self.process.is_alive()
    }

    /// The name that its run directory had at the launch. It may have been renamed since.
    pub(crate) fn launched_in(&self) -> &Path {
        &self.launched_in
    }

    /// The current or last name of its run directory.
    pub(crate) fn works_in(&self) -> &Path {
        &self.works_in
    }

    /// Its run directory.
    pub(crate) fn folder(&self) -> FileId {
        self.folder
    }

    /// Whether its run directory was removed.
    pub(crate) fn is_removed(&self) -> bool {
        self.is_removed
    }

    /// Whether it has entered its run directory. Before that it has begun nothing.
    pub(crate) fn has_entered(&self) -> bool {
        self.works_in != Path::new("/")
    }

    /// The folder this many levels above its run directory. This works even if the run directory was removed.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub(crate) fn ancestor(&self, levels: usize) -> io::Result<PathBuf> {
        let mut path = file_of(self.process.pid, "cwd");
        path.extend(std::iter::repeat_n("..", levels));
        FileId::of(&path)?;
        self.is_alive()
            .then_some(path)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Its run directory, by a path that leads there while the shim lives.
    pub(super) fn run_dir(&self) -> io::Result<RunDir> {
        let run_dir = RunDir::open(file_of(self.process.pid, "cwd")).map_err(io::Error::other)?;
        self.is_alive()
            .then_some(run_dir)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The spec that it was given. It holds the file, even if that was removed. `None` if the spec cannot be read, or
    /// if the process holds no such lock and so is not a working shim.
    pub(crate) fn spec(&self) -> Option<LaunchSpec> {
        let spec = descriptors(self.process.pid)
            .find_map(|path| held_spec(&path))
            .or_else(|| self.run_dir().ok()?.read_spec().ok());
        spec.filter(|_| self.is_alive())
    }

    /// Its main process: the first of its descendants that carries the run id. `None` if that has not begun yet or
    /// has ended.
    pub(super) fn main(&self, run_id: &str) -> Option<ProcessId> {
        let marked = tree::find_by_run_id(run_id).ok()?;
        let mut family = tree::descendants(self.process.pid).ok()?;
        family.retain(|process| marked.contains(process));
        family
            .into_iter()
            .min_by_key(|process| (process.start_time, process.pid))
    }
}

/// Whether something in a cgroup runs below a process that calls itself a supervisor, of whatever version or build,
/// or below one that cannot be seen from here. Then we must not clear the cgroup.
pub(crate) fn is_supervised(cgroup: &Path) -> bool {
    let Ok(inside) = cgroup::processes(cgroup) else {
        return true;
    };
    inside.into_iter().any(|pid| {
        // Processes of another pid namespace have the number 0.
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

/// The run directory that a process was told to supervise, according to its command line.
fn supervises(pid: u32) -> Option<PathBuf> {
    let mut line = Vec::new();
    let file = File::open(file_of(pid, "cmdline")).ok()?;
    file.take(MAX_COMMAND_LINE).read_to_end(&mut line).ok()?;
    let mut arguments = line.split(|byte| *byte == 0).skip(1);
    let is_told = arguments.next()? == b"supervise";
    let path = Path::new(OsStr::from_bytes(arguments.next()?)).to_owned();
    // A forked shim has empty arguments, which its zygote had reserved as space for this.
    (is_told && path.is_absolute() && arguments.all(<[u8]>::is_empty)).then_some(path)
}

fn without_mark(path: &Path) -> (PathBuf, bool) {
    match path.as_os_str().as_bytes().strip_suffix(DELETED) {
        Some(name) => (OsStr::from_bytes(name).into(), true),
        None => (path.to_owned(), false),
    }
}

/// The files that a process has open and that have the name of a run directory's lock.
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

/// The spec in a file that somebody has locked.
fn held_spec(path: &Path) -> Option<LaunchSpec> {
    use rustix::fs::{FlockOperation, flock};
    if !fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let file = File::open(path).ok()?;
    let is_held = flock(&file, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK);
    is_held.then(|| LaunchSpec::read(file).ok())?
}

/// The copies of shims that processes execute. Each is looked at only once.
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

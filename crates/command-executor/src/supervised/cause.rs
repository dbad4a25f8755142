//! Why the system refused to start a program, as far as a look at the machine shows it.

use std::io::{self, Read};
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Resource as Kernel, geteuid, getrlimit};

use harness_shim::run_dir::Resource;

/// The most open files that a kernel gives anybody, root included.
const MOST_OPEN_FILES: &str = "/proc/sys/fs/nr_open";

/// What the error of the system does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// These of the limits are above the maximum.
    AboveMaximum(Vec<(Resource, u64)>),
    /// The program is a text without a first line that names its interpreter.
    NoInterpreterLine,
    /// The program exists, but not the loader that it needs.
    NoLoader,
}

impl Cause {
    /// What a look at the machine shows. Blocks on the disk.
    pub(super) fn found(
        program: &Path,
        operation: &str,
        limits: &[(Resource, u64)],
        source: &io::Error,
    ) -> Option<Self> {
        match (operation, Errno::from_io_error(source)) {
            ("limits", _) => {
                let above: Vec<_> = limits.iter().copied().filter(is_above).collect();
                (!above.is_empty()).then_some(Self::AboveMaximum(above))
            }
            ("exec", Some(Errno::NOEXEC)) => is_text(program).then_some(Self::NoInterpreterLine),
            ("exec", Some(Errno::NOENT)) => program.exists().then_some(Self::NoLoader),
            _ => None,
        }
    }
}

fn is_above((resource, limit): &(Resource, u64)) -> bool {
    let most = match resource {
        // Root may raise all others as it likes.
        Resource::OpenFiles if geteuid().is_root() => most_open_files(),
        _ => getrlimit(kernel(*resource)).maximum,
    };
    most.is_some_and(|most| *limit > most)
}

fn kernel(resource: Resource) -> Kernel {
    match resource {
        Resource::OpenFiles => Kernel::Nofile,
        Resource::Processes => Kernel::Nproc,
        Resource::Memory => Kernel::As,
        Resource::Core => Kernel::Core,
        Resource::FileSize => Kernel::Fsize,
        Resource::CpuSeconds => Kernel::Cpu,
    }
}

fn most_open_files() -> Option<u64> {
    std::fs::read_to_string(MOST_OPEN_FILES).ok()?.trim().parse().ok()
}

/// Whether a file looks like something that people wrote.
fn is_text(path: &Path) -> bool {
    let Ok(file) = harness_files::open_guarded(path) else {
        return false;
    };
    let mut start = Vec::new();
    let read = file.take(512).read_to_end(&mut start);
    read.is_ok() && !start.is_empty() && !start.contains(&0)
}

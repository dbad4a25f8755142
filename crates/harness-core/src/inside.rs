//! Finds out whether this process belongs to a service. Everything it starts ends with that service, also a daemon.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::home::Home;

/// How many ancestors to check. Nobody nests shells deeper than this.
const ANCESTORS: usize = 256;

/// How much of a command line to read. The supervisor's is short.
const COMMAND_LINE: u64 = 16 * 1024;

/// The service of this home that this process is part of, as PROJECT/SERVICE.
pub(crate) fn service_around(home: &Home) -> Option<String> {
    let projects = home.path().join("projects");
    let canonical = projects.canonicalize().unwrap_or_else(|_| projects.clone());
    let mut pid = std::process::id();
    for _ in 0..ANCESTORS {
        pid = parent(pid)?;
        let Some(run_dir) = run_dir(pid) else { continue };
        let below = run_dir
            .strip_prefix(&projects)
            .or_else(|_| run_dir.strip_prefix(&canonical));
        if let Ok(below) = below {
            // PROJECT/SERVICE/GENERATION
            return Some(below.parent().unwrap_or(below).display().to_string());
        }
    }
    None
}

/// The parent of a process. `None` for the first process, and for those that cannot be read.
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The process name before it may contain anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    let parent = rest.split_ascii_whitespace().nth(1)?.parse().ok()?;
    (parent != 0).then_some(parent)
}

/// The run directory of a process, if it is a supervisor.
fn run_dir(pid: u32) -> Option<PathBuf> {
    let mut line = Vec::new();
    let file = File::open(format!("/proc/{pid}/cmdline")).ok()?;
    file.take(COMMAND_LINE).read_to_end(&mut line).ok()?;
    let mut words = line.split(|&byte| byte == 0);
    let program = Path::new(OsStr::from_bytes(words.next()?)).file_name()?;
    let is_shim = program.as_bytes().starts_with(b"harness-shim");
    let verb = words.next()?;
    let dir = Path::new(OsStr::from_bytes(words.next()?));
    (is_shim && verb == b"supervise").then(|| dir.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_ancestors_and_a_test_is_no_service() {
        assert!(parent(std::process::id()).is_some());
        assert_eq!(parent(1), None);
        assert_eq!(service_around(&Home::at("/")), None);
    }
}

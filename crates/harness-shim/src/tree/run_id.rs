//! Reads a mark of a process, such as its run id, from its environment. The owner of the process controls that.
//!
//! The kernel shows as environment whatever memory a process declares as such, even gigabytes. A real one, as
//! `execve` accepts it, is never larger than 6 MiB. So at most [`LARGEST`] bytes of it are read, piece by piece, and
//! at most [`PATIENCE`] is spent on all processes of one user. If somebody makes the environment larger than that, or
//! removes the run id, the process is not found here. Its cgroup and its parents still lead to it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use super::RUN_ID_VARIABLE;

/// The most that is read of one environment, in bytes.
const LARGEST: u64 = 8 * 1024 * 1024;
/// The most time that one look spends on the processes of one user.
const PATIENCE: Duration = Duration::from_secs(2);
/// How much is read at once.
const PIECE: usize = 64 * 1024;
/// The longest value that is looked at.
const LONGEST_VALUE: usize = 8 * 1024;

/// The run ids to look for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted<'a> {
    /// Only this one.
    Run(&'a str),
    /// This one, and those made from it with [`super::below`].
    Below(&'a str),
}

impl Wanted<'_> {
    fn is_met(self, run_id: &[u8]) -> bool {
        match self {
            Self::Run(wanted) => run_id == wanted.as_bytes(),
            Self::Below(wanted) => run_id
                .strip_prefix(wanted.as_bytes())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(super::BELOW.as_bytes())),
        }
    }
}

/// A look at many processes, with a time limit for each user.
#[derive(Debug, Default)]
pub struct Look {
    spent: BTreeMap<u32, Duration>,
}

impl Look {
    /// Whether a process says that it belongs to such a run.
    pub(super) fn finds(&mut self, pid: u32, wanted: Wanted<'_>) -> bool {
        self.finds_value(pid, RUN_ID_VARIABLE, |run_id| wanted.is_met(run_id))
    }

    /// Whether a process has a variable with this name and such a value, of at most 8 KiB. If the environment cannot
    /// be read, the answer is no.
    pub fn finds_value(&mut self, pid: u32, name: &str, is_met: impl Fn(&[u8]) -> bool) -> bool {
        let Ok(file) = File::open(format!("/proc/{pid}/environ")) else {
            return false;
        };
        let Ok(owner) = file.metadata().map(|meta| meta.uid()) else {
            return false;
        };
        let spent = self.spent.entry(owner).or_default();
        if *spent >= PATIENCE {
            return false;
        }
        let begun = Instant::now();
        let found = has_value(file.take(LARGEST), name, is_met);
        *spent += begun.elapsed();
        found.unwrap_or(false)
    }
}

/// Whether one of the variables with this name has such a value.
fn has_value(mut environ: impl Read, name: &str, is_met: impl Fn(&[u8]) -> bool) -> io::Result<bool> {
    let prefix = [name.as_bytes(), b"="].concat();
    let longest = prefix.len() + LONGEST_VALUE;
    let met = |variable: &[u8]| variable.strip_prefix(prefix.as_slice()).is_some_and(&is_met);
    let mut piece = vec![0; PIECE];
    // The beginning of the variable in which the last piece ended.
    let mut begun: Vec<u8> = Vec::new();
    loop {
        let read = match environ.read(&mut piece) {
            Ok(0) => return Ok(met(&begun)),
            Ok(read) => piece.get(..read).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let mut variables = read.split(|&b| b == 0).peekable();
        while let Some(part) = variables.next() {
            let room = longest.saturating_add(1).saturating_sub(begun.len());
            begun.extend_from_slice(part.get(..room).unwrap_or(part));
            if variables.peek().is_some() {
                if met(&begun) {
                    return Ok(true);
                }
                begun.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(environ: &[u8], wanted: Wanted<'_>) -> bool {
        has_value(environ, RUN_ID_VARIABLE, |id| wanted.is_met(id)).unwrap()
    }

    #[test]
    fn only_a_whole_variable_counts() {
        let run = Wanted::Run("p/s/1/x");
        assert!(finds(b"A=1\0HARNESS_RUN_ID=p/s/1/x\0B=2\0", run));
        assert!(finds(b"HARNESS_RUN_ID=p/s/1/x", run));
        for other in [
            &b"A=HARNESS_RUN_ID=p/s/1/x\0"[..],
            b"XHARNESS_RUN_ID=p/s/1/x\0",
            b"HARNESS_RUN_ID=p/s/1/xy\0",
            b"HARNESS_RUN_ID=p/s/1/\0",
            b"HARNESS_RUN_ID=p/s/1/x//1\0",
            b"",
        ] {
            assert!(!finds(other, run), "{}", other.escape_ascii());
        }
    }

    #[test]
    fn what_lies_below_a_run_id_is_told_from_what_begins_like_it() {
        let below = Wanted::Below("commands of /h");
        assert!(finds(b"HARNESS_RUN_ID=commands of /h\0", below));
        assert!(finds(b"HARNESS_RUN_ID=commands of /h//4\0", below));
        assert!(!finds(b"HARNESS_RUN_ID=commands of /home\0", below));
        assert!(!finds(b"HARNESS_RUN_ID=commands of /h/h\0", below));
    }

    #[test]
    fn padding_before_it_hides_nothing_and_takes_no_memory() {
        let run = Wanted::Run("id");
        for padding in [PIECE - 3, PIECE, 3 * PIECE + 1, 6 * 1024 * 1024] {
            let mut environ = vec![b'x'; padding];
            environ.extend_from_slice(b"\0HARNESS_RUN_ID=id\0");
            assert!(finds(&environ, run), "{padding}");
            let zeros = vec![0; padding];
            assert!(
                finds(&[&zeros[..], b"HARNESS_RUN_ID=id"].concat(), run),
                "{padding}"
            );
        }
    }
}

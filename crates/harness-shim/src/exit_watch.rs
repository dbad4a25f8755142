//! Finds out how a process ended if its parent died before it could report that.
//!
//! Only a parent may wait for a process. For an orphan, the kernel reports the end through a pidfd that was opened
//! while the process ran (`PIDFD_GET_INFO`, since Linux 6.15, once it has been reaped). `/proc` reports it as long as
//! the process is a zombie.

#![expect(unsafe_code, reason = "neither std nor rustix has the request PIDFD_GET_INFO")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::identity::{ProcessId, Stat};
use crate::run_dir::Outcome;

/// How long to wait until a zombie is reaped, if `/proc` does not say how it ended.
const REAPING: Duration = Duration::from_millis(200);

/// A process that is watched for its end, whoever its parent is.
#[derive(Debug)]
pub struct ExitWatch {
    process: ProcessId,
    pidfd: OwnedFd,
}

impl ExitWatch {
    /// Watches a process, which may be a zombie. `None` if it is gone.
    ///
    /// # Errors
    /// When no pidfd can be opened.
    pub fn open(process: &ProcessId) -> io::Result<Option<Self>> {
        let pidfd = process.open_pidfd_of_any_state()?;
        Ok(pidfd.map(|pidfd| Self {
            process: process.clone(),
            pidfd,
        }))
    }

    /// Whether it has ended, whether or not it was reaped.
    pub fn has_ended(&self) -> bool {
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        matches!(poll(&mut fds, Some(&now)), Ok(ready) if ready > 0)
    }

    /// How it ended; `None` if it has not ended, or if this kernel cannot tell. Waits a moment until it is reaped.
    pub fn outcome(&self) -> Option<Outcome> {
        let deadline = Instant::now() + REAPING;
        while self.has_ended() {
            let status = wait_status(self.pidfd.as_fd()).or_else(|| self.zombie_status());
            if status.is_some() || Instant::now() >= deadline {
                return status.and_then(outcome);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        None
    }

    fn zombie_status(&self) -> Option<i32> {
        let stat = Stat::read(self.process.pid).ok()?;
        let is_it = stat.start_time == self.process.start_time && stat.is_gone();
        // Those who may not know the exit code read 0.
        let owner = std::fs::metadata(format!("/proc/{}", self.process.pid))
            .ok()?
            .uid();
        let me = rustix::process::geteuid();
        stat.exit_code
            .filter(|_| is_it && (me.is_root() || me.as_raw() == owner))
    }
}

fn outcome(status: i32) -> Option<Outcome> {
    if libc::WIFEXITED(status) {
        Some(Outcome::Exited(libc::WEXITSTATUS(status)))
    } else if libc::WIFSIGNALED(status) {
        Some(Outcome::Signaled(libc::WTERMSIG(status)))
    } else {
        None
    }
}

/// The first version of `struct pidfd_info` in `linux/pidfd.h`: 64 bytes, which every later kernel accepts.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup_id: u64,
    /// Pids, users and groups. Not used here.
    ids: [u32; 11],
    exit_code: i32,
}

/// `PIDFD_INFO_EXIT`: asks for `exit_code`, and says that the kernel has filled it in.
const EXIT: u64 = 1 << 3;

/// `PIDFD_GET_INFO`, `_IOWR(0xFF, 11, struct pidfd_info)`.
const GET_INFO: u32 = 0xC000_0000 | ((size_of::<PidfdInfo>() as u32) << 16) | (0xFF << 8) | 11;

/// The wait status of a process that was reaped; `None` if the kernel cannot tell.
fn wait_status(pidfd: BorrowedFd<'_>) -> Option<i32> {
    let mut info = PidfdInfo {
        mask: EXIT,
        ..PidfdInfo::default()
    };
    // SAFETY: the request reads and writes as many bytes as its number says, which is the size of `info`, and
    // every bit pattern is a value of it. The descriptor is open; one of another kind refuses the request.
    let done = unsafe { libc::ioctl(pidfd.as_raw_fd(), GET_INFO as libc::Ioctl, &raw mut info) };
    (done == 0 && info.mask & EXIT != 0).then_some(info.exit_code)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a child of the test is what is watched")]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn ended_with(script: &str) -> (ExitWatch, std::process::Child) {
        let child = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let watch = ExitWatch::open(&ProcessId::of(child.id()).unwrap())
            .unwrap()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while !watch.has_ended() {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(1));
        }
        (watch, child)
    }

    #[test]
    fn a_zombie_and_one_that_was_reaped_tell_how_they_ended() {
        for (script, wanted) in [
            ("exit 7", Outcome::Exited(7)),
            ("exit 0", Outcome::Exited(0)),
            ("kill -9 $$", Outcome::Signaled(9)),
        ] {
            let (watch, mut child) = ended_with(script);
            assert_eq!(watch.outcome(), Some(wanted.clone()), "{script}, a zombie");
            let again = ExitWatch::open(&watch.process).unwrap().unwrap();
            assert_eq!(
                again.outcome(),
                Some(wanted.clone()),
                "{script}, opened as a zombie"
            );
            child.wait().unwrap();
            // Before 6.15 nothing reports the outcome, but a wrong one is never reported.
            let reaped = watch.outcome();
            assert!(reaped.is_none() || reaped == Some(wanted), "{script}: {reaped:?}");
            assert_eq!(reaped.is_some(), kernel_tells(), "{script}");
            assert!(ExitWatch::open(&watch.process).unwrap().is_none());
        }
    }

    fn kernel_tells() -> bool {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        let mut numbers = release
            .split(['.', '-'])
            .map(|number| number.parse::<u32>().unwrap_or(0));
        (numbers.next(), numbers.next()) >= (Some(6), Some(15))
    }

    #[test]
    fn what_runs_has_no_outcome() {
        let watch = ExitWatch::open(&ProcessId::current().unwrap()).unwrap().unwrap();
        assert!(!watch.has_ended());
        assert_eq!(watch.outcome(), None);
    }
}

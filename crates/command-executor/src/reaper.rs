//! Reaps children whose handle is gone, and sees to it that a command's supervisor has ended all it was to end. One
//! thread for the whole process, started with the first of them and asleep in `poll` otherwise: a zombie would keep
//! its pid for as long as this process lives.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, waitid};

use crate::process::Supervisor;

/// How long a supervisor may take to end what it was told to end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

struct Reaper {
    wake: OwnedFd,
    orphans: Mutex<Vec<Orphan>>,
}

/// A child that nobody holds any more.
enum Orphan {
    Child(OwnedFd),
    /// Until when it must have ended; `None`: whenever the last process of its command does.
    Supervisor(Supervisor, Option<Instant>),
}

/// What is left of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reaping {
    /// It lives.
    Alive,
    /// It exited 0, or is no child of this process.
    Done,
    /// It ended otherwise.
    Failed,
}

static REAPER: OnceLock<Option<Reaper>> = OnceLock::new();

/// Reaps the child of this pidfd if it has ended.
pub(crate) fn try_reap(pidfd: impl AsFd) -> Reaping {
    loop {
        match waitid(
            WaitId::PidFd(pidfd.as_fd()),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
        ) {
            Ok(None) => return Reaping::Alive,
            Err(Errno::INTR) => {}
            Ok(Some(status)) if status.exit_status() != Some(0) => return Reaping::Failed,
            Ok(Some(_)) | Err(_) => return Reaping::Done,
        }
    }
}

/// Leaves a child to the reaper. It is not signalled.
pub(crate) fn abandon(pidfd: OwnedFd) {
    if try_reap(&pidfd) == Reaping::Alive {
        give(Orphan::Child(pidfd));
    }
}

/// Leaves a supervisor to the reaper, with what its command has left behind: that lives on.
pub(crate) fn keep(supervisor: Supervisor) {
    give(Orphan::Supervisor(supervisor, None));
}

/// Has a supervisor end everything of its command, by force if it does not.
pub(crate) fn end(mut supervisor: Supervisor) {
    supervisor.channel = None;
    give(Orphan::Supervisor(supervisor, Some(Instant::now() + PATIENCE)));
}

fn give(orphan: Orphan) {
    if let Some(reaper) = REAPER.get_or_init(start) {
        reaper
            .orphans
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(orphan);
        reaper.wake();
    }
}

impl Orphan {
    fn pidfd(&self) -> &OwnedFd {
        match self {
            Self::Child(pidfd) => pidfd,
            Self::Supervisor(supervisor, _) => &supervisor.pidfd,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Child(_) => None,
            Self::Supervisor(_, deadline) => *deadline,
        }
    }

    /// `None` when it is dealt with.
    fn look(self, now: Instant) -> Option<Self> {
        match (try_reap(self.pidfd()), self) {
            (Reaping::Alive, Self::Supervisor(supervisor, Some(deadline))) if now >= deadline => {
                sweep(supervisor)
            }
            (Reaping::Alive, orphan) => Some(orphan),
            (Reaping::Failed, Self::Supervisor(supervisor, _)) => sweep(supervisor),
            (Reaping::Failed | Reaping::Done, _) => None,
        }
    }
}

/// Does by force what a supervisor did not do, on a thread of its own: it may take seconds.
fn sweep(supervisor: Supervisor) -> Option<Orphan> {
    let work = move || {
        // Who is left is found by the next daemon, and told then.
        let _ = supervisor.sweep();
        abandon(supervisor.pidfd);
    };
    // Without a thread to be had there is nothing to do it with.
    let _ = std::thread::Builder::new().name("sweep".to_owned()).spawn(work);
    None
}

fn start() -> Option<Reaper> {
    let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok()?;
    std::thread::Builder::new()
        .name("reaper".to_owned())
        .spawn(|| {
            if let Some(reaper) = REAPER.wait() {
                reaper.run();
            }
        })
        .ok()?;
    Some(Reaper {
        wake,
        orphans: Mutex::new(Vec::new()),
    })
}

impl Reaper {
    fn wake(&self) {
        // A full counter has woken it already.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    fn run(&self) {
        let mut mine: Vec<Orphan> = Vec::new();
        loop {
            mine.append(&mut self.orphans.lock().unwrap_or_else(PoisonError::into_inner));
            let now = Instant::now();
            mine = mine.into_iter().filter_map(|orphan| orphan.look(now)).collect();
            let mut fds = vec![PollFd::new(&self.wake, PollFlags::IN)];
            fds.extend(
                mine.iter()
                    .map(|orphan| PollFd::new(orphan.pidfd(), PollFlags::IN)),
            );
            let deadline = mine.iter().filter_map(Orphan::deadline).min();
            let limit = deadline.map(|deadline| {
                let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
                Timespec {
                    tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                    tv_nsec: left.subsec_nanos().into(),
                }
            });
            // An interrupted poll only means looking again.
            let _ = poll(&mut fds, limit.as_ref());
            let _ = rustix::io::read(&self.wake, &mut [0_u8; 8]);
        }
    }
}

//! Reaps children that no longer have a handle, and makes sure that a command's supervisor has ended everything it
//! should end. One thread does this for the whole process. It starts with the first such child, and sleeps in `poll`
//! most of the time. Without it, a zombie would keep its pid for as long as this process lives.

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
    /// With the time by which it must have ended. `None`: it may live as long as any process of its command.
    Supervisor(Supervisor, Option<Instant>),
}

/// The state of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reaping {
    /// It lives.
    Alive,
    /// It exited 0, or is not a child of this process.
    Done,
    /// It ended in another way.
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

/// Leaves a child to the reaper. The child is not signalled.
pub(crate) fn abandon(pidfd: OwnedFd) {
    if try_reap(&pidfd) == Reaping::Alive {
        give(Orphan::Child(pidfd));
    }
}

/// Leaves a supervisor to the reaper, together with what its command has left behind, which lives on.
pub(crate) fn keep(supervisor: Supervisor) {
    give(Orphan::Supervisor(supervisor, None));
}

/// Lets a supervisor end everything of its command, and does it by force if the supervisor does not.
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

    /// Deals with it if possible; `None` when it is dealt with.
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

/// Does by force what a supervisor did not do. It uses a separate thread, because this may take seconds.
fn sweep(supervisor: Supervisor) -> Option<Orphan> {
    let work = move || {
        // The next daemon finds whoever is left, and reports it then.
        let _ = supervisor.sweep();
        abandon(supervisor.pidfd);
    };
    // If no thread can be started, there is no way to do it.
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
        // If the counter is full, the thread has been woken already.
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
            // After an interrupted poll, just look again.
            let _ = poll(&mut fds, limit.as_ref());
            let _ = rustix::io::read(&self.wake, &mut [0_u8; 8]);
        }
    }
}

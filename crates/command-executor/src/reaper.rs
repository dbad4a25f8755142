//! Reaps children whose handle is gone. One thread for the whole process, started with the first of them and
//! asleep in `poll` otherwise: a zombie would keep its pid for as long as this process lives.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, waitid};

struct Reaper {
    wake: OwnedFd,
    orphans: Mutex<Vec<OwnedFd>>,
}

static REAPER: OnceLock<Option<Reaper>> = OnceLock::new();

/// Reaps the child of this pidfd if it has ended. Whether it is gone: reaped, or not a child of ours.
pub(crate) fn try_reap(pidfd: impl AsFd) -> bool {
    loop {
        match waitid(
            WaitId::PidFd(pidfd.as_fd()),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
        ) {
            Ok(None) => return false,
            Err(Errno::INTR) => {}
            Ok(Some(_)) | Err(_) => return true,
        }
    }
}

/// Leaves a child to the reaper. It is not signalled.
pub(crate) fn abandon(pidfd: OwnedFd) {
    if try_reap(&pidfd) {
        return;
    }
    if let Some(reaper) = REAPER.get_or_init(start) {
        reaper
            .orphans
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(pidfd);
        reaper.wake();
    }
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
        let mut mine: Vec<OwnedFd> = Vec::new();
        loop {
            mine.append(&mut self.orphans.lock().unwrap_or_else(PoisonError::into_inner));
            mine.retain(|pidfd| !try_reap(pidfd));
            let mut fds = vec![PollFd::new(&self.wake, PollFlags::IN)];
            fds.extend(mine.iter().map(|pidfd| PollFd::new(pidfd, PollFlags::IN)));
            // An interrupted poll only means looking again.
            let _ = poll(&mut fds, None);
            let _ = rustix::io::read(&self.wake, &mut [0_u8; 8]);
        }
    }
}

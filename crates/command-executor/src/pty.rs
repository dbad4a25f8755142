//! Opening a pseudo-terminal.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Result;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::command::WindowSize;

/// The two ends of a terminal. Both are close-on-exec.
pub(crate) struct Pty {
    /// Our end: writing to it is typing, reading from it is what the terminal shows.
    pub(crate) master: OwnedFd,
    /// The process's end.
    pub(crate) slave: OwnedFd,
}

pub(crate) fn open(size: WindowSize) -> Result<Pty> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let slave = ioctl_tiocgptpeer(&master, flags)?;
    resize(&master, size)?;
    Ok(Pty { master, slave })
}

/// Tells the processes on the terminal its new size.
pub(crate) fn resize(master: impl AsFd, size: WindowSize) -> Result<()> {
    let size = Winsize {
        ws_col: size.cols,
        ws_row: size.rows,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(master, size)
}

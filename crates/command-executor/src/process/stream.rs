//! Our ends of a child's pipes or terminal.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_io::Async;
use futures_lite::AsyncWrite;
use rustix::io::Errno;

/// One read takes at most as much as a pipe holds.
const CHUNK: usize = 64 * 1024;

/// How much is read at most from the terminal of an ended process: another process may write to it forever.
const TERMINAL_REST: u64 = 1024 * 1024;

/// An output stream of a child.
#[derive(Debug)]
pub(super) struct Source {
    fd: Arc<Async<OwnedFd>>,
    is_terminal: bool,
    buffer: Box<[u8]>,
    /// How much may still be read once the child has ended.
    rest: u64,
}

impl Source {
    pub(super) fn pipe(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self::new(Arc::new(Async::new(fd)?), false))
    }

    pub(super) fn terminal(master: Arc<Async<OwnedFd>>) -> Self {
        Self::new(master, true)
    }

    fn new(fd: Arc<Async<OwnedFd>>, is_terminal: bool) -> Self {
        Self {
            fd,
            is_terminal,
            buffer: vec![0; CHUNK].into_boxed_slice(),
            rest: 0,
        }
    }

    /// The next bytes; empty at the end.
    pub(super) async fn read(&mut self) -> io::Result<Vec<u8>> {
        let Self {
            fd,
            is_terminal,
            buffer,
            ..
        } = self;
        let count = fd
            .read_with(|fd| {
                rustix::io::retry_on_intr(|| rustix::io::read(fd, &mut **buffer)).or_else(|error| {
                    // A terminal that nobody holds any more ends with an I/O error.
                    if *is_terminal && error == Errno::IO {
                        Ok(0)
                    } else {
                        Err(error.into())
                    }
                })
            })
            .await?;
        Ok(buffer[..count].to_vec())
    }

    /// The process has ended, so from now on only what it had written is read.
    pub(super) fn limit_to_written(&mut self) -> io::Result<()> {
        self.rest = if self.is_terminal {
            TERMINAL_REST
        } else {
            rustix::io::ioctl_fionread(self.fd.as_fd())?
        };
        Ok(())
    }

    /// The next of the remaining bytes; `None` when all are read.
    pub(super) fn read_rest(&mut self) -> io::Result<Option<Vec<u8>>> {
        let want = usize::try_from(self.rest)
            .unwrap_or(usize::MAX)
            .min(self.buffer.len());
        if want == 0 {
            return Ok(None);
        }
        let read = rustix::io::retry_on_intr(|| rustix::io::read(self.fd.as_fd(), &mut self.buffer[..want]));
        match read {
            Ok(0) | Err(Errno::AGAIN) => Ok(None),
            Err(Errno::IO) if self.is_terminal => Ok(None),
            Ok(count) => {
                self.rest -= count as u64;
                Ok(Some(self.buffer[..count].to_vec()))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The input of a child, as an [`AsyncWrite`]. Dropping or closing it ends the input. A terminal has no such end;
/// there, write the end-of-file character instead (Ctrl-D, `b"\x04"`).
#[derive(Debug)]
pub struct Stdin {
    fd: Option<Arc<Async<OwnedFd>>>,
}

impl Stdin {
    pub(super) fn pipe(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self::terminal(Arc::new(Async::new(fd)?)))
    }

    pub(super) fn terminal(master: Arc<Async<OwnedFd>>) -> Self {
        Self { fd: Some(master) }
    }
}

impl AsyncWrite for Stdin {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Some(fd) = &self.fd else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        loop {
            match rustix::io::write(fd.as_fd(), bytes) {
                Err(Errno::AGAIN) => ready!(fd.poll_writable(cx))?,
                Err(Errno::INTR) => {}
                other => return Poll::Ready(Ok(other?)),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.fd = None;
        Poll::Ready(Ok(()))
    }
}

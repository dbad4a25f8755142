//! Input that waits until the process reads it, in the order in which clients sent it.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::clients::ClientId;
use crate::control::Reply;

/// The end-of-file character of a terminal (Ctrl-D).
const END_OF_FILE: u8 = 4;

/// The writing end of the process's stdin, and its queue. Each client has at most one request in the queue.
pub(super) struct StdinPipe {
    fd: Option<OwnedFd>,
    is_terminal: bool,
    queue: VecDeque<Item>,
}

struct Item {
    client: ClientId,
    bytes: Vec<u8>,
    written: usize,
    then_close: bool,
}

impl StdinPipe {
    pub(super) fn new(fd: Option<OwnedFd>, is_terminal: bool) -> Self {
        Self {
            fd,
            is_terminal,
            queue: VecDeque::new(),
        }
    }

    /// The descriptor to wait for, if there is something to write.
    pub(super) fn waiting(&self) -> Option<BorrowedFd<'_>> {
        self.fd
            .as_ref()
            .filter(|_| !self.queue.is_empty())
            .map(AsFd::as_fd)
    }

    /// Queues bytes. The answer comes from [`StdinPipe::write`]; `Err` if the answer is already known.
    pub(super) fn push(&mut self, client: ClientId, bytes: Vec<u8>) -> Result<(), Reply> {
        self.queue_item(client, bytes, false)
    }

    /// Queues the end of input.
    pub(super) fn push_close(&mut self, client: ClientId) -> Result<(), Reply> {
        if self.is_terminal {
            self.queue_item(client, vec![END_OF_FILE], false)
        } else {
            self.queue_item(client, Vec::new(), true)
        }
    }

    fn queue_item(&mut self, client: ClientId, bytes: Vec<u8>, then_close: bool) -> Result<(), Reply> {
        if self.fd.is_none() {
            return Err(Reply::NoStdin);
        }
        self.queue.push_back(Item {
            client,
            bytes,
            written: 0,
            then_close,
        });
        Ok(())
    }

    /// Writes as much as fits, and reports the requests that are done.
    pub(super) fn write(&mut self, mut done: impl FnMut(ClientId, Reply)) {
        while let (Some(fd), Some(item)) = (&self.fd, self.queue.front_mut()) {
            let rest = item.bytes.get(item.written..).unwrap_or_default();
            if !rest.is_empty() {
                match rustix::io::write(fd, rest) {
                    Ok(written) => item.written += written,
                    Err(rustix::io::Errno::AGAIN) => return,
                    Err(rustix::io::Errno::INTR) => {}
                    // The process has closed its end.
                    Err(_) => self.close(Reply::NoStdin, &mut done),
                }
                continue;
            }
            let (client, then_close) = (item.client, item.then_close);
            self.queue.pop_front();
            done(client, Reply::Ok);
            if then_close {
                self.close(Reply::NoStdin, &mut done);
            }
        }
    }

    /// Closes it. Requests that still wait get this answer.
    pub(super) fn close(&mut self, reply: Reply, mut done: impl FnMut(ClientId, Reply)) {
        self.fd = None;
        for item in self.queue.drain(..) {
            done(item.client, reply);
        }
    }
}

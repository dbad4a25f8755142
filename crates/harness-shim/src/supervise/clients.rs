//! Connections to the control socket. None of them can make the supervisor wait.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use rustix::event::PollFlags;

use crate::control::{DecodeError, Reply, Request};

/// If there are this many clients, others wait to be accepted.
const MAX_CLIENTS: usize = 32;
/// If a client has this many unread replies, no more is read from it.
const MAX_UNREAD: usize = 256;

/// Identifies a connection for as long as the supervisor lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClientId(u64);

/// The listener and the connected clients.
pub(super) struct Clients {
    listener: UnixListener,
    connected: Vec<Client>,
    next: u64,
}

struct Client {
    id: ClientId,
    stream: UnixStream,
    /// Bytes of frames that are not decoded yet.
    input: Vec<u8>,
    /// Replies that are not sent yet.
    output: Vec<u8>,
    /// Whether the last request is not answered yet, so that the next one waits.
    busy: bool,
    /// Whether it will send nothing more.
    ended: bool,
    /// Whether it is gone, or sends something that cannot be decoded.
    broken: bool,
}

impl Clients {
    pub(super) fn new(listener: UnixListener) -> Self {
        Self {
            listener,
            connected: Vec::new(),
            next: 0,
        }
    }

    /// What to wait for: the listener, if another client may connect, and every client that may be ready soon, with
    /// its number for [`Clients::transfer`].
    pub(super) fn interests(&self) -> (Option<BorrowedFd<'_>>, Vec<(ClientId, BorrowedFd<'_>, PollFlags)>) {
        let listener = (self.connected.len() < MAX_CLIENTS).then(|| self.listener.as_fd());
        let clients = self.connected.iter().filter_map(|client| {
            let flags = client.interest();
            // Do not poll this one at all: otherwise its hangup would be reported again and again.
            (!flags.is_empty()).then(|| (client.id, client.stream.as_fd(), flags))
        });
        (listener, clients.collect())
    }

    /// Accepts clients that are allowed to connect: the user that the shim runs as, and root.
    pub(super) fn accept(&mut self) {
        while self.connected.len() < MAX_CLIENTS {
            let Ok((stream, _)) = self.listener.accept() else {
                return;
            };
            let peer = rustix::net::sockopt::socket_peercred(&stream).map(|peer| peer.uid);
            let allowed = peer.is_ok_and(|uid| uid.is_root() || uid == rustix::process::geteuid());
            if !allowed || stream.set_nonblocking(true).is_err() {
                continue;
            }
            self.next += 1;
            self.connected.push(Client {
                id: ClientId(self.next),
                stream,
                input: Vec::new(),
                output: Vec::new(),
                busy: false,
                ended: false,
                broken: false,
            });
        }
    }

    /// Reads from and writes to a client that is ready.
    pub(super) fn transfer(&mut self, id: ClientId, buffer: &mut [u8]) {
        if let Some(client) = self.connected.iter_mut().find(|client| client.id == id) {
            client.flush();
            client.receive(buffer);
        }
    }

    /// The next request of any client. The next one of the same client comes only after [`Clients::reply`].
    pub(super) fn next_request(&mut self) -> Option<(ClientId, Request)> {
        self.connected
            .iter_mut()
            .find_map(|client| Some((client.id, client.next_request()?)))
    }

    /// Answers the request of a client, which may be gone.
    pub(super) fn reply(&mut self, id: ClientId, reply: Reply) {
        if let Some(client) = self.connected.iter_mut().find(|client| client.id == id) {
            client.busy = false;
            client.output.push(reply.encode());
            client.flush();
        }
    }

    /// Removes clients that are done.
    pub(super) fn sweep(&mut self) {
        self.connected.retain(|client| {
            let done = client.ended && !client.busy && client.output.is_empty();
            !client.broken && !done
        });
    }
}

impl Client {
    fn wants_input(&self) -> bool {
        !self.ended && !self.busy && self.output.len() < MAX_UNREAD
    }

    fn interest(&self) -> PollFlags {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, self.wants_input());
        flags.set(PollFlags::OUT, !self.output.is_empty());
        flags
    }

    fn receive(&mut self, buffer: &mut [u8]) {
        if !self.wants_input() {
            return;
        }
        match self.stream.read(buffer) {
            Ok(0) => self.ended = true,
            Ok(read) => self
                .input
                .extend_from_slice(buffer.get(..read).unwrap_or_default()),
            Err(error) if is_retry(&error) => {}
            Err(_) => self.broken = true,
        }
    }

    fn flush(&mut self) {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(written) => drop(self.output.drain(..written)),
                Err(error) if is_retry(&error) => return,
                Err(_) => {
                    // Nobody reads the replies, but the requests sent before are still carried out.
                    self.output.clear();
                    return;
                }
            }
        }
    }

    fn next_request(&mut self) -> Option<Request> {
        while !self.busy && !self.broken && self.output.len() < MAX_UNREAD {
            match Request::decode(&self.input) {
                Ok(Some((request, used))) => {
                    self.input.drain(..used);
                    self.shrink();
                    self.busy = true;
                    return Some(request);
                }
                Ok(None) => return None,
                Err(error) => {
                    self.output.push(Reply::Invalid.encode());
                    self.flush();
                    match error {
                        DecodeError::Unknown(length) => drop(self.input.drain(..length)),
                        DecodeError::TooLarge => self.broken = true,
                    }
                }
            }
        }
        None
    }

    fn shrink(&mut self) {
        if self.input.is_empty() {
            self.input = Vec::new();
        }
    }
}

fn is_retry(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

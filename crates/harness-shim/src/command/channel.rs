//! The messages between a starter and the supervisor of its command, over a `SEQPACKET` socket.
//!
//! | message | |
//! |---|---|
//! | `i`, the first message, with or without a descriptor | to the supervisor: the program's stdin; without one, the program reads end of file |
//! | `s` and `i32`, `g` and `i32` | to the supervisor: a signal for the program, or for its process group |
//! | `e` and `i32`, `k` and `i32` | from the supervisor: the program exited with this code, or was ended by this signal |

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType, recvmsg, send, sendmsg, shutdown,
    socketpair,
};

use crate::run_dir::Outcome;

/// One end of the channel.
#[derive(Debug)]
pub struct Channel(OwnedFd);

/// A request of the starter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Send this signal to the program.
    Signal(i32),
    /// Send this signal to the program's process group.
    SignalGroup(i32),
}

/// How the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It exited with this code.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
    /// Its supervisor died before it could report the end.
    Unknown,
}

/// The other end is closed, so the command is over.
#[derive(Debug)]
pub(super) struct Closed;

impl Channel {
    /// Both ends, closed on exec: one for the starter, and one that becomes fd 0 of the supervisor.
    ///
    /// # Errors
    /// When the system cannot create them.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (mine, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Self(mine), theirs))
    }

    pub(super) fn of(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Starter: sends the program's stdin. It must be the first message.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn give_stdin(&self, stdin: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let Some(stdin) = stdin else {
            return self.say(b"i");
        };
        let descriptors = [stdin];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        rustix::io::retry_on_intr(|| sendmsg(&self.0, &[IoSlice::new(b"i")], &mut control, flags))?;
        Ok(())
    }

    /// Starter: sends a request. Succeeds if nobody is there any more to carry it out.
    ///
    /// # Errors
    /// When the supervisor has not yet read many earlier requests.
    pub fn ask(&self, request: Request) -> io::Result<()> {
        let (letter, signal) = match request {
            Request::Signal(signal) => (b's', signal),
            Request::SignalGroup(signal) => (b'g', signal),
        };
        match self.say(&message(letter, signal)) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EPIPE | libc::ECONNRESET)) => Ok(()),
            other => other,
        }
    }

    /// Starter: asks for the end of everything. How the program ended is still reported.
    pub fn close(&self) {
        // Fails if it is closed already.
        let _ = shutdown(&self.0, Shutdown::Write);
    }

    /// Starter: how the program ended; `WouldBlock` while it runs.
    ///
    /// # Errors
    /// When the end is not known yet, or the channel cannot be read.
    pub fn end(&self) -> io::Result<End> {
        let mut bytes = [0; 8];
        let flags = RecvFlags::DONTWAIT;
        match rustix::io::retry_on_intr(|| rustix::net::recv(&self.0, &mut bytes, flags)) {
            Ok((_, read)) => Ok(match parse(bytes.get(..read).unwrap_or_default()) {
                Some((b'e', code)) => End::Exited(code),
                Some((b'k', signal)) => End::Signaled(signal),
                _ => End::Unknown,
            }),
            Err(rustix::io::Errno::CONNRESET) => Ok(End::Unknown),
            Err(error) => Err(error.into()),
        }
    }

    /// Supervisor: waits for the stdin of the program.
    pub(super) fn take_stdin(&self) -> io::Result<Option<OwnedFd>> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = [0; 8];
        let mut into = [IoSliceMut::new(&mut bytes)];
        let received =
            rustix::io::retry_on_intr(|| recvmsg(&self.0, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC))?;
        let mut stdin = None;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(mut descriptors) = message {
                stdin = descriptors.next();
            }
        }
        match bytes.get(..received.bytes) {
            Some(b"i") => Ok(stdin),
            _ => Err(io::Error::other("its starter went away")),
        }
    }

    /// Supervisor: the requests that have arrived so far.
    pub(super) fn requests(&self) -> Result<Vec<Request>, Closed> {
        let mut requests = Vec::new();
        loop {
            let mut bytes = [0; 8];
            let flags = RecvFlags::DONTWAIT;
            match rustix::net::recv(&self.0, &mut bytes, flags) {
                Ok((_, 0)) => return Err(Closed),
                Ok((_, read)) => match parse(bytes.get(..read).unwrap_or_default()) {
                    Some((b's', signal)) => requests.push(Request::Signal(signal)),
                    Some((b'g', signal)) => requests.push(Request::SignalGroup(signal)),
                    _ => {}
                },
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(requests),
                Err(_) => return Err(Closed),
            }
        }
    }

    /// Supervisor: reports how the program ended. If the starter is gone, nobody needs to know.
    pub(super) fn tell_end(&self, outcome: &Outcome) {
        let end = match outcome {
            Outcome::Exited(code) => message(b'e', *code),
            Outcome::Signaled(signal) => message(b'k', *signal),
            Outcome::SpawnFailed { .. } => message(b'e', 126),
        };
        let _ = self.say(&end);
    }

    fn say(&self, bytes: &[u8]) -> io::Result<()> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        rustix::io::retry_on_intr(|| send(&self.0, bytes, flags))?;
        Ok(())
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn message(letter: u8, number: i32) -> [u8; 5] {
    let [a, b, c, d] = number.to_le_bytes();
    [letter, a, b, c, d]
}

fn parse(bytes: &[u8]) -> Option<(u8, i32)> {
    match *bytes {
        [letter, a, b, c, d] => Some((letter, i32::from_le_bytes([a, b, c, d]))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Channel, Channel) {
        let (starter, theirs) = Channel::pair().unwrap();
        (starter, Channel::of(theirs))
    }

    #[test]
    fn stdin_requests_and_the_end_arrive() {
        let (starter, supervisor) = pair();
        let (reader, writer) = io::pipe().unwrap();
        starter.give_stdin(Some(reader.as_fd())).unwrap();
        drop(reader);
        let stdin = supervisor.take_stdin().unwrap().unwrap();
        rustix::io::write(&writer, b"x").unwrap();
        assert_eq!(rustix::io::read(&stdin, &mut [0]), Ok(1));
        starter.ask(Request::Signal(15)).unwrap();
        starter.ask(Request::SignalGroup(2)).unwrap();
        assert_eq!(
            supervisor.requests().unwrap(),
            [Request::Signal(15), Request::SignalGroup(2)]
        );
        assert_eq!(starter.end().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        supervisor.tell_end(&Outcome::Exited(300));
        assert_eq!(starter.end().unwrap(), End::Exited(300));
    }

    #[test]
    fn a_starter_that_closes_still_hears_the_end() {
        let (starter, supervisor) = pair();
        starter.give_stdin(None).unwrap();
        assert!(supervisor.take_stdin().unwrap().is_none());
        starter.close();
        assert!(supervisor.requests().is_err());
        supervisor.tell_end(&Outcome::Signaled(9));
        assert_eq!(starter.end().unwrap(), End::Signaled(9));
    }

    #[test]
    fn a_dead_end_is_noticed() {
        let (starter, supervisor) = pair();
        drop(supervisor);
        assert_eq!(starter.end().unwrap(), End::Unknown);
        starter.ask(Request::Signal(15)).unwrap();
        let (starter, supervisor) = pair();
        drop(starter);
        assert!(supervisor.take_stdin().is_err());
        assert!(supervisor.requests().is_err());
    }
}

//! The zygote: a shim that waits with all start-up work done, and forks a supervisor whenever somebody asks for one.
//!
//! ```text
//! starter                               zygote                         supervisor
//!   run dir, lock, handshake ------------> fork ------------------------> as if it had been executed
//!   (one message for each)                 closes its copies, waits on
//!   socket closed --------------------> ends; its supervisors go on
//! ```
//!
//! More than half of the time that a shim takes to start is spent by the C library asking the processor what it can
//! do, which is slow in a virtual machine. Here this is done only once. The zygote itself answers nothing: the
//! supervisor answers over its handshake pipe, which also ends if no supervisor starts. Supervisors of a zygote are
//! not the starter's children. Nobody asks for their exit status, so they leave none.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;

use rustix::fs::{Mode, OFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use crate::identity::{ProcessId, Stat};
use crate::supervise;
use crate::sys::{self, ArgumentArea, Forked};
use crate::tree;

/// The verb on the command line.
pub(crate) const VERB: &str = "zygote";

/// The longest path of a run directory. A socket inside it must be reachable, so it is much shorter.
const MAX_PATH: usize = 4096;

/// The length of the command line, so that a supervisor can write its own arguments in its place.
const ROOM: usize = 256;

/// The number of descriptors that are sent with each path: the lock and the handshake pipe.
const DESCRIPTORS: usize = 2;

/// The arguments of a zygote. Its fd 0 is one end of [`socket`].
pub fn arguments() -> [OsString; 2] {
    [VERB.into(), " ".repeat(ROOM).into()]
}

/// The two ends of a socket for requests. Both are closed on exec.
///
/// # Errors
/// When the system cannot create them.
pub fn socket() -> io::Result<(OwnedFd, OwnedFd)> {
    let pair = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    Ok(pair)
}

/// Asks for a supervisor of this run directory (an absolute path), with the lock that the starter holds and the pipe
/// for the handshake. The supervisor may start before this returns, or later, or never; then the pipe ends. Does not
/// wait.
///
/// # Errors
/// When the zygote is gone, or has not read many earlier requests. Then there will be no supervisor.
pub fn ask(
    socket: BorrowedFd<'_>,
    run_dir: &Path,
    lock: BorrowedFd<'_>,
    handshake: BorrowedFd<'_>,
) -> io::Result<()> {
    let path = run_dir.as_os_str().as_bytes();
    if path.len() > MAX_PATH {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let descriptors = [lock, handshake];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    rustix::io::retry_on_intr(|| sendmsg(socket, &[IoSlice::new(path)], &mut control, flags))?;
    Ok(())
}

/// The zygotes that run a shim of this directory, except the caller's own children. They are recognized by the file
/// that they execute, which nobody else uses, and by the verb in their arguments. Processes forked from a zygote have
/// another verb.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn find(bin: &Path) -> io::Result<Vec<ProcessId>> {
    let me = std::process::id();
    // The path as the kernel shows it. A removed file keeps its name there.
    let bin = &fs::canonicalize(bin).unwrap_or_else(|_| bin.to_owned());
    // What it executes first: that is one question to the kernel, and the answer of nearly all is no.
    let shims = tree::pids()?.into_iter().filter(|pid| runs_shim_of(*pid, bin));
    let zygotes = shims
        .filter_map(|pid| Stat::read(pid).ok())
        .filter(|stat| stat.parent != me && !stat.is_gone() && is_called(stat.pid, VERB));
    zygotes.map(|stat| ProcessId::from_stat(&stat)).collect()
}

/// Kills what dead supervisors have left to this zygote, and returns how many processes there were. Children of the
/// zygote that run the shim are supervisors and are left alone.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn kill_strays(zygote: u32) -> io::Result<usize> {
    let shim = fs::metadata(format!("/proc/{zygote}/exe"))?;
    let is_shim = |pid: u32| {
        let file = fs::metadata(format!("/proc/{pid}/exe"));
        // If it is unknown whether it is a supervisor, leave it alone.
        file.map_or(true, |file| (file.dev(), file.ino()) == (shim.dev(), shim.ino()))
    };
    let mut killed = 0;
    loop {
        let family = tree::family_of(zygote)?;
        let mut strays = family
            .iter()
            .filter(|stat| stat.parent == zygote && !stat.is_gone() && !is_shim(stat.pid))
            .peekable();
        if strays.peek().is_none() {
            return Ok(killed);
        }
        let roots: Vec<Stat> = strays.copied().collect();
        // Their children get the zygote as their parent, and are killed in the next round.
        for stray in roots {
            // It may have ended by itself.
            killed += usize::from(ProcessId::from_stat(&stray)?.signal(libc::SIGKILL)?);
        }
    }
}

fn runs_shim_of(pid: u32, bin: &Path) -> bool {
    let Ok(exe) = fs::read_link(format!("/proc/{pid}/exe")) else {
        return false;
    };
    let name = exe.file_name().map(OsStr::as_bytes).unwrap_or_default();
    exe.parent() == Some(bin) && name.starts_with(b"harness-shim-")
}

/// Whether the first argument after its name is this one.
fn is_called(pid: u32, verb: &str) -> bool {
    // The command line may have any size, but the two words are at its beginning.
    let mut cmdline = Vec::new();
    let read = fs::File::open(format!("/proc/{pid}/cmdline"))
        .and_then(|file| file.take(MAX_PATH as u64 * 2).read_to_end(&mut cmdline));
    read.is_ok() && cmdline.split(|&b| b == 0).nth(1) == Some(verb.as_bytes())
}

/// A request for a supervisor.
struct Request {
    run_dir: OsString,
    lock: OwnedFd,
    handshake: OwnedFd,
}

/// Forks supervisors until the other end of fd 0 is closed. In a forked supervisor, supervises until the end.
pub(crate) fn run() -> ExitCode {
    match prepare() {
        Ok((socket, title)) => serve(socket, title),
        Err(_) => ExitCode::FAILURE,
    }
}

fn prepare() -> io::Result<(OwnedFd, Option<ArgumentArea>)> {
    sys::close_from(3);
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    // Signals of the starter's terminal must not reach this process.
    sys::leave_session()?;
    sys::forget_children();
    // When a supervisor dies, its children get this process as their parent. What they execute tells them from
    // supervisors.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    // This value is remembered, and all forked processes inherit it.
    crate::identity::boot_id()?;
    crate::identity::pid_namespace()?;
    // Without this, supervisors have the same arguments as this process.
    let mut title = ArgumentArea::find().ok();
    if let Some(title) = &mut title {
        title.set(&[VERB.as_bytes()]);
    }
    Ok((socket, title))
}

fn serve(socket: OwnedFd, mut title: Option<ArgumentArea>) -> ExitCode {
    let mut buffer = vec![0; MAX_PATH];
    loop {
        let request = match receive(socket.as_fd(), &mut buffer) {
            Ok(Some(request)) => request,
            Ok(None) => return ExitCode::SUCCESS,
            Err(_) => return ExitCode::FAILURE,
        };
        // If there is no fork, the pipe ends, and the starter notices that.
        if let Ok(Forked::Child) = sys::fork() {
            drop((socket, buffer));
            if let Some(title) = &mut title {
                title.set(&[b"supervise", request.run_dir.as_bytes()]);
            }
            let Request {
                run_dir,
                lock,
                handshake,
            } = request;
            return supervise::run_with(&run_dir, lock.into(), handshake.into());
        }
    }
}

/// The next request; `None` if nobody can ask any more.
fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Option<Request>> {
    loop {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(buffer)];
        let received =
            rustix::io::retry_on_intr(|| recvmsg(socket, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC))?;
        let mut descriptors: Vec<OwnedFd> = Vec::with_capacity(DESCRIPTORS);
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                descriptors.extend(received);
            }
        }
        if received.bytes == 0 {
            return Ok(None);
        }
        let path = buffer.get(..received.bytes).unwrap_or_default();
        let handshake = descriptors.pop();
        // Descriptors are missing if this process has too many. Then the pipe ends, and the starter notices that.
        if let (Some(lock), Some(handshake)) = (descriptors.pop(), handshake) {
            let run_dir = OsStr::from_bytes(path).to_owned();
            return Ok(Some(Request {
                run_dir,
                lock,
                handshake,
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn a_request_arrives_with_its_descriptors() {
        let (starter, zygote) = socket().unwrap();
        let (reader, writer) = io::pipe().unwrap();
        let path = OsString::from_vec(b"/run/\xff".to_vec());
        ask(starter.as_fd(), Path::new(&path), reader.as_fd(), writer.as_fd()).unwrap();
        drop(writer);
        let mut buffer = vec![0; MAX_PATH];
        let request = receive(zygote.as_fd(), &mut buffer).unwrap().unwrap();
        assert_eq!(request.run_dir, path);
        rustix::io::write(&request.handshake, b"x").unwrap();
        let mut byte = [0];
        assert_eq!(rustix::io::read(&request.lock, &mut byte), Ok(1));
        drop(starter);
        assert!(receive(zygote.as_fd(), &mut buffer).unwrap().is_none());
    }

    #[test]
    fn who_does_not_take_requests_does_not_hold_the_starter_up() {
        let (starter, zygote) = socket().unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        let mut asked = 0;
        while ask(starter.as_fd(), Path::new("/run"), null.as_fd(), null.as_fd()).is_ok() {
            asked += 1;
            assert!(asked < 100_000);
        }
        assert!(asked > 32);
        drop(zygote);
        assert!(ask(starter.as_fd(), Path::new("/run"), null.as_fd(), null.as_fd()).is_err());
    }
}

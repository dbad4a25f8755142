//! Safe forms of what rustix does not offer safely: fork, exec, signal masks, a change of user, memory. Every unsafe
//! block of the shim's program is here.
//!
//! All of it is for single-threaded programs: the shim's own main, and its child before that becomes another program.
//! So the child may allocate after the fork, because no other thread can hold a lock at that time.

#![expect(
    unsafe_code,
    reason = "these system interfaces have no safe form in std or rustix"
)]

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::{self, NonNull};

use rustix::mm::{Advice, MapFlags, ProtFlags};
use rustix::process::Pid;

/// The highest signal number.
const LAST_SIGNAL: i32 = 64;

/// From clone(2). The type of the constant in libc is too narrow for its value.
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// The side of a fork.
pub(crate) enum Forked {
    /// The new process.
    Child,
    /// The old process, with the pid of the new one.
    Parent(Pid),
}

/// Forks. Only for a process with one thread.
pub(crate) fn fork() -> io::Result<Forked> {
    // SAFETY: the program has one thread (see the module), so the child's memory is consistent.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Forked::Child),
        pid => Pid::from_raw(pid)
            .map(Forked::Parent)
            .ok_or_else(io::Error::last_os_error),
    }
}

/// Forks so that the child starts in this cgroup. Only for a process with one thread.
///
/// Starting in a cgroup costs nothing. Moving into one waits for every processor of the machine, which takes about
/// ten milliseconds.
///
/// # Errors
/// When the cgroup cannot be used, and on kernels before 5.7. Then nothing was forked.
pub(crate) fn fork_into(cgroup: BorrowedFd<'_>) -> io::Result<Forked> {
    // SAFETY: all-zero is what every field of the structure means by "none".
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = CLONE_INTO_CGROUP;
    args.exit_signal = libc::SIGCHLD as u64;
    args.cgroup = cgroup.as_raw_fd() as u64;
    // SAFETY: no memory is shared and no stack is given, so this is a fork; the program has one thread (see the
    // module), and the child calls nothing that relies on what the C library does beside a fork.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of_val(&args)) } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Forked::Child),
        pid => i32::try_from(pid)
            .ok()
            .and_then(Pid::from_raw)
            .map(Forked::Parent)
            .ok_or_else(io::Error::last_os_error),
    }
}

/// Leaves the session of whoever started this program, and its terminal, for a session of its own. Does nothing if
/// this process leads a session already.
///
/// # Errors
/// `EPERM` if this process leads a process group in another session: it would stay there. Whoever starts this program
/// must not make it the leader of a group.
pub(crate) fn leave_session() -> io::Result<()> {
    let me = rustix::process::getpid();
    match rustix::process::setsid() {
        Err(rustix::io::Errno::PERM) if rustix::process::getsid(None).is_ok_and(|leader| leader == me) => {
            Ok(())
        }
        other => Ok(other.map(drop)?),
    }
}

/// Ends the process at once, running no destructors and flushing nothing.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Becomes another program. Returns only if that fails, with the reason.
pub(crate) fn execve(path: &CStr, argv: &[CString], envp: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect()
    };
    let (argv, envp) = (pointers(argv), pointers(envp));
    // SAFETY: both arrays end with a null pointer, and what they point to outlives the call.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    io::Error::last_os_error()
}

/// Closes every descriptor from `first` on. Only for programs that do not own any such descriptor yet.
pub(crate) fn close_from(first: RawFd) {
    let first = first.unsigned_abs();
    // SAFETY: nothing in the program owns these descriptors; it was called before any was opened, or just
    // before the program is replaced.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) } == 0;
    if done {
        return;
    }
    // For kernels before 5.9.
    let mut open: Vec<RawFd> = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten() {
        open.extend(
            entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<RawFd>().ok()),
        );
    }
    for fd in open.into_iter().filter(|fd| fd.unsigned_abs() >= first) {
        // SAFETY: as above; the descriptor of the listing itself is closed already, which close tolerates.
        unsafe { libc::close(fd) };
    }
}

/// Resets every signal to its default action and unblocks all of them, as a program expects.
pub(crate) fn reset_signals() {
    // The system call itself, because the C library refuses to touch signals 32 and 33, which a starter's
    // posix_spawn leaves ignored. An action of zeros is the default one, whatever the order of its fields.
    let default = [0_u64; 16];
    for signal in 1..=LAST_SIGNAL {
        // SAFETY: the action is larger than the kernel's structure; no handler is installed.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                ptr::null_mut::<u64>(),
                size_of::<u64>(),
            )
        };
    }
    let mut none = MaybeUninit::uninit();
    // SAFETY: sigemptyset initializes the set, which is then only read.
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut());
    }
}

/// Blocks every signal, so that only SIGKILL and SIGSTOP have an effect. Returns a descriptor (close on exec,
/// nonblocking) that becomes readable when a child changes its state.
pub(crate) fn block_signals() -> io::Result<OwnedFd> {
    let mut all = MaybeUninit::uninit();
    let mut child = MaybeUninit::uninit();
    // SAFETY: the sets are initialized by sigfillset and sigemptyset before they are read.
    let fd = unsafe {
        // If an ignored SIGCHLD were inherited, exit statuses would be lost.
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        libc::sigfillset(all.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, all.as_ptr(), ptr::null_mut());
        libc::sigemptyset(child.as_mut_ptr());
        libc::sigaddset(child.as_mut_ptr(), libc::SIGCHLD);
        libc::signalfd(-1, child.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: signalfd returned a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Reads everything from a descriptor of [`block_signals`]. Afterwards the caller asks the kernel who has ended.
pub(crate) fn drain_signals(signals: &OwnedFd) {
    let mut buffer = [0; 1024];
    while matches!(rustix::io::read(signals, &mut buffer), Ok(read) if read > 0) {}
}

/// Makes children vanish when they end. Nobody asks for their exit status.
pub(crate) fn forget_children() {
    // SAFETY: no handler is installed.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Becomes this user, with these groups. There is no way back.
pub(crate) fn switch_user(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    let check = |result| {
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    };
    // SAFETY: the pointer and the length are of one slice; the program has one thread.
    unsafe {
        check(libc::setgroups(groups.len(), groups.as_ptr()))?;
        check(libc::setgid(gid))?;
        check(libc::setuid(uid))
    }
}

/// Zeroed memory that can be given back to the system and used again.
#[derive(Debug)]
pub(crate) struct Pages {
    start: NonNull<u8>,
    len: usize,
}

impl Pages {
    /// Reserves this many bytes. They use memory only once they are written.
    pub(crate) fn map(len: usize) -> io::Result<Self> {
        let (rights, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: no address is asked for, so nothing that is mapped changes.
        let start = unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), len, rights, flags) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }

    /// The bytes.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is `len` long, readable and writable, owned by `self`, and borrowed with it.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    /// Gives the memory back; the bytes are zero again.
    pub(crate) fn release(&mut self) {
        // A kernel that refuses keeps the memory, which is no reason to stop.
        // SAFETY: the mapping is private and anonymous, and nobody holds a reference into it.
        let _ = unsafe { rustix::mm::madvise(self.start.as_ptr().cast(), self.len, Advice::LinuxDontNeed) };
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // It fails for arguments that were never mapped only.
        // SAFETY: it was mapped with this length, and no reference outlives `self`.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// The place where the kernel stored this program's arguments, and where it looks when somebody asks for them.
#[derive(Debug)]
pub(crate) struct ArgumentArea {
    /// The part after the first argument, which is the program's own name.
    rest: NonNull<u8>,
    len: usize,
}

impl ArgumentArea {
    /// Finds the place. Afterwards nobody may ask the standard library for the arguments, because they are going to
    /// change.
    pub(crate) fn find() -> io::Result<Self> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidData);
        let stat = std::fs::read_to_string("/proc/self/stat")?;
        let after_name = stat.rsplit_once(')').ok_or_else(invalid)?.1;
        // These are fields 48 and 49 of proc_pid_stat(5). The first field here is number 3.
        let mut fields = after_name.split_ascii_whitespace().skip(45);
        let mut address = || fields.next()?.parse::<usize>().ok();
        let (start, end) = address().zip(address()).ok_or_else(invalid)?;
        let name = std::fs::read("/proc/self/cmdline")?
            .iter()
            .position(|&b| b == 0)
            .ok_or_else(invalid)?;
        let rest = start + name + 1;
        let len = end.checked_sub(rest).ok_or_else(invalid)?;
        let rest = NonNull::new(ptr::with_exposed_provenance_mut(rest)).ok_or_else(invalid)?;
        Ok(Self { rest, len })
    }

    /// Writes these arguments after the first one. What does not fit is cut off.
    pub(crate) fn set(&mut self, arguments: &[&[u8]]) {
        let Some(room) = self.len.checked_sub(1) else {
            return;
        };
        let mut text: Vec<u8> = arguments.join(&0);
        text.truncate(room);
        // The kernel looks at the last byte: as long as it is 0, the whole area counts as arguments.
        text.resize(self.len, 0);
        // SAFETY: the kernel mapped these bytes writable for the life of the program, and nobody else looks at them:
        // references into them exist only while the standard library is asked for arguments.
        unsafe { ptr::copy_nonoverlapping(text.as_ptr(), self.rest.as_ptr(), text.len()) };
    }
}

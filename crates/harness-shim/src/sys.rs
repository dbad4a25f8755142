//! What rustix lacks: fork, exec, signal masks, accounts. Every unsafe block of the shim's program is here.
//!
//! All of it is for single-threaded programs: the shim's own main, and its child before it becomes another
//! program. So the child may allocate after the fork, and no other thread can hold a lock across it.

#![expect(
    unsafe_code,
    reason = "these system interfaces have no safe form in std or rustix"
)]

use std::ffi::{CStr, CString, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::ptr;

use rustix::process::Pid;

/// The highest signal number.
const LAST_SIGNAL: i32 = 64;

/// On which side of a fork one is.
pub(crate) enum Forked {
    /// The new process.
    Child,
    /// The old one, and the pid of the new one.
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

/// Ends the process at once, running no destructors and flushing nothing.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Becomes another program; returns only the reason why it could not.
pub(crate) fn execve(path: &CStr, argv: &[CString], envp: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect()
    };
    let (argv, envp) = (pointers(argv), pointers(envp));
    // SAFETY: both arrays end with a null pointer, and what they point to outlives the call.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    io::Error::last_os_error()
}

/// Closes every descriptor from `first` on. Only for programs that own no such descriptor yet.
pub(crate) fn close_from(first: RawFd) {
    let first = first.unsigned_abs();
    // SAFETY: nothing in the program owns these descriptors; it was called before any was opened, or just
    // before the program is replaced.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) } == 0;
    if done {
        return;
    }
    // Kernels before 5.9.
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

/// Gives every signal its default action and unblocks all, as a program expects it.
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

/// Blocks every signal, so that none but SIGKILL and SIGSTOP has an effect, and returns a descriptor (close on
/// exec, nonblocking) that becomes readable when a child changes state.
pub(crate) fn block_signals() -> io::Result<OwnedFd> {
    let mut all = MaybeUninit::uninit();
    let mut child = MaybeUninit::uninit();
    // SAFETY: the sets are initialized by sigfillset and sigemptyset before they are read.
    let fd = unsafe {
        // An ignored SIGCHLD, inherited, would make exit statuses vanish.
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

/// A user of the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) name: CString,
    pub(crate) uid: u32,
    gid: u32,
    pub(crate) home: OsString,
    pub(crate) shell: OsString,
}

impl Account {
    /// Looks a user up by name, else by numeric uid; `NotFound` when there is none.
    pub(crate) fn find(user: &str) -> io::Result<Self> {
        let name = CString::new(user).map_err(|_| io::Error::from_raw_os_error(libc::ENOENT))?;
        let by_name =
            |entry: *mut libc::passwd, buffer: &mut [libc::c_char], found: *mut *mut libc::passwd| {
                // SAFETY: all pointers are valid for the call, and the length is the buffer's.
                unsafe { libc::getpwnam_r(name.as_ptr(), entry, buffer.as_mut_ptr(), buffer.len(), found) }
            };
        if let Some(account) = Self::look_up(by_name)? {
            return Ok(account);
        }
        if let Ok(uid) = user.parse::<libc::uid_t>() {
            let by_uid =
                |entry: *mut libc::passwd, buffer: &mut [libc::c_char], found: *mut *mut libc::passwd| {
                    // SAFETY: as above.
                    unsafe { libc::getpwuid_r(uid, entry, buffer.as_mut_ptr(), buffer.len(), found) }
                };
            if let Some(account) = Self::look_up(by_uid)? {
                return Ok(account);
            }
        }
        Err(io::Error::from_raw_os_error(libc::ENOENT))
    }

    fn look_up(
        call: impl Fn(*mut libc::passwd, &mut [libc::c_char], *mut *mut libc::passwd) -> libc::c_int,
    ) -> io::Result<Option<Self>> {
        let mut buffer: Vec<libc::c_char> = vec![0; 1024];
        loop {
            let mut entry = MaybeUninit::<libc::passwd>::uninit();
            let mut found = ptr::null_mut();
            match call(entry.as_mut_ptr(), &mut buffer, &raw mut found) {
                libc::ERANGE if buffer.len() < 1024 * 1024 => buffer.resize(buffer.len() * 2, 0),
                // These also mean "no such user" with some name services.
                0 | libc::ENOENT | libc::ESRCH if found.is_null() => return Ok(None),
                // SAFETY: the call succeeded: `found` points to the filled entry, and its strings lie in `buffer`.
                0 => return Ok(Some(unsafe { Self::copy(&*found) })),
                errno => return Err(io::Error::from_raw_os_error(errno)),
            }
        }
    }

    /// # Safety
    /// The strings of the entry must be valid.
    unsafe fn copy(entry: &libc::passwd) -> Self {
        // SAFETY: the caller's promise.
        let text =
            |p: *const libc::c_char| OsString::from_vec(unsafe { CStr::from_ptr(p) }.to_bytes().to_vec());
        Self {
            // SAFETY: the caller's promise.
            name: unsafe { CStr::from_ptr(entry.pw_name) }.to_owned(),
            uid: entry.pw_uid,
            gid: entry.pw_gid,
            home: text(entry.pw_dir),
            shell: text(entry.pw_shell),
        }
    }

    /// Becomes this user, with its groups, for good.
    pub(crate) fn switch(&self) -> io::Result<()> {
        let check = |result| {
            if result == 0 {
                Ok(())
            } else {
                Err(io::Error::last_os_error())
            }
        };
        // SAFETY: the name is a valid string; the program has one thread.
        unsafe {
            check(libc::initgroups(self.name.as_ptr(), self.gid))?;
            check(libc::setgid(self.gid))?;
            check(libc::setuid(self.uid))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number() {
        let root = Account::find("root").unwrap();
        assert_eq!((root.uid, root.home.to_str()), (0, Some("/root")));
        assert_eq!(Account::find("0").unwrap(), root);
        let unknown = Account::find("no-such-user-here").unwrap_err();
        assert_eq!(unknown.raw_os_error(), Some(libc::ENOENT));
    }
}

//! Processes identified in such a way that a reused pid is never mistaken for the old process.
//!
//! A pid alone means whatever process has it now. Here a process is identified by its pid, its start time, the boot
//! it belongs to, and the pid namespace in which the pid is counted. Signals are sent through a pidfd that was
//! checked *after* it was opened: from then on it means that process or nothing.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::text::{ParseError, TextWriter, parse};

/// The needed fields of `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    /// The process.
    pub(crate) pid: u32,
    /// One letter: `R`, `S`, `T`, `Z`, …
    pub(crate) state: u8,
    /// The pid of its parent.
    pub(crate) parent: u32,
    /// Its session.
    pub(crate) session: u32,
    /// How many threads it has, those included that are about to exit.
    pub(crate) threads: u32,
    /// Its start time, in clock ticks since boot.
    pub(crate) start_time: u64,
    /// How it ended, as `waitpid` reports it. 0 for those who may not know, and for a running process.
    pub(crate) exit_code: Option<i32>,
}

impl Stat {
    /// Reads the file; `NotFound` if there is no such process.
    pub(crate) fn read(pid: u32) -> io::Result<Self> {
        let text = match fs::read(format!("/proc/{pid}/stat")) {
            // Reading fails with ESRCH if the process ends while its file is open.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
                return Err(io::ErrorKind::NotFound.into());
            }
            other => other?,
        };
        Self::parse(pid, &text).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn parse(pid: u32, text: &[u8]) -> Option<Self> {
        // The second field is the program's name in parentheses. It may contain anything, including parentheses.
        let after_name = text.iter().rposition(|&b| b == b')')?;
        let rest = std::str::from_utf8(text.get(after_name + 1..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let state = *fields.next()?.as_bytes().first()?;
        let parent = fields.next()?.parse().ok()?;
        // Field 6 of proc_pid_stat(5); the parent was field 4.
        let session = fields.nth(1)?.parse().ok()?;
        // Field 20.
        let threads = fields.nth(13)?.parse().ok()?;
        // Field 22.
        let start_time = fields.nth(1)?.parse().ok()?;
        // Field 52, the last one.
        let exit_code = fields.nth(29).and_then(|code| code.parse().ok());
        Some(Self {
            pid,
            state,
            parent,
            session,
            threads,
            start_time,
            exit_code,
        })
    }

    /// Whether nothing of it runs any more, and only its exit status waits to be collected. A process with a first
    /// thread that has exited looks like that too, but has other threads: they run, or have not closed its files yet.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x') && self.threads <= 1
    }
}

/// Sends a signal to the process with this pid and start time. Returns `false` if it is gone.
pub(crate) fn signal_verified(pid: u32, start_time: u64, signal: Signal) -> io::Result<bool> {
    let is_it = || Stat::read(pid).is_ok_and(|stat| stat.start_time == start_time && !stat.is_gone());
    let Some(pidfd) = open_verified(pid, is_it)? else {
        return Ok(false);
    };
    match pidfd_send_signal(pidfd.as_fd(), signal) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::SRCH) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn open_verified(pid: u32, is_it: impl FnOnce() -> bool) -> io::Result<Option<OwnedFd>> {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return Ok(None);
    };
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        // EINVAL and ENOENT mean that the pid now belongs to a thread.
        Err(rustix::io::Errno::SRCH | rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    // Check this only now: if the pid was reused before the pidfd was opened, the start time shows it.
    Ok(is_it().then_some(pidfd))
}

/// The id of the running kernel's boot.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn boot_id() -> io::Result<String> {
    static BOOT_ID: OnceLock<String> = OnceLock::new();
    if let Some(id) = BOOT_ID.get() {
        return Ok(id.clone());
    }
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(BOOT_ID.get_or_init(|| id.trim().to_owned()).clone())
}

/// The inode that identifies the pid namespace of the calling process. It never changes.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn pid_namespace() -> io::Result<u64> {
    static NAMESPACE: OnceLock<u64> = OnceLock::new();
    if let Some(namespace) = NAMESPACE.get() {
        return Ok(*namespace);
    }
    let namespace = fs::metadata("/proc/self/ns/pid")?.ino();
    Ok(*NAMESPACE.get_or_init(|| namespace))
}

/// One process, identified for all time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProcessId {
    /// Its pid.
    pub pid: u32,
    /// Its start time, in clock ticks since boot (`/proc/PID/stat`, field 22).
    pub start_time: u64,
    /// The boot in which it runs.
    pub boot_id: String,
    /// The pid namespace in which `pid` is counted (the inode of the observer's `/proc/self/ns/pid`).
    pub pid_ns: u64,
}

impl ProcessId {
    /// The process that has this pid now, in the same boot and pid namespace as this process.
    pub(crate) fn beside(&self, pid: u32) -> io::Result<Self> {
        Ok(Self {
            pid,
            start_time: Stat::read(pid)?.start_time,
            ..self.clone()
        })
    }

    /// The process that this file belongs to.
    pub(crate) fn from_stat(stat: &Stat) -> io::Result<Self> {
        Ok(Self {
            pid: stat.pid,
            start_time: stat.start_time,
            boot_id: boot_id()?,
            pid_ns: pid_namespace()?,
        })
    }

    /// The process that has this pid now.
    ///
    /// # Errors
    /// `NotFound` if there is no such process; another error if `/proc` cannot be read.
    pub fn of(pid: u32) -> io::Result<Self> {
        Ok(Self {
            pid,
            start_time: Stat::read(pid)?.start_time,
            boot_id: boot_id()?,
            pid_ns: pid_namespace()?,
        })
    }

    /// The calling process.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn current() -> io::Result<Self> {
        Self::of(std::process::id())
    }

    /// Whether it belongs to this boot and to the caller's pid namespace. Otherwise its pid means nothing here.
    pub(crate) fn is_visible(&self) -> bool {
        pid_namespace().is_ok_and(|ns| ns == self.pid_ns) && boot_id().is_ok_and(|id| id == self.boot_id)
    }

    /// Whether it still runs. A zombie counts as gone, and so does a process of another pid namespace.
    pub fn is_alive(&self) -> bool {
        let is_it = |stat: Stat| stat.start_time == self.start_time && !stat.is_gone();
        self.is_visible() && Stat::read(self.pid).is_ok_and(is_it)
    }

    /// Whether it is stopped by SIGSTOP, a terminal or a debugger. It does nothing until it is continued.
    pub fn is_stopped(&self) -> bool {
        let is_it = |stat: Stat| stat.start_time == self.start_time && matches!(stat.state, b'T' | b't');
        self.is_visible() && Stat::read(self.pid).is_ok_and(is_it)
    }

    /// A pidfd of it; `None` if it is gone or its pid belongs to another process.
    ///
    /// # Errors
    /// When no pidfd can be opened for another reason (no descriptors left, or a kernel before 5.3).
    pub fn open_pidfd(&self) -> io::Result<Option<OwnedFd>> {
        open_verified(self.pid, || self.is_alive())
    }

    /// The same, but also for a zombie.
    pub(crate) fn open_pidfd_of_any_state(&self) -> io::Result<Option<OwnedFd>> {
        let is_it = |stat: Stat| stat.start_time == self.start_time;
        open_verified(self.pid, || {
            self.is_visible() && Stat::read(self.pid).is_ok_and(is_it)
        })
    }

    /// Sends it a signal; returns `false` if it is gone. It never signals another process.
    ///
    /// # Errors
    /// When there is no such signal, the caller may not send it, or no pidfd can be opened.
    pub fn signal(&self, signal: i32) -> io::Result<bool> {
        let signal = signal_from_number(signal)?;
        if !self.is_visible() {
            return Ok(false);
        }
        signal_verified(self.pid, self.start_time, signal)
    }

    fn write(&self, writer: &mut TextWriter, key: &str) {
        let Self {
            pid,
            start_time,
            boot_id,
            pid_ns,
        } = self;
        writer.value(key, format_args!("{pid} {start_time} {boot_id} {pid_ns}"));
    }

    fn parse(words: &[&str]) -> Option<Self> {
        let [pid, start_time, boot_id, pid_ns] = words else {
            return None;
        };
        Some(Self {
            pid: pid.parse().ok()?,
            start_time: start_time.parse().ok()?,
            boot_id: (*boot_id).to_owned(),
            pid_ns: pid_ns.parse().ok()?,
        })
    }
}

/// A signal from its number, after a check. Realtime signals are included.
#[expect(unsafe_code, reason = "rustix has no safe constructor for realtime signals")]
pub(crate) fn signal_from_number(number: i32) -> io::Result<Signal> {
    if (1..=64).contains(&number) {
        // SAFETY: only valid numbers come here; the C library's own two or three (32 to 34) are merely sent to
        // a process, never given a handler in this one.
        Ok(unsafe { Signal::from_raw_unchecked(number) })
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}

/// The identity of what runs in a run directory: the shim and the main process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The supervisor.
    pub shim: ProcessId,
    /// The service's main process.
    pub main: ProcessId,
    /// The run id of the launch specification.
    pub run_id: String,
    /// When the main process was started, in nanoseconds since the Unix epoch.
    pub started_at_ns: u64,
}

impl Identity {
    const TITLE: &'static str = "harness-identity";
    const FORMAT: u64 = 1;

    /// The content of the file.
    pub(crate) fn to_text(&self) -> Vec<u8> {
        let mut writer = TextWriter::new(Self::TITLE, Self::FORMAT);
        self.shim.write(&mut writer, "shim");
        self.main.write(&mut writer, "main");
        writer.value("run_id", &self.run_id);
        writer.value("started_at_ns", self.started_at_ns);
        writer.finish()
    }

    /// Parses the content of the file.
    pub(crate) fn from_text(text: &[u8]) -> Result<Self, ParseError> {
        let (mut shim, mut main, mut run_id, mut started_at_ns) = (None, None, None, None);
        for line in parse(text, Self::TITLE, Self::FORMAT)? {
            let line = line?;
            match line.key {
                "shim" => shim = Some(ProcessId::parse(&line.words()?).ok_or_else(|| line.bad())?),
                "main" => main = Some(ProcessId::parse(&line.words()?).ok_or_else(|| line.bad())?),
                "run_id" => run_id = Some(line.text()?.to_owned()),
                "started_at_ns" => started_at_ns = Some(line.parse()?),
                _ => return Err(line.bad()),
            }
        }
        Ok(Self {
            shim: shim.ok_or(ParseError::Missing("shim"))?,
            main: main.ok_or(ParseError::Missing("main"))?,
            run_id: run_id.ok_or(ParseError::Missing("run_id"))?,
            started_at_ns: started_at_ns.ok_or(ParseError::Missing("started_at_ns"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_full_of_parentheses_does_not_confuse() {
        let text = b"7 (a) b) (c) T 3 7 5 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 99123 1 2";
        let stat = Stat::parse(7, text).unwrap();
        assert_eq!((stat.state, stat.parent, stat.start_time), (b'T', 3, 99123));
    }

    #[test]
    fn who_has_lost_only_its_first_thread_is_not_gone() {
        for (threads, is_gone) in [(0, true), (1, true), (2, false)] {
            let text = format!("7 (a) Z 3 7 5 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 {threads} 0 99123 1 2");
            let stat = Stat::parse(7, text.as_bytes()).unwrap();
            assert_eq!((stat.threads, stat.start_time), (threads, 99123));
            assert_eq!(stat.is_gone(), is_gone, "{threads}");
        }
    }

    #[test]
    fn another_start_time_is_another_process() {
        let me = ProcessId::current().unwrap();
        assert!(me.is_alive());
        assert!(me.open_pidfd().unwrap().is_some());
        for other in [
            ProcessId {
                start_time: me.start_time + 1,
                ..me.clone()
            },
            ProcessId {
                boot_id: "x".into(),
                ..me.clone()
            },
            ProcessId {
                pid_ns: 1,
                ..me.clone()
            },
        ] {
            assert!(!other.is_alive());
            assert!(other.open_pidfd().unwrap().is_none());
            // This sends SIGKILL to the pid of this very test, which survives.
            assert!(!other.signal(9).unwrap());
        }
    }

    #[test]
    fn the_file_survives_the_round_trip() {
        let me = ProcessId::current().unwrap();
        let identity = Identity {
            shim: me.clone(),
            main: me,
            run_id: "a/b 7".into(),
            started_at_ns: 12,
        };
        assert_eq!(Identity::from_text(&identity.to_text()), Ok(identity));
    }
}

//! The fork, and writing the identity before the program runs.
//!
//! ```text
//! shim                                child
//!  fork, into the cgroup -------------> waits for the go byte (end of file: the shim died; ends too)
//!  start time, identity file
//!  go byte ---------------------------> session, terminal, limits, user, cwd, exec
//!  end of file on the failure pipe <--- the pipe closes on exec; before that, 5 bytes say what failed
//! ```
//!
//! So no program ever runs that is not named in the identity file.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, waitpid};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::start::nonblocking;
use super::{complain, now_ns};
use crate::cgroup;
use crate::identity::{Identity, ProcessId};
use crate::launch::{Failure, Launch, Step, set};
use crate::log::Stream;
use crate::run_dir::{LaunchSpec, RunDir, RunDirError, Stdin, TtySize};
use crate::sys::{self, Forked};
use crate::tree::RUN_ID_VARIABLE;

/// The supervisor's ends of the process's streams. All are nonblocking.
pub(super) struct Streams {
    pub(super) outputs: Vec<(OwnedFd, Stream)>,
    pub(super) stdin: Option<OwnedFd>,
    pub(super) terminal: Option<Terminal>,
}

/// The pseudoterminal of the process.
pub(super) struct Terminal {
    pub(super) master: OwnedFd,
    /// Kept open, so that the master does not report a hangup when the process closes it for a moment.
    _slave: OwnedFd,
}

/// A running program.
pub(super) struct Spawned {
    pub(super) pid: Pid,
    pub(super) start_time: u64,
    pub(super) streams: Streams,
    pub(super) started_at_ns: u64,
}

/// The process's ends.
struct Stdio {
    stdin: OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

pub(super) fn spawn(dir: &RunDir, spec: &LaunchSpec) -> Result<Spawned, Failure> {
    let (stdio, streams) = match spec.tty {
        Some(size) => terminal(size).map_err(Failure::at(Step::Tty))?,
        None => pipes(spec.stdin).map_err(Failure::at(Step::Pipe))?,
    };
    let (go_read, go_write) = pipe_with(PipeFlags::CLOEXEC).map_err(Failure::at(Step::Pipe))?;
    let (failure_read, failure_write) = pipe_with(PipeFlags::CLOEXEC).map_err(Failure::at(Step::Pipe))?;
    let started_at_ns = now_ns();
    let (forked, cgroup) = fork(spec.cgroup.as_deref()).map_err(Failure::at(Step::Fork))?;
    let pid = match forked {
        Forked::Child => {
            drop(go_write);
            child(spec, &stdio, &go_read, &failure_write)
        }
        Forked::Parent(pid) => pid,
    };
    drop((go_read, failure_write, stdio));
    let handed_over = introduce(dir, spec, pid, started_at_ns, &cgroup).and_then(|start_time| {
        rustix::io::write(&go_write, &[1]).map_err(Failure::at(Step::Fork))?;
        match read_failure(&failure_read) {
            Some(failure) => Err(failure),
            None => Ok(start_time),
        }
    });
    // Without the go byte the child ends by itself.
    drop(go_write);
    match handed_over {
        Ok(start_time) => Ok(Spawned {
            pid,
            start_time,
            streams,
            started_at_ns,
        }),
        Err(failure) => {
            let _ = waitpid(Some(pid), WaitOptions::empty());
            if let Some(cgroup) = &spec.cgroup {
                crate::tree::remove_when_empty(cgroup);
            }
            Err(failure)
        }
    }
}

/// Whether a new process is in its cgroup.
enum InCgroup<'a> {
    /// It is in its cgroup, or needs none.
    Settled,
    /// It must still be moved.
    ToEnter(&'a Path),
}

/// Forks, directly into the cgroup if possible. If a cgroup cannot be used, the shim walks the descendants instead.
fn fork(cgroup: Option<&Path>) -> io::Result<(Forked, InCgroup<'_>)> {
    let Some(path) = cgroup else {
        return Ok((sys::fork()?, InCgroup::Settled));
    };
    let cgroup = match cgroup::create(path) {
        Ok(cgroup) => cgroup,
        Err(error) => {
            complain_of_cgroup(path, &error);
            return Ok((sys::fork()?, InCgroup::Settled));
        }
    };
    match sys::fork_into(cgroup.as_fd()) {
        Ok(forked) => Ok((forked, InCgroup::Settled)),
        Err(_) => Ok((sys::fork()?, InCgroup::ToEnter(path))),
    }
}

fn complain_of_cgroup(cgroup: &Path, error: &io::Error) {
    complain(format_args!("cannot use cgroup {}: {error}", cgroup.display()));
}

/// Moves the waiting child into its cgroup and writes its identity.
fn introduce(
    dir: &RunDir,
    spec: &LaunchSpec,
    pid: Pid,
    started_at_ns: u64,
    cgroup: &InCgroup<'_>,
) -> Result<u64, Failure> {
    let pid = pid.as_raw_pid().unsigned_abs();
    if let InCgroup::ToEnter(path) = cgroup
        && let Err(error) = cgroup::enter(path, pid)
    {
        complain_of_cgroup(path, &error);
    }
    let shim = ProcessId::of(std::process::id()).map_err(Failure::at(Step::Identity))?;
    let main = shim.beside(pid).map_err(Failure::at(Step::Identity))?;
    let identity = Identity {
        shim,
        main,
        run_id: spec.run_id.clone(),
        started_at_ns,
    };
    dir.write_identity(&identity).map_err(|error| {
        complain(format_args!("{error}"));
        let errno = match error {
            RunDirError::Io { source, .. } => source.raw_os_error().unwrap_or(0),
            RunDirError::Parse { .. } => 0,
        };
        Failure {
            step: Step::Identity,
            errno,
        }
    })?;
    Ok(identity.main.start_time)
}

fn read_failure(pipe: &OwnedFd) -> Option<Failure> {
    let mut bytes = [0; 5];
    loop {
        match rustix::io::read(pipe, &mut bytes) {
            Ok(5) => return Failure::from_bytes(bytes),
            Err(rustix::io::Errno::INTR) => {}
            _ => return None,
        }
    }
}

fn child(spec: &LaunchSpec, stdio: &Stdio, go: &OwnedFd, failures: &OwnedFd) -> ! {
    let mut byte = [0];
    if rustix::io::read(go, &mut byte) != Ok(1) {
        sys::exit_now(1);
    }
    let connected = rustix::stdio::dup2_stdin(&stdio.stdin)
        .and_then(|()| rustix::stdio::dup2_stdout(&stdio.stdout))
        .and_then(|()| rustix::stdio::dup2_stderr(&stdio.stderr));
    let failure = match connected {
        Ok(()) => {
            let mut env = spec.env.clone();
            set(&mut env, RUN_ID_VARIABLE, &spec.run_id);
            let launch = Launch {
                program: &spec.program,
                args: &spec.args,
                env,
                cwd: Some(&spec.cwd),
                user: spec.user.as_deref(),
                umask: spec.umask,
                limits: &spec.limits,
                soft_limits: &spec.soft_limits,
                tty: spec.tty.is_some(),
            };
            launch.run()
        }
        Err(error) => Failure::at(Step::Pipe)(error),
    };
    let _ = rustix::io::write(failures, &failure.to_bytes());
    sys::exit_now(127)
}

fn pipes(stdin: Stdin) -> io::Result<(Stdio, Streams)> {
    let (out_read, out_write) = pipe_with(PipeFlags::CLOEXEC)?;
    let (err_read, err_write) = pipe_with(PipeFlags::CLOEXEC)?;
    let (stdin_read, stdin_write) = match stdin {
        Stdin::Null => {
            let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
            (null, None)
        }
        Stdin::Keep => {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
            (read, Some(nonblocking(write)?))
        }
    };
    let stdio = Stdio {
        stdin: stdin_read,
        stdout: out_write,
        stderr: err_write,
    };
    let streams = Streams {
        outputs: vec![
            (nonblocking(out_read)?, Stream::Stdout),
            (nonblocking(err_read)?, Stream::Stderr),
        ],
        stdin: stdin_write,
        terminal: None,
    };
    Ok((stdio, streams))
}

fn terminal(size: TtySize) -> io::Result<(Stdio, Streams)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    unlockpt(&master)?;
    let slave = ioctl_tiocgptpeer(&master, flags)?;
    resize(master.as_fd(), size.cols, size.rows)?;
    let copy = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, 3);
    let stdio = Stdio {
        stdin: copy(&slave)?,
        stdout: copy(&slave)?,
        stderr: copy(&slave)?,
    };
    let master = nonblocking(master)?;
    let streams = Streams {
        outputs: vec![(copy(&master)?, Stream::Stdout)],
        stdin: Some(copy(&master)?),
        terminal: Some(Terminal {
            master,
            _slave: slave,
        }),
    };
    Ok((stdio, streams))
}

/// Sets the size of a terminal.
pub(super) fn resize(terminal: BorrowedFd<'_>, cols: u16, rows: u16) -> rustix::io::Result<()> {
    let size = Winsize {
        ws_col: cols,
        ws_row: rows,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, size)
}

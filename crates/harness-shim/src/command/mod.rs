//! A command that is not a service (a probe, a hook, an `exec`), with a supervisor of its own.
//!
//! ```text
//! starter                       harness-shim command             the program
//!   stdin, over the channel ------> fork --------------------------> a session of its own
//!   signals ----------------------> passed on -------------------->
//!          <----------- how it ended <------------------------------ ends; what it left behind lives on
//!   the channel closes -----------> kills all that descends from it, and ends
//! ```
//!
//! A command may leave processes behind that nothing else leads to: after a double fork, in a session of their own,
//! with an empty environment. When they lose their parent, the supervisor becomes their parent. It stays as long as
//! there is one. When the starter closes the channel, on purpose or because it died, the supervisor kills them all.

mod channel;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};

use crate::exec::{self, Options};
use crate::supervise::family::Family;
use crate::sys::{self, Forked};

pub use channel::{Channel, End, Request};

/// The verb on the command line.
pub const VERB: &str = "command";

/// The pause between two rounds of killing: the first one, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Runs the program from the command line. Fd 0 is this end of the starter's channel, and fd 1 and 2 become stdout
/// and stderr of the program.
pub(crate) fn run(options: &Options) -> ExitCode {
    match start(options) {
        Ok(supervisor) => supervisor.serve(),
        Err(error) => {
            let message = format!("harness-shim: {}: {error}\n", options.program().display());
            let _ = rustix::io::write(rustix::stdio::stderr(), message.as_bytes());
            ExitCode::from(126)
        }
    }
}

struct Supervisor {
    channel: Channel,
    signals: OwnedFd,
    family: Family,
}

fn start(options: &Options) -> io::Result<Supervisor> {
    sys::close_from(3);
    sys::leave_session()?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let channel = Channel::of(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?);
    let signals = sys::block_signals()?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let stdin = match channel.take_stdin()? {
        Some(stdin) => stdin,
        None => null.try_clone()?,
    };
    rustix::stdio::dup2_stdin(&stdin)?;
    drop(stdin);
    let main = match sys::fork()? {
        Forked::Child => sys::exit_now(exec::become_it(options).into()),
        Forked::Parent(main) => main,
    };
    // Only the program may hold the ends of pipes and terminal, so that a reader sees when the program closes them.
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(Supervisor {
        channel,
        signals,
        family: Family::new(main, None),
    })
}

impl Supervisor {
    fn serve(mut self) -> ExitCode {
        loop {
            self.reap();
            if self.family.is_gone() {
                return ExitCode::SUCCESS;
            }
            if wait(&[self.signals.as_fd(), self.channel.as_fd()], None).is_err() {
                break;
            }
            sys::drain_signals(&self.signals);
            match self.channel.requests() {
                Ok(requests) => requests.into_iter().for_each(|request| self.carry_out(request)),
                Err(channel::Closed) => break,
            }
        }
        self.kill()
    }

    fn reap(&mut self) {
        if let Some(outcome) = self.family.reap() {
            self.channel.tell_end(&outcome);
        }
    }

    fn carry_out(&self, request: Request) {
        if self.family.main_ended() {
            return;
        }
        // If a signal may not be sent, there is nobody here to report that to.
        let _ = match request {
            Request::Signal(signal) => self.family.signal_main(signal),
            Request::SignalGroup(signal) => self.family.signal_main_group(signal),
        };
    }

    fn kill(&mut self) -> ExitCode {
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(outcome) = self.family.kill_round() {
                self.channel.tell_end(&outcome);
            }
            if self.family.is_gone() {
                return ExitCode::SUCCESS;
            }
            // This fails if it is interrupted, which does no harm.
            let _ = wait(&[self.signals.as_fd()], Some(pause));
            sys::drain_signals(&self.signals);
            self.reap();
            if self.family.is_gone() {
                return ExitCode::SUCCESS;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

fn wait(fds: &[BorrowedFd<'_>], limit: Option<Duration>) -> rustix::io::Result<()> {
    let mut fds: Vec<PollFd<'_>> = fds
        .iter()
        .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
        .collect();
    let limit = limit.map(|limit| Timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    });
    match poll(&mut fds, limit.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error),
    }
}

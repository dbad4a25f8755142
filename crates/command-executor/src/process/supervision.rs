//! What this process holds of a command that has a supervisor (`harness-shim command`).

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use async_io::Async;
use harness_shim::command::{Channel, End, Request};
use harness_shim::tree;

use crate::command::Command;

/// The channel to the supervisor, and how to find its command without it.
#[derive(Debug)]
pub(super) struct Supervision {
    channel: Async<Channel>,
    run_id: Option<String>,
}

impl Supervision {
    pub(super) fn new(channel: Channel, command: &Command) -> io::Result<Self> {
        let run_id = command
            .env
            .get(tree::RUN_ID_VARIABLE.as_ref() as &std::ffi::OsStr);
        Ok(Self {
            channel: Async::new(channel)?,
            run_id: run_id.and_then(|id| id.to_str()).map(str::to_owned),
        })
    }

    /// How the program ended; SIGKILL if its supervisor died without a word.
    pub(super) async fn exit_status(&self) -> io::Result<ExitStatus> {
        let end = self.channel.read_with(Channel::end).await?;
        Ok(ExitStatus::from_raw(match end {
            End::Exited(code) => (code & 0xff) << 8,
            End::Signaled(signal) => signal,
            End::Unknown => rustix::process::Signal::KILL.as_raw(),
        }))
    }

    /// Passes a signal on. Succeeds if the program has ended.
    pub(super) fn ask(&self, request: Request) -> io::Result<()> {
        self.channel.get_ref().ask(request)
    }

    /// Lets the supervisor end everything of the command, without waiting for that.
    pub(super) fn close(&self) {
        self.channel.get_ref().close();
    }

    /// Hands the supervisor over to whoever makes sure that it ends. The pid and pidfd are the supervisor's.
    pub(super) fn hand_over(self, pid: u32, pidfd: OwnedFd) -> Supervisor {
        Supervisor {
            pid,
            pidfd,
            run_id: self.run_id,
            channel: self.channel.into_inner().ok(),
        }
    }
}

/// A supervisor to which nobody talks any more.
#[derive(Debug)]
pub(crate) struct Supervisor {
    pub(crate) pid: u32,
    pub(crate) pidfd: OwnedFd,
    /// While it is open, what the command has left behind lives on.
    pub(crate) channel: Option<Channel>,
    run_id: Option<String>,
}

impl Supervisor {
    /// Kills what a supervisor should have ended, if the supervisor died of something else or does not answer (for
    /// example after SIGSTOP). Blocks for as long as that takes, ten seconds at most.
    ///
    /// # Errors
    /// When something of the command cannot be found or killed.
    pub(crate) fn sweep(&self) -> Result<(), tree::LeftoversError> {
        // While the supervisor exists, it is the parent of all orphans. It must not see their ends and fork again
        // meanwhile.
        let mut before = None;
        while let Ok(family) = tree::descendants(self.pid)
            && before.as_ref() != Some(&family)
        {
            for process in &family {
                // What cannot be signalled is found again below, and reported.
                let _ = process.signal(rustix::process::Signal::KILL.as_raw());
            }
            before = Some(family);
        }
        // If this fails, it has ended.
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, rustix::process::Signal::KILL);
        match &self.run_id {
            Some(run_id) => tree::kill_all(run_id, None).map(drop),
            None => Ok(()),
        }
    }
}

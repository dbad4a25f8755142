//! Waits for output, clients, children and deadlines, in one thread.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::buffer::{ReadBuffer, SIZE};
use super::clients::{ClientId, Clients};
use super::family::Family;
use super::now_ns;
use super::spawn::{Spawned, Streams, Terminal, resize};
use super::stdin::StdinPipe;
use super::stopping::Stopping;
use crate::control::{Reply, Request, Scope};
use crate::log::{Stream, Writer};
use crate::run_dir::{ExitRecord, LaunchSpec, Outcome};

/// The size of the pipe for a service that has filled the default pipe.
const FLOOD_PIPE: usize = 4 * SIZE;
/// How many times a full output is read before others get a turn.
const IN_A_ROW: usize = 4;
/// How long nothing must happen before the memory of a burst is given back.
const QUIET: Duration = Duration::from_secs(1);
/// How long to keep reading when all processes are gone, but somebody else holds the pipe and writes.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// A running process, and everything that is done for it.
pub(super) struct Supervisor {
    family: Family,
    stopping: Stopping,
    signals: OwnedFd,
    outputs: Vec<(OwnedFd, Stream)>,
    stdin: StdinPipe,
    terminal: Option<Terminal>,
    clients: Clients,
    log: Writer,
    buffer: ReadBuffer,
    started_at_ns: u64,
    ended_at_ns: u64,
}

/// The result of one read of an output.
#[derive(PartialEq, Eq)]
enum Read {
    /// As much as fits into the buffer. There may be more.
    Full,
    Some,
    Nothing,
    Ended,
}

/// What poll found, without borrows.
#[derive(Default)]
struct Ready {
    signals: bool,
    stdin: bool,
    listener: bool,
    outputs: Vec<usize>,
    clients: Vec<ClientId>,
}

impl Supervisor {
    pub(super) fn new(
        spec: &LaunchSpec,
        spawned: Spawned,
        signals: OwnedFd,
        clients: Clients,
        log: Writer,
        buffer: ReadBuffer,
    ) -> Self {
        let Streams {
            outputs,
            stdin,
            terminal,
        } = spawned.streams;
        Self {
            family: Family::new(spawned.pid, spec.cgroup.clone()),
            stopping: Stopping::new(spec.stop),
            signals,
            outputs,
            stdin: StdinPipe::new(stdin, terminal.is_some()),
            terminal,
            clients,
            log,
            buffer,
            started_at_ns: spawned.started_at_ns,
            ended_at_ns: spawned.started_at_ns,
        }
    }

    /// Serves until no process of the tree is left. Then the log is complete.
    pub(super) fn serve(mut self) -> ExitRecord {
        while !self.family.is_gone() {
            let ready = self.wait();
            self.handle(ready);
            self.stopping.advance(&mut self.family, Instant::now());
            self.note_end();
        }
        self.drain();
        self.family.remove_cgroup();
        self.log.finish(now_ns());
        let dropped = self.log.dropped();
        ExitRecord {
            // The family is gone only after the main process was reaped with it.
            outcome: self
                .stopping
                .outcome()
                .cloned()
                .unwrap_or(Outcome::Signaled(libc::SIGKILL)),
            started_at_ns: self.started_at_ns,
            ended_at_ns: self.ended_at_ns,
            stop_requested: self.stopping.stop_requested(),
            killed: self.stopping.killed(),
            background: self.stopping.background().cloned(),
            dropped_log_bytes: dropped.bytes,
            dropped_log_lines: dropped.lines,
        }
    }

    fn wait(&mut self) -> Ready {
        let deadline = self.stopping.deadline();
        let until_deadline = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let until_quiet = self.buffer.is_large().then_some(QUIET);
        let timeout = match (until_deadline, until_quiet) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        let timeout = timeout.map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        let mut ready = Ready::default();
        let (listener, clients) = self.clients.interests();
        let stdin = self.stdin.waiting();
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
        fds.extend(self.outputs.iter().map(|(fd, _)| PollFd::new(fd, PollFlags::IN)));
        fds.extend(
            clients
                .iter()
                .map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)),
        );
        fds.extend(stdin.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::OUT)));
        fds.extend(listener.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) => {
                self.buffer.shrink();
                return ready;
            }
            Ok(_) => {}
            // Interrupted, or there is no memory for a moment.
            Err(_) => return ready,
        }
        let mut found = fds.iter().map(|fd| !fd.revents().is_empty());
        let mut next = || found.next().unwrap_or(false);
        ready.signals = next();
        ready.outputs = (0..self.outputs.len()).filter(|_| next()).collect();
        ready.clients = clients.iter().filter(|_| next()).map(|(id, ..)| *id).collect();
        ready.stdin = stdin.is_some() && next();
        ready.listener = listener.is_some() && next();
        ready
    }

    fn handle(&mut self, ready: Ready) {
        let mut ended = Vec::new();
        for index in ready.outputs {
            let mut read = self.read_output(index);
            // In a flood, read several times in a row: this saves time spent on polling.
            for _ in 0..IN_A_ROW {
                if read != Read::Full {
                    break;
                }
                read = self.read_output(index);
            }
            if read == Read::Ended {
                ended.push(index);
            }
        }
        self.remove_outputs(&ended);
        if ready.listener {
            self.clients.accept();
        }
        for client in ready.clients {
            self.clients.transfer(client, self.buffer.bytes());
        }
        if ready.stdin {
            self.write_stdin();
        }
        while let Some((client, request)) = self.clients.next_request() {
            if let Some(reply) = self.carry_out(client, request) {
                self.clients.reply(client, reply);
            }
        }
        self.clients.sweep();
        if ready.signals {
            // Empty this first: if a child ends between this and the reaping, it becomes readable again.
            let _ = rustix::io::read(&self.signals, self.buffer.bytes());
            let outcome = self.family.reap();
            self.stopping.main_ended(&self.family, outcome, Instant::now());
        }
    }

    /// Handles the end of the main process, once: nobody reads its input any more.
    fn note_end(&mut self) {
        if self.stopping.outcome().is_some() && self.ended_at_ns == self.started_at_ns {
            self.ended_at_ns = now_ns().max(self.started_at_ns + 1);
            let clients = &mut self.clients;
            self.stdin
                .close(Reply::NotRunning, |client, reply| clients.reply(client, reply));
        }
    }

    /// Reads once. If both outputs have data, stdout is read before stderr: nobody can tell any more which came
    /// first, and an error message is usually written last.
    fn read_output(&mut self, index: usize) -> Read {
        let Some((fd, stream)) = self.outputs.get(index) else {
            return Read::Ended;
        };
        match rustix::io::read(fd, self.buffer.bytes()) {
            Ok(0) => Read::Ended,
            Ok(read) => {
                self.log.append(*stream, self.buffer.filled(read), now_ns());
                if read < SIZE {
                    return Read::Some;
                }
                // A process that fills a pipe writes more while it is read. A user may have only a limited number of
                // such pages. If that is used up, or for a terminal, the size stays as it is.
                let _ = rustix::pipe::fcntl_setpipe_size(fd, FLOOD_PIPE);
                Read::Full
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Read::Nothing,
            Err(_) => Read::Ended,
        }
    }

    /// Removes outputs that have ended; `ended` is in ascending order.
    fn remove_outputs(&mut self, ended: &[usize]) {
        for index in ended.iter().rev() {
            self.outputs.remove(*index);
        }
    }

    /// Reads what dead processes have left in the pipes.
    fn drain(&mut self) {
        let limit = Instant::now() + DRAIN_LIMIT;
        for index in 0..self.outputs.len() {
            while matches!(self.read_output(index), Read::Some | Read::Full) && Instant::now() < limit {}
        }
    }

    fn write_stdin(&mut self) {
        let clients = &mut self.clients;
        self.stdin.write(|client, reply| clients.reply(client, reply));
    }

    /// Does what a client asks; `None` if the answer comes later.
    fn carry_out(&mut self, client: ClientId, request: Request) -> Option<Reply> {
        let now = Instant::now();
        let sent = |result: rustix::io::Result<()>| if result.is_ok() { Reply::Ok } else { Reply::Failed };
        let reply = match request {
            Request::Ping => Reply::Ok,
            Request::Stop(policy) => self.stopping.stop(&self.family, policy, now),
            Request::Kill => {
                self.stopping.kill(&mut self.family, now);
                Reply::Ok
            }
            Request::Signal {
                scope: Scope::Main, ..
            } if self.family.main_ended() => Reply::NotRunning,
            Request::Signal {
                scope: Scope::Main,
                signal,
            } => sent(self.family.signal_main(signal)),
            Request::Signal {
                scope: Scope::Tree,
                signal,
            } => {
                self.family.signal_all(signal);
                Reply::Ok
            }
            Request::Stdin(_) | Request::CloseStdin if self.family.main_ended() => Reply::NotRunning,
            Request::Stdin(bytes) => return self.later(|stdin| stdin.push(client, bytes)),
            Request::CloseStdin => return self.later(|stdin| stdin.push_close(client)),
            Request::Resize { cols, rows } => match &self.terminal {
                Some(terminal) => sent(resize(terminal.master.as_fd(), cols, rows)),
                None => Reply::NoTty,
            },
        };
        Some(reply)
    }

    fn later(&mut self, push: impl FnOnce(&mut StdinPipe) -> Result<(), Reply>) -> Option<Reply> {
        if let Err(reply) = push(&mut self.stdin) {
            return Some(reply);
        }
        self.write_stdin();
        None
    }
}

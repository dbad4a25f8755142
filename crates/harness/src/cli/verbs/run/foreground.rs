//! Runs the command of `run` in the foreground of this terminal.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::ExitStatus as SystemStatus;
use std::time::{Duration, Instant};

use async_io::Timer;
use async_process::Child;
use async_signal::Signal;
use futures_lite::future;
use harness_model::{ExitStatus, environment};
use harness_shim::identity::ProcessId;
use harness_shim::tree::descendants;
use harness_shim::words::NO_PROGRAM;
use rustix::io::Errno;
use rustix::process::{Pid, Signal as Number, kill_process};
use service_orchestration::executor::{LaunchError, find_program};

use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::signals::Incoming;

/// After the timeout, how long the command has between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(10);

/// How often to look for processes that the command left behind after SIGKILL, and the pause between.
const ROUNDS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(20);

/// How the command ended.
pub(super) enum Ended {
    /// By itself.
    Exited(ExitStatus),
    /// Its timeout passed, and we ended it.
    TooLong,
}

/// Runs the user's command with this process's streams and terminal, until it ends or the deadline passes.
pub(super) async fn run(
    context: &Context,
    words: &[String],
    variables: BTreeMap<String, String>,
    deadline: Option<Instant>,
) -> Result<Ended, CliError> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(CliError::Usage {
            message: "run what?".to_owned(),
            hint: "harness run -- COMMAND…".to_owned(),
        });
    };
    let mut signals = Incoming::ending_or_quitting()?;
    #[expect(
        clippy::disallowed_methods,
        reason = "the user's own command belongs to the terminal of this CLI, not to the daemon's command layer"
    )]
    let mut command = async_process::Command::new(program);
    command.args(arguments).envs(&variables);
    let mut child = command
        .spawn()
        .map_err(|error| refused(program, arguments, &variables, error))?;
    let pid = child.id();
    let lost = |source| CliError::CommandNotRunnable {
        program: program.clone(),
        source,
    };
    let passing = async {
        loop {
            let signal = signals.next().await;
            // On a terminal, the command is in our process group, so these keys have reached it already.
            let typed = matches!(signal, Signal::Int | Signal::Quit) && context.ui.in_tty;
            if !typed {
                pass_on(pid, signal);
            }
        }
    };
    let expired = async {
        match deadline {
            Some(deadline) => drop(Timer::at(deadline).await),
            None => future::pending().await,
        }
        Ok(None)
    };
    let ended = async { child.status().await.map(Some) };
    let ended = future::or(ended, future::or(passing, expired)).await;
    if let Some(status) = ended.map_err(lost)? {
        return Ok(Ended::Exited(exit_status(status)));
    }
    end(&mut child).await;
    Ok(Ended::TooLong)
}

/// Why a command cannot be run, in the words and with the codes that `exec` has for it.
fn refused(
    program: &str,
    arguments: &[String],
    variables: &BTreeMap<String, String>,
    error: io::Error,
) -> CliError {
    let not_runnable = |source| CliError::CommandNotRunnable {
        program: program.to_owned(),
        source,
    };
    match Errno::from_io_error(&error) {
        Some(Errno::TOOBIG) => not_runnable(io::Error::other(too_large(arguments, variables))),
        Some(Errno::NOEXEC) => not_runnable(io::Error::other(NO_PROGRAM)),
        Some(Errno::NOENT | Errno::NOTDIR) => {
            let path = variables.get("PATH").cloned();
            let path = path.or_else(|| std::env::var("PATH").ok()).unwrap_or_default();
            match find_program(program, &path, Path::new("")) {
                // The system says that the script is missing.
                Err(LaunchError::NoInterpreter { interpreter, .. }) => CliError::NoInterpreter {
                    program: program.to_owned(),
                    interpreter,
                },
                Err(why @ LaunchError::LineEnds { .. }) => not_runnable(io::Error::other(why)),
                _ => CliError::CommandNotFound {
                    program: program.to_owned(),
                },
            }
        }
        _ => not_runnable(error),
    }
}

/// Which variables make a command's environment too large.
fn too_large(arguments: &[String], variables: &BTreeMap<String, String>) -> String {
    let own =
        std::env::vars_os().map(|(name, value)| (name.to_string_lossy().into_owned().into(), value.len()));
    let given = variables
        .iter()
        .map(|(name, value)| (name.as_str().into(), value.len()));
    environment::too_large(own.chain(given), arguments.iter().map(String::len).sum())
}

/// Ends a command: sends SIGTERM to it, then SIGKILL to it and its descendants.
async fn end(child: &mut Child) {
    let pid = child.id();
    let mut family = Family::default();
    family.grow(pid);
    pass_on(pid, Signal::Term);
    let ended = async {
        // Even if this fails, the command is gone.
        let _ = child.status().await;
    };
    let late = async {
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline {
            Timer::after(PAUSE).await;
            family.grow(pid);
        }
    };
    future::or(ended, late).await;
    // The command may have ended by now.
    let _ = child.kill();
    for _ in 0..ROUNDS {
        if !family.kill() {
            break;
        }
        Timer::after(PAUSE).await;
    }
    let _ = child.status().await;
}

/// The descendants of the command that were seen. Those remembered here are known even after their parents are dead.
#[derive(Default)]
struct Family(BTreeMap<u32, ProcessId>);

impl Family {
    fn grow(&mut self, root: u32) {
        // If the descendants cannot be listed, only the command itself is ended.
        for process in descendants(root).unwrap_or_default() {
            self.0.entry(process.pid).or_insert(process);
        }
    }

    /// Kills those that are alive. `false` if there are none.
    fn kill(&mut self) -> bool {
        let living: Vec<ProcessId> = self
            .0
            .values()
            .filter(|process| process.is_alive())
            .cloned()
            .collect();
        for process in &living {
            self.grow(process.pid);
            // It is fine if the process has just ended.
            let _ = process.signal(Number::KILL.as_raw());
        }
        !living.is_empty()
    }
}

fn pass_on(pid: u32, signal: Signal) {
    let number = match signal {
        Signal::Int => Number::INT,
        Signal::Hup => Number::HUP,
        Signal::Quit => Number::QUIT,
        _ => Number::TERM,
    };
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It is fine if the command has ended in the meantime.
        let _ = kill_process(pid, number);
    }
}

fn exit_status(status: SystemStatus) -> ExitStatus {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => ExitStatus::Code(code),
        (None, Some(signal)) => ExitStatus::Signal(signal),
        (None, None) => ExitStatus::Code(1),
    }
}

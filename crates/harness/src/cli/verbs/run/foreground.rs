//! The command of `run`, in the foreground of this terminal.

use std::collections::BTreeMap;
use std::io;
use std::process::ExitStatus as SystemStatus;

use async_signal::Signal;
use futures_lite::future;
use harness_model::ExitStatus;

use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::signals::Incoming;

/// The user's command, with this process's streams and terminal.
pub(super) async fn run(
    context: &Context,
    words: &[String],
    variables: BTreeMap<String, String>,
) -> Result<ExitStatus, CliError> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(CliError::Usage {
            message: "run what?".to_owned(),
            hint: "harness run -- COMMAND…".to_owned(),
        });
    };
    let mut signals = Incoming::ending()?;
    #[expect(
        clippy::disallowed_methods,
        reason = "the user's own command belongs to the terminal of this CLI, not to the daemon's command layer"
    )]
    let mut command = async_process::Command::new(program);
    command.args(arguments).envs(variables);
    let mut child = command.spawn().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => CliError::CommandNotFound {
            program: program.clone(),
        },
        _ => CliError::CommandNotRunnable {
            program: program.clone(),
            source,
        },
    })?;
    let pid = child.id();
    let ended = child.status();
    let passing = async {
        loop {
            let signal = signals.next().await;
            // On a terminal Ctrl-C has reached the command already, which is in our process group.
            if !(signal == Signal::Int && context.ui.in_tty) {
                pass_on(pid, signal);
            }
        }
    };
    let status = future::or(ended, passing)
        .await
        .map_err(|source| CliError::CommandNotRunnable {
            program: program.clone(),
            source,
        })?;
    Ok(exit_status(status))
}

fn pass_on(pid: u32, signal: Signal) {
    use rustix::process::{Pid, Signal as Number, kill_process};
    let number = match signal {
        Signal::Int => Number::INT,
        Signal::Hup => Number::HUP,
        _ => Number::TERM,
    };
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // If it has ended in the meantime, that is what was wanted.
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

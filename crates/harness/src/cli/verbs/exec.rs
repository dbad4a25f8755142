//! `exec`: run a command where a service runs, with its environment.

use harness_model::SecretString;
use harness_wire::message::{ExecRequest, ExecResult, Purpose, Request, TerminalSize};

use super::streams::{Joined, SignalMeaning, Stdin, Streams, join};
use crate::cli::args::ExecArgs;
use crate::cli::context::{Autostart, Context};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::terminal::{self, Raw, RawMode};

/// The size to assume when the terminal's size is unknown.
const USUAL: TerminalSize = TerminalSize {
    columns: 80,
    rows: 24,
};

pub(crate) async fn run(context: &Context, args: ExecArgs) -> Result<Exit, CliError> {
    if args.tty && args.interactive && !context.ui.in_tty {
        return Err(CliError::NoTerminal);
    }
    let secrets = args
        .env
        .into_iter()
        .map(|(name, value)| (name, SecretString::new(value)));
    let session = context.connect(Autostart::Yes).await?;
    let request = ExecRequest {
        project: context.meant(&session, Purpose::Change).await?,
        service: args.service,
        command: args.command,
        terminal: args.tty.then(|| terminal::size().unwrap_or(USUAL)),
        stdin: args.interactive,
        env: secrets.collect(),
        user: args.user,
        working_dir: args.workdir,
    };
    let call = session.client.open(Request::Exec(request)).await?;
    let raw = if args.tty && args.interactive {
        Some(RawMode::enter(Raw::Full)?)
    } else {
        None
    };
    let streams = Streams {
        stdin: if args.interactive {
            Stdin::PassedOn
        } else {
            Stdin::Off
        },
        detach: None,
        greeting: None,
        signals: SignalMeaning::PassOn,
    };
    let joined = join(context, call, streams).await;
    drop(raw);
    Ok(match joined? {
        Joined::Ended(ExecResult { exit: Some(status) }) => Exit::of_command(status),
        Joined::Ended(ExecResult { exit: None }) | Joined::Detached => Exit::Ok,
        Joined::Interrupted => Exit::Interrupted,
    })
}

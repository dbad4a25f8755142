//! `attach`: connect this terminal to a running service.

use harness_wire::message::{AttachRequest, ExecResult, Purpose, Request};

use super::streams::{Joined, SignalMeaning, Stdin, Streams, join};
use crate::cli::args::AttachArgs;
use crate::cli::context::{Autostart, Context};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::keys::DetachKeys;
use crate::cli::terminal::{self, Raw, RawMode};

pub(crate) async fn run(context: &Context, args: AttachArgs) -> Result<Exit, CliError> {
    let ui = &context.ui;
    let keys = DetachKeys::parse(&args.detach_keys)?;
    let stdin = !args.no_stdin;
    let typed = stdin && ui.in_tty;
    let session = context.connect(Autostart::Yes).await?;
    let request = AttachRequest {
        project: context.meant(&session, Purpose::Change).await?,
        service: args.service.clone(),
        terminal: terminal::size(),
        stdin,
    };
    let call = session.client.open(Request::Attach(request)).await?;
    let how = if typed {
        args.detach_keys.as_str()
    } else {
        "ctrl-c"
    };
    let raw = if typed {
        Some(RawMode::enter(Raw::ButLines)?)
    } else {
        None
    };
    let streams = Streams {
        stdin: if stdin { Stdin::LeftOpen } else { Stdin::Off },
        detach: typed.then_some(keys),
        greeting: Some(format!(
            "attached to {}; {how} detaches, and the service keeps running\n",
            args.service
        )),
        signals: SignalMeaning::Detach,
    };
    let joined = join(context, call, streams).await;
    drop(raw);
    match joined? {
        Joined::Ended(ExecResult { exit: Some(status) }) => {
            ui.note(&format!("{} {status}\n", args.service))?;
            Ok(Exit::of_command(status))
        }
        Joined::Ended(ExecResult { exit: None }) | Joined::Detached => {
            ui.note(&format!("\ndetached; {} keeps running\n", args.service))?;
            Ok(Exit::Ok)
        }
        Joined::Interrupted => {
            ui.note(&format!("\ndetached; {} keeps running\n", args.service))?;
            Ok(Exit::Interrupted)
        }
    }
}

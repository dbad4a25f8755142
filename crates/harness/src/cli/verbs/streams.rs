//! What `exec` and `attach` share: passing bytes both ways until the process ends or the user detaches.

use std::io;

use async_signal::Signal;
use futures_lite::{AsyncReadExt as _, future};
use harness_wire::message::{Channel, Event, ExecResult, Response};

use crate::cli::backend::{Call, CallHandle, ClientError, Item};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::keys::DetachKeys;
use crate::cli::signals::Incoming;
use crate::cli::terminal;

/// How to pass the bytes.
pub(crate) struct Streams {
    /// What of stdin is passed on.
    pub(crate) stdin: Stdin,
    /// The keys in stdin that detach.
    pub(crate) detach: Option<DetachKeys>,
    /// What to print once the far side is connected.
    pub(crate) greeting: Option<String>,
    /// What to do with signals that ask this process to end.
    pub(crate) signals: SignalMeaning,
}

/// What of stdin is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stdin {
    /// Nothing.
    Off,
    /// All of it, and its end.
    PassedOn,
    /// All of it, but not its end: the service's stdin stays open.
    LeftOpen,
}

/// What signals to this process mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignalMeaning {
    /// Pass them on to the far process.
    PassOn,
    /// Detach.
    Detach,
}

/// How it ended.
#[derive(Debug)]
pub(crate) enum Joined {
    /// The process ended, or the daemon detached us.
    Ended(ExecResult),
    /// The keys were typed.
    Detached,
    /// A signal made us detach.
    Interrupted,
}

enum Happened {
    Item(Result<Item, ClientError>),
    Signal(Signal),
    Stdin(Result<bool, CliError>),
}

/// Passes bytes both ways until the process ends or the user detaches.
///
/// # Errors
/// When the connection breaks, or the output cannot be written.
pub(crate) async fn join(context: &Context, mut call: Call, streams: Streams) -> Result<Joined, CliError> {
    let mut signals = Incoming::ending_and_resize()?;
    let handle = call.handle();
    let mut typing = Box::pin(pump(handle.clone(), streams.detach));
    let mut open = streams.stdin != Stdin::Off;
    loop {
        let item = async { Happened::Item(call.next().await) };
        let signal = async { Happened::Signal(signals.next().await) };
        let stdin = async {
            if open {
                Happened::Stdin((&mut typing).await)
            } else {
                future::pending().await
            }
        };
        match future::or(item, future::or(signal, stdin)).await {
            Happened::Item(item) => match item? {
                Item::Data { channel, payload } => show(context, channel, &payload)?,
                Item::Response(response) => {
                    return match *response {
                        Response::Exec(result) => Ok(Joined::Ended(result)),
                        _ => Err(CliError::Unexpected { verb: "exec" }),
                    };
                }
                Item::Event(event) => {
                    if let (Event::Opened {}, Some(greeting)) = (*event, &streams.greeting) {
                        context.ui.note(greeting)?;
                    }
                }
            },
            Happened::Stdin(Ok(true)) => {
                handle.cancel()?;
                return Ok(Joined::Detached);
            }
            Happened::Stdin(Ok(false)) => {
                open = false;
                if streams.stdin == Stdin::PassedOn {
                    handle.close_stdin()?;
                }
            }
            Happened::Stdin(Err(error)) => return Err(error),
            Happened::Signal(Signal::Winch) => {
                if let Some(size) = terminal::size() {
                    handle.resize(size)?;
                }
            }
            Happened::Signal(signal) => match streams.signals {
                SignalMeaning::PassOn => handle.signal(signal as i32)?,
                SignalMeaning::Detach => {
                    handle.cancel()?;
                    return Ok(Joined::Interrupted);
                }
            },
        }
    }
}

/// Sends stdin until it ends (`false`) or the keys are typed (`true`).
async fn pump(handle: CallHandle, mut detach: Option<DetachKeys>) -> Result<bool, CliError> {
    let mut stdin = smol::Unblock::new(io::stdin());
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = stdin
            .read(&mut buffer)
            .await
            .map_err(CliError::io("read", "stdin"))?;
        if read == 0 {
            return Ok(false);
        }
        let bytes = &buffer[..read];
        let (forward, let_go) = match &mut detach {
            Some(keys) => {
                let typed = keys.typed(bytes);
                (typed.forward, typed.detach)
            }
            None => (bytes.to_vec(), false),
        };
        if !forward.is_empty() {
            handle.send_stdin(&forward).await?;
        }
        if let_go {
            return Ok(true);
        }
    }
}

fn show(context: &Context, channel: Channel, payload: &[u8]) -> Result<(), CliError> {
    match channel {
        Channel::Stderr => context.ui.err_raw(payload),
        Channel::Stdout => context.ui.out_raw(payload),
        Channel::Stdin | Channel::Log => Ok(()),
    }
}

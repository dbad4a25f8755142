//! Signals this process is sent while it waits.

use async_signal::{Signal, Signals};
use futures_lite::StreamExt as _;

use super::error::CliError;

/// Signals that come in as values instead of ending the process.
pub(crate) struct Incoming(Signals);

impl Incoming {
    /// Those that ask a process to end: Ctrl-C, `kill`, a closed terminal.
    ///
    /// # Errors
    /// When they cannot be caught.
    pub(crate) fn ending() -> Result<Self, CliError> {
        Self::of(&[Signal::Int, Signal::Term, Signal::Hup])
    }

    /// The same with Ctrl-\: for whoever must not end without a word.
    ///
    /// # Errors
    /// When they cannot be caught.
    pub(crate) fn ending_or_quitting() -> Result<Self, CliError> {
        Self::of(&[Signal::Int, Signal::Term, Signal::Hup, Signal::Quit])
    }

    /// Those that ask a process to end, and news of the terminal's size.
    ///
    /// # Errors
    /// When they cannot be caught.
    pub(crate) fn ending_and_resize() -> Result<Self, CliError> {
        Self::of(&[Signal::Int, Signal::Term, Signal::Hup, Signal::Winch])
    }

    fn of(signals: &[Signal]) -> Result<Self, CliError> {
        Signals::new(signals)
            .map(Self)
            .map_err(CliError::io("catch", "signals"))
    }

    /// The next one.
    pub(crate) async fn next(&mut self) -> Signal {
        loop {
            match self.0.next().await {
                Some(Ok(signal)) => return signal,
                Some(Err(_)) => {}
                None => futures_lite::future::pending().await,
            }
        }
    }
}

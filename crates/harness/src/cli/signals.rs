//! Signals that this process receives while it waits.

use async_signal::{Signal, Signals};
use futures_lite::StreamExt as _;

use super::error::CliError;

/// Receives signals as values, so that they do not end the process.
pub(crate) struct Incoming(Signals);

impl Incoming {
    /// The signals that ask a process to end: Ctrl-C, `kill`, a closed terminal.
    ///
    /// # Errors
    /// When they cannot be caught.
    pub(crate) fn ending() -> Result<Self, CliError> {
        Self::of(&[Signal::Int, Signal::Term, Signal::Hup])
    }

    /// Like [`Self::ending`], plus Ctrl-\: for verbs that must clean up before they end.
    ///
    /// # Errors
    /// When they cannot be caught.
    pub(crate) fn ending_or_quitting() -> Result<Self, CliError> {
        Self::of(&[Signal::Int, Signal::Term, Signal::Hup, Signal::Quit])
    }

    /// The signals that ask a process to end, and the one for a new terminal size.
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

    /// Waits for the next signal.
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

//! The terminal: its size, raw mode, and yes-or-no questions.

use std::io::{BufRead as _, stdin, stdout};

use harness_wire::message::TerminalSize;
use rustix::termios::{InputModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use super::error::CliError;
use super::signals::Incoming;
use super::ui::Ui;

/// The size of this process's terminal, if it has one.
pub(crate) fn size() -> Option<TerminalSize> {
    let size = tcgetwinsize(stdout()).or_else(|_| tcgetwinsize(stdin())).ok()?;
    Some(TerminalSize {
        columns: size.ws_col,
        rows: size.ws_row,
    })
}

/// How many columns a line may have on this terminal. No limit if the size is unknown.
pub(crate) fn columns() -> usize {
    match size() {
        Some(TerminalSize { columns, .. }) if columns > 0 => columns.into(),
        _ => usize::MAX,
    }
}

/// How much of the terminal's own processing is turned off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Raw {
    /// Everything: a terminal at the far end does it.
    Full,
    /// Everything but line breaks: the far end may be pipes, which do not convert line breaks.
    ButLines,
}

/// Keeps the terminal in raw mode until dropped.
pub(crate) struct RawMode(Termios);

impl RawMode {
    /// Turns raw mode on.
    ///
    /// # Errors
    /// When stdin is not a terminal.
    pub(crate) fn enter(raw: Raw) -> Result<Self, CliError> {
        let before = tcgetattr(stdin()).map_err(|_| CliError::NoTerminal)?;
        let mut wanted = before.clone();
        wanted.make_raw();
        if raw == Raw::ButLines {
            wanted.output_modes = before.output_modes;
            wanted.input_modes |= before.input_modes & InputModes::ICRNL;
        }
        tcsetattr(stdin(), OptionalActions::Now, &wanted)
            .map_err(|error| CliError::io("set up", "the terminal")(error.into()))?;
        Ok(Self(before))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // If the terminal is gone, there is nothing to restore.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.0);
    }
}

/// Asks a question on stderr. Returns `default` if the answer is only a return, the end of input, or a signal.
///
/// # Errors
/// When stderr cannot be written.
pub(crate) async fn confirm(
    question: &str,
    default: bool,
    ui: &Ui,
    signals: &mut Incoming,
) -> Result<bool, CliError> {
    ui.err(&format!("{question} [{}] ", if default { "Y/n" } else { "y/N" }))?;
    let answer = smol::unblock(|| {
        let mut line = String::new();
        stdin().lock().read_line(&mut line).map(|_| line)
    });
    let interrupted = async {
        signals.next().await;
        Ok(String::new())
    };
    let answer = futures_lite::future::or(answer, interrupted)
        .await
        .unwrap_or_default();
    if !answer.ends_with('\n') {
        ui.err("\n")?;
    }
    Ok(meant(&answer, default))
}

fn meant(answer: &str, default: bool) -> bool {
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => true,
        "n" | "no" => false,
        _ => default,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_answer_changes_the_default() {
        assert!(meant("Y\n", false));
        assert!(!meant("no\n", true));
        assert!(meant("\n", true));
        assert!(!meant("what?\n", false));
    }
}

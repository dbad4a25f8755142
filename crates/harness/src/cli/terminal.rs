//! The terminal: its size, raw mode, and a question.

use std::io::{BufRead as _, stdin, stdout};

use harness_wire::message::TerminalSize;
use rustix::termios::{InputModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use super::error::CliError;
use super::signals::Incoming;
use super::ui::Ui;

/// The size of the terminal we are on, if we are on one.
pub(crate) fn size() -> Option<TerminalSize> {
    let size = tcgetwinsize(stdout()).or_else(|_| tcgetwinsize(stdin())).ok()?;
    Some(TerminalSize {
        columns: size.ws_col,
        rows: size.ws_row,
    })
}

/// How many columns a line may have on the terminal we are on; no limit where that cannot be told.
pub(crate) fn columns() -> usize {
    match size() {
        Some(TerminalSize { columns, .. }) if columns > 0 => columns.into(),
        _ => usize::MAX,
    }
}

/// How much of the terminal's own doing is turned off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Raw {
    /// Everything: another terminal does it at the far end.
    Full,
    /// All but line breaks: the far end may be pipes, which know nothing of terminals.
    ButLines,
}

/// Raw mode, for as long as this lives.
pub(crate) struct RawMode(Termios);

impl RawMode {
    /// Turns it on.
    ///
    /// # Errors
    /// When stdin is no terminal.
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
        // If the terminal is gone there is nothing to restore.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.0);
    }
}

/// Asks a question on stderr; `default` if the answer is a bare return, the end of input, or a signal.
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

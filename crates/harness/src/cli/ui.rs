//! Output: results go to stdout, everything else to stderr, with or without colours.

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;
use serde_json::{Value, json};

use super::args::Globals;
use super::error::CliError;
use super::exit::Exit;
use super::render::{Style, harmless};

/// How this process writes output.
#[derive(Debug, Clone)]
pub(crate) struct Ui {
    /// Write only JSON to stdout.
    pub(crate) json: bool,
    /// Print only errors.
    pub(crate) quiet: bool,
    /// Print more than usual.
    pub(crate) verbose: bool,
    /// stdin is a terminal.
    pub(crate) in_tty: bool,
    /// stdout is a terminal.
    pub(crate) out_tty: bool,
    /// stderr is a terminal.
    pub(crate) err_tty: bool,
    /// Use colours on stdout.
    pub(crate) out_colour: bool,
    /// Use colours on stderr.
    pub(crate) err_colour: bool,
    project: Option<String>,
    /// The `-p` or `-c` options as they were given, for commands that we suggest.
    chosen: String,
}

impl Ui {
    /// Chooses the output for these options and this process's streams.
    pub(crate) fn new(globals: &Globals) -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colour = !globals.no_color && !set("NO_COLOR") && !dumb;
        let (out_tty, err_tty) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        Self {
            json: globals.json,
            quiet: globals.quiet,
            verbose: globals.verbose,
            in_tty: io::stdin().is_terminal(),
            out_tty,
            err_tty: err_tty && !dumb,
            out_colour: colour && out_tty,
            err_colour: colour && err_tty,
            project: globals.project.as_ref().map(ToString::to_string),
            chosen: chosen(globals),
        }
    }

    /// No terminal and no colours.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self {
            json: false,
            quiet: false,
            verbose: false,
            in_tty: false,
            out_tty: false,
            err_tty: false,
            out_colour: false,
            err_colour: false,
            project: None,
            chosen: String::new(),
        }
    }

    /// The project given with `-p`.
    pub(crate) fn project(&self) -> Option<&str> {
        self.project.as_deref()
    }

    /// A command to suggest, such as `harness logs api`, with the `-p` or `-c` options that were given.
    pub(crate) fn command(&self, words: &str) -> String {
        format!("harness {}{words}", self.chosen)
    }

    /// Styles for stdout.
    pub(crate) fn out_style(&self) -> Style {
        Style::new(self.out_colour)
    }

    /// Styles for stderr.
    pub(crate) fn err_style(&self) -> Style {
        Style::new(self.err_colour)
    }

    /// Writes results to stdout, for people.
    ///
    /// # Errors
    /// When stdout cannot be written: [`CliError::OutputClosed`] if its reader is gone.
    pub(crate) fn out(&self, text: &str) -> Result<(), CliError> {
        self.out_raw(harmless::words(text).as_bytes())
    }

    /// Writes text that a program may read (a script, variables) to stdout: unchanged, unless stdout is a terminal.
    ///
    /// # Errors
    /// As [`Self::out`].
    pub(crate) fn out_exact(&self, text: &str) -> Result<(), CliError> {
        if self.out_tty {
            self.out(text)
        } else {
            self.out_raw(text.as_bytes())
        }
    }

    /// Writes bytes unchanged, also to a terminal. Only for the user's own session with a program, and for text that
    /// is known to be harmless.
    ///
    /// # Errors
    /// As [`Self::out`].
    pub(crate) fn out_raw(&self, bytes: &[u8]) -> Result<(), CliError> {
        let mut out = io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(written)
    }

    /// Writes a value to stdout as one line of JSON.
    ///
    /// # Errors
    /// As [`Self::out`].
    pub(crate) fn out_json(&self, value: &impl Serialize) -> Result<(), CliError> {
        let text = serde_json::to_string(value).map_err(|error| CliError::Output(error.into()))?;
        self.out_raw(format!("{}\n", harmless::json(text)).as_bytes())
    }

    /// Writes a value to stdout as indented JSON. For a single result, not for streams.
    ///
    /// # Errors
    /// As [`Self::out`].
    pub(crate) fn out_json_pretty(&self, value: &impl Serialize) -> Result<(), CliError> {
        let text = serde_json::to_string_pretty(value).map_err(|error| CliError::Output(error.into()))?;
        self.out_raw(format!("{}\n", harmless::json(text)).as_bytes())
    }

    /// Writes text about a result: to stdout, or to stderr with `--json`. Nothing with `-q`.
    ///
    /// # Errors
    /// As [`Self::out`].
    pub(crate) fn say(&self, text: &str) -> Result<(), CliError> {
        match (self.quiet, self.json) {
            (true, _) => Ok(()),
            (false, true) => self.err(text),
            (false, false) => self.out(text),
        }
    }

    /// Writes progress and notes to stderr. Nothing with `-q`.
    ///
    /// # Errors
    /// When stderr cannot be written.
    pub(crate) fn note(&self, text: &str) -> Result<(), CliError> {
        if self.quiet { Ok(()) } else { self.err(text) }
    }

    /// Writes to stderr, also with `-q`.
    ///
    /// # Errors
    /// When stderr cannot be written.
    pub(crate) fn err(&self, text: &str) -> Result<(), CliError> {
        self.err_raw(harmless::words(text).as_bytes())
    }

    /// Writes bytes unchanged to stderr: see [`Self::out_raw`].
    ///
    /// # Errors
    /// When stderr cannot be written.
    pub(crate) fn err_raw(&self, bytes: &[u8]) -> Result<(), CliError> {
        io::stderr().lock().write_all(bytes).map_err(written)
    }
}

fn chosen(globals: &Globals) -> String {
    match &globals.project {
        Some(project) => format!("-p {project} "),
        None => globals
            .config
            .iter()
            .map(|file| format!("-c {} ", file.display()))
            .collect(),
    }
}

/// A result as JSON for programs, with an `error` field if something went wrong.
#[derive(Debug, Serialize)]
pub(crate) struct WithError<'a, T> {
    #[serde(flatten)]
    result: &'a T,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Value>,
}

impl<'a, T> WithError<'a, T> {
    /// Adds the error only if the exit code is not 0.
    pub(crate) fn new(result: &'a T, exit: Exit, code: &str, message: &str) -> Self {
        let error = || json!({ "code": code, "message": message, "hint": null, "exit_code": exit.code() });
        Self {
            result,
            error: (exit != Exit::Ok).then(error),
        }
    }
}

fn written(error: io::Error) -> CliError {
    if error.kind() == io::ErrorKind::BrokenPipe {
        CliError::OutputClosed
    } else {
        CliError::Output(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggested_commands_mean_the_same_project() {
        let mut globals = Globals {
            config: vec!["a.yaml".into(), "b.yaml".into()],
            ..Globals::default()
        };
        assert_eq!(
            Ui::new(&globals).command("status"),
            "harness -c a.yaml -c b.yaml status"
        );
        globals.project = harness_model::ProjectName::new("shop").ok();
        assert_eq!(Ui::new(&globals).command("status"), "harness -p shop status");
    }
}

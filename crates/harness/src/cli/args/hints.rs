//! What clap cannot know about its errors: the words of other tools, and that a value came from a variable.

use std::ffi::{OsStr, OsString};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, Error};
use harness_model::foreign::shown;

/// The variable that stands for `--port`.
pub(super) const PORT_VARIABLE: &str = "HARNESS_PORT";

/// What other tools call our verbs.
const ELSEWHERE: [(&str, &str); 20] = [
    ("up", "start"),
    ("begin", "start"),
    ("launch", "start"),
    ("reload", "start"),
    ("update", "start"),
    ("apply", "start"),
    ("deploy", "start"),
    ("down", "stop"),
    ("kill", "stop"),
    ("rm", "stop"),
    ("delete", "stop"),
    ("ps", "status"),
    ("ls", "status"),
    ("list", "status"),
    ("top", "status"),
    ("log", "logs"),
    ("tail", "logs"),
    ("sh", "exec"),
    ("check", "validate"),
    ("lint", "validate"),
];

/// The error of a command line with these words, with the verb that is meant, or the variable that is wrong.
pub(super) fn explained(mut error: Error, words: &[OsString], command: &mut Command) -> Error {
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            if let Some(ours) =
                invalid(&error, ContextKind::InvalidSubcommand).and_then(|theirs| verb(&theirs))
            {
                let ours = ContextValue::Strings(vec![ours.to_owned()]);
                error.insert(ContextKind::SuggestedSubcommand, ours);
            }
            error
        }
        ErrorKind::ValueValidation => {
            let variable = std::env::var_os(PORT_VARIABLE);
            let about_port =
                invalid(&error, ContextKind::InvalidArg).is_some_and(|arg| arg.starts_with("--port"));
            match variable {
                Some(port) if about_port && !has_port(words) => {
                    command.error(ErrorKind::ValueValidation, bad_port(&port))
                }
                _ => error,
            }
        }
        _ => error,
    }
}

/// That the variable is no port.
fn bad_port(port: &OsStr) -> String {
    format!(
        "the variable {PORT_VARIABLE} is `{}`, which is not a port: set it to a number from 0 to 65535, or unset it",
        shown(&port.to_string_lossy())
    )
}

fn verb(theirs: &str) -> Option<&'static str> {
    ELSEWHERE
        .iter()
        .find(|(word, _)| *word == theirs)
        .map(|(_, ours)| *ours)
}

/// Whether the option is given.
pub(super) fn has_port(words: &[OsString]) -> bool {
    let options = words.iter().take_while(|word| *word != "--");
    options
        .map(|word| word.as_encoded_bytes())
        .any(|word| word.starts_with(b"--port"))
}

fn invalid(error: &Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Cli;

    #[test]
    fn the_words_of_other_tools_are_none_of_ours_and_name_one_of_ours() {
        let command = Cli::clap_command();
        for (theirs, ours) in ELSEWHERE {
            assert!(command.find_subcommand(theirs).is_none(), "{theirs}");
            assert!(command.find_subcommand(ours).is_some(), "{ours}");
            let words = ["harness", theirs].map(OsString::from);
            let error = Cli::clap_command().try_get_matches_from(&words).unwrap_err();
            let said = explained(error, &words, &mut Cli::clap_command()).to_string();
            assert!(said.contains(&format!("'{ours}'")), "{said}");
        }
    }
}

//! Makes the CLI reference, `docs/cli-reference.md`, from clap's help.

use clap::{Arg, Command};

use super::args::Cli;

/// The text of `docs/cli-reference.md`: every verb with its arguments, and the exit codes.
pub fn cli_reference_markdown() -> String {
    let mut command = Cli::clap_command();
    command.build();
    let mut out = String::from("# harness, the command line\n\n");
    out.push_str("Generated from the program's own help; do not edit.\n\n");
    about(&command, &mut out);
    out.push_str("## Global options\n\nThey may be given before or after the verb.\n\n");
    arguments(
        command.get_arguments().filter(|arg| arg.is_global_set()),
        &mut out,
    );
    out.push_str(EXIT_CODES);
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        section(verb, "harness", &mut out);
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

const EXIT_CODES: &str = "\
## Exit codes

| code | meaning |
|---|---|
| 0 | ok |
| 1 | error |
| 2 | wrong usage, or an invalid file |
| 3 | not running |
| 4 | no such service |
| 17 | `--timeout` passed; the services continue |
| 18 | a service failed, or was not up within its `startup_timeout` |
| 19 | a place could not be reached for 30 s (such as a Docker engine that is away); what was asked is done when it is back |
| 130 | interrupted |

`run`, `exec` and `attach` end with the exit code of the command. If a signal ended the command, the code is 128
plus the signal's number. `run` and `exec` end with 127 if the command does not exist, and with 126 if it cannot
be run.

";

fn section(verb: &Command, parent: &str, out: &mut String) {
    let name = format!("{parent} {}", verb.get_name());
    if verb.has_subcommands() {
        for inner in verb.get_subcommands().filter(|inner| !inner.is_hide_set()) {
            section(inner, &name, out);
        }
        return;
    }
    let usage = verb.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim();
    out.push_str(&format!("## `{name}`\n\n"));
    about(verb, out);
    out.push_str(&format!("```text\n{usage}\n```\n\n"));
    arguments(verb.get_arguments().filter(|arg| !arg.is_global_set()), out);
}

fn about(command: &Command, out: &mut String) {
    if let Some(about) = command.get_long_about().or_else(|| command.get_about()) {
        out.push_str(&format!("{about}.\n\n").replace("..\n", ".\n"));
    }
}

fn arguments<'a>(arguments: impl Iterator<Item = &'a Arg>, out: &mut String) {
    let shown: Vec<&Arg> = arguments
        .filter(|arg| !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str()))
        .collect();
    if shown.is_empty() {
        return;
    }
    out.push_str("| argument | meaning |\n|---|---|\n");
    for arg in shown {
        out.push_str(&format!("| {} | {} |\n", spelling(arg), meaning(arg)));
    }
    out.push('\n');
}

fn spelling(arg: &Arg) -> String {
    let value = arg
        .get_value_names()
        .and_then(|names| names.first())
        .map(ToString::to_string);
    let mut ways = Vec::new();
    if let Some(short) = arg.get_short() {
        ways.push(format!("`-{short}`"));
    }
    if let Some(long) = arg.get_long() {
        ways.push(format!("`--{long}`"));
    }
    let takes_value = arg.get_action().takes_values();
    match (ways.is_empty(), value) {
        (true, Some(value)) => format!("`{value}`"),
        (true, None) => format!("`{}`", arg.get_id().as_str().to_uppercase()),
        (false, Some(value)) if takes_value => format!("{} `{value}`", ways.join(", ")),
        (false, _) => ways.join(", "),
    }
}

fn meaning(arg: &Arg) -> String {
    let mut text = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let choices: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| match value.get_help() {
            Some(help) => format!("`{}` ({help})", value.get_name()),
            None => format!("`{}`", value.get_name()),
        })
        .collect();
    if arg.get_action().takes_values() && !choices.is_empty() {
        text.push_str(&format!(": {}", choices.join(", ")));
    }
    let told = arg.get_action().takes_values() && !arg.is_hide_default_value_set();
    if let Some(default) = arg.get_default_values().first().filter(|_| told) {
        text.push_str(&format!("; default `{}`", default.to_string_lossy()));
    }
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_is_in_the_reference() {
        let text = cli_reference_markdown();
        for verb in ["start", "service show", "daemon install", "completions", "doctor"] {
            assert!(text.contains(&format!("## `harness {verb}`")), "{verb}");
        }
        assert!(!text.contains("__complete-services"));
        assert!(
            text.contains("| `--for` `STATE` | What to wait for: `ready` (Up"),
            "{text}"
        );
        assert!(text.contains("| `-d`, `--detach` |"), "{text}");
        assert!(!text.contains("default `false`"), "{text}");
    }
}

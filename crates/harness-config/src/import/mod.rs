//! A first services.yaml from what a folder already has: a compose file, a Procfile, a package.json, or nothing.

mod compose;
mod emit;
mod package;
mod procfile;

use std::collections::BTreeSet;

use harness_model::{ProjectName, ServiceName};

pub use compose::from_compose;
pub(crate) use emit::{literal, scalar};
pub use package::from_package_json;
pub use procfile::from_procfile;

use crate::diagnostics::Diagnostics;

/// Why a file cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is not YAML.
    #[error("{0}")]
    NotYaml(Diagnostics),
    /// It is not JSON.
    #[error("it is not valid JSON")]
    NotJson(#[from] serde_json::Error),
    /// What would be made of it is not valid.
    #[error("the services.yaml made from it would not be valid:\n{0}")]
    Invalid(Diagnostics),
    /// It describes no service.
    #[error("it has no services")]
    NoServices,
    /// A package.json without a script to start from.
    #[error("it has no script called `dev`, `start`, `serve` or `watch`")]
    NoScript,
    /// Two lines of a Procfile have one name.
    #[error("line {line} is called `{name}`, and so is line {first}: give each line its own name")]
    Twice {
        /// The name.
        name: ServiceName,
        /// The earlier line, from 1.
        first: usize,
        /// The later one.
        line: usize,
    },
    /// A line of a Procfile is not `name: command`.
    #[error("line {line} is not `name: command`")]
    BadLine {
        /// The line, from 1.
        line: usize,
    },
}

/// The path of the JSON Schema that the first line of a new services.yaml gives to editors, relative to the file.
pub const SCHEMA_FILE: &str = "services.schema.json";

/// The first lines of every imported file.
fn header() -> String {
    format!(
        "# yaml-language-server: $schema={SCHEMA_FILE}\n# `harness schema > {SCHEMA_FILE}` writes the \
            schema that editors use for completion.\n\nversion: \"1.0\"\n"
    )
}

/// `binary` and `args` of a service that is a command for a shell.
fn in_shell(lines: &mut emit::Lines, command: &str) {
    lines.put(2, "binary", "sh");
    // The shell's own `${…}` must reach the shell.
    lines.put(
        2,
        "args",
        &format!("[\"-c\", {}]", emit::quoted(&emit::literal(command))),
    );
}

/// A name that a service may have, as near as can be to one that something else has.
fn service_name(name: &str) -> String {
    if ServiceName::new(name).is_ok() {
        return name.to_owned();
    }
    ProjectName::from_lossy(name).to_string()
}

/// The name, with a number behind it where another service has it.
fn unique(name: &str, names: &mut BTreeSet<String>) -> String {
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    let mut candidates = std::iter::once(name.to_owned()).chain(numbered);
    let free = candidates.find(|name| names.insert(name.clone()));
    free.unwrap_or_else(|| name.to_owned())
}

/// A small services.yaml that starts on any machine with `sh`. The name is changed to a valid one if needed.
pub fn starter(name: &str) -> String {
    format!(
        "{}name: {}\n{STARTER}",
        header(),
        emit::scalar(ProjectName::from_lossy(name).as_str())
    )
}

const STARTER: &str = r#"
services:
  # A oneshot is done when it exits 0. Services that depend on it start then.
  prepare:
    type: process
    binary: sh
    args: ["-c", "echo everything is prepared"]
    oneshot: true

  # This one keeps running. It is healthy once it has printed its first line.
  clock:
    type: process
    binary: sh
    args: ["-c", "echo \"$GREETING, the clock is ticking\"; while :; do sleep 5; date; done"]
    env:
      GREETING: "${GREETING:-hello}"
    dependencies:
      - prepare
    health_check:
      log: "the clock is ticking"
    restart: on-failure
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_starter_has_a_valid_name_whatever_the_folder_is_called() {
        for (folder, name) in [
            ("My App", "my-app"),
            ("", "project"),
            ("2026", "\"2026\""),
            ("true", "\"true\""),
        ] {
            assert!(starter(folder).contains(&format!("\nname: {name}\n")), "{folder}");
        }
    }
}

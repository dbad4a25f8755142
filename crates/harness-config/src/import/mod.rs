//! Makes a first services.yaml from what a folder already has: a compose file, a Procfile, or nothing.

mod compose;
mod emit;
mod procfile;

use harness_model::ProjectName;

pub use compose::from_compose;
pub use procfile::from_procfile;

use crate::diagnostics::Diagnostics;

/// Why a file cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is not YAML.
    #[error("{0}")]
    NotYaml(Diagnostics),
    /// It has no services.
    #[error("it has no services")]
    NoServices,
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

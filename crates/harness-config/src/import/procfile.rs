//! Procfiles: `name: command`, where a shell runs the command.
//!
//! Those who run Procfiles give each line a port of its own in `PORT`: the first one that of `.env`, else 5000, and each
//! further line 100 more. All variables of `.env`, and all of their own environment, are every line's.

use std::collections::BTreeMap;

use harness_model::ServiceName;

use super::emit::{Lines, quoted};
use super::{ImportError, header, in_shell};
use crate::env_file::{self, Dollar, Value};
use crate::source::Sources;

/// The first line's port, and the distance between ports.
const FIRST_PORT: usize = 5000;
const APART: usize = 100;

/// A services.yaml for a Procfile, and for the text of the `.env` beside it.
///
/// # Errors
/// When a line is not `name: command`, two have the same name, or there is none.
pub fn from_procfile(text: &str, dotenv: Option<&str>) -> Result<String, ImportError> {
    let mut lines = Lines::default();
    let first_port = dotenv.and_then(port).unwrap_or(FIRST_PORT);
    let mut seen: BTreeMap<ServiceName, usize> = BTreeMap::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let bad = || ImportError::BadLine { line: index + 1 };
        let (name, command) = line.split_once(':').ok_or_else(bad)?;
        let (name, command) = (name.trim(), command.trim());
        if command.is_empty() || command.contains('\0') {
            return Err(bad());
        }
        let name = ServiceName::new(name).map_err(|_| bad())?;
        let port = u16::try_from(first_port + APART * seen.len()).ok();
        if let Some(first) = seen.insert(name.clone(), index + 1) {
            return Err(ImportError::Twice {
                name,
                first,
                line: index + 1,
            });
        }
        lines.put(1, name.as_str(), "");
        lines.put(2, "type", "process");
        if let Some(port) = port.filter(|_| command.contains("$PORT") || command.contains("${PORT")) {
            lines.put(2, "ports", &format!("[{port}]"));
        }
        if dotenv.is_some() {
            lines.put(2, "env_file", ".env");
        }
        if let Some(port) = port {
            lines.put(2, "env", &format!("{{PORT: {}}}", quoted(&port.to_string())));
        }
        in_shell(&mut lines, command);
    }
    if seen.is_empty() {
        return Err(ImportError::NoServices);
    }
    Ok(format!(
        "{}\n# From a Procfile: each line runs in a shell, with your whole environment and a PORT of its own, as it did there.\nsettings:\n  inherit_env: true\n\nservices:\n{}",
        header(),
        lines.finish()
    ))
}

/// The `PORT` of a `.env`.
fn port(dotenv: &str) -> Option<usize> {
    let sources = Sources::default();
    let file = sources.add(".env".into(), Default::default(), dotenv.to_owned());
    let lines = env_file::lines(&sources, file, Dollar::Literal, &mut Vec::new());
    let last = lines.into_iter().rfind(|line| line.name == "PORT")?;
    match last.value {
        Value::Literal(port) | Value::Text(port) => port.parse::<u16>().ok().map(usize::from),
        Value::Inherited | Value::Unreadable => None,
    }
}

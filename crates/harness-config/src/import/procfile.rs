//! Procfiles: `name: command`, where a shell runs the command.
//!
//! Programs that run Procfiles give each line its own port in `PORT`: 5000 for the first, 5100 for the second, and so
//! on.

use harness_model::ServiceName;

use super::emit::{Lines, quoted};
use super::{ImportError, header};

/// The first line's port, and the distance between ports.
const FIRST_PORT: usize = 5000;
const APART: usize = 100;

/// A services.yaml for a Procfile.
///
/// # Errors
/// When a line is not `name: command`, or there are no lines.
pub fn from_procfile(text: &str) -> Result<String, ImportError> {
    let mut lines = Lines::default();
    let mut count = 0;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let bad = || ImportError::BadLine { line: index + 1 };
        let (name, command) = line.split_once(':').ok_or_else(bad)?;
        let (name, command) = (name.trim(), command.trim());
        if ServiceName::new(name).is_err() || command.is_empty() || command.contains('\0') {
            return Err(bad());
        }
        lines.put(1, name, "");
        lines.put(2, "type", "process");
        lines.put(2, "binary", "sh");
        let port = u16::try_from(FIRST_PORT + APART * count).ok();
        count += 1;
        if let Some(port) = port {
            if command.contains("$PORT") || command.contains("${PORT") {
                lines.put(2, "ports", &format!("[{port}]"));
            }
            lines.put(2, "env", &format!("{{PORT: \"{port}\"}}"));
        }
        // The shell's own `${…}` must reach the shell.
        let command = command.replace("$$", "$$$$").replace("${", "$${");
        lines.put(2, "args", &format!("[\"-c\", {}]", quoted(&command)));
    }
    if count == 0 {
        return Err(ImportError::NoServices);
    }
    Ok(format!(
        "{}\n# From a Procfile: each line runs in a shell and has its own PORT, as it did there.\nservices:\n{}",
        header(),
        lines.finish()
    ))
}

//! Procfiles: `name: command`, the command being a shell's.

use harness_model::ServiceName;

use super::emit::{Lines, quoted};
use super::{ImportError, header};

/// A services.yaml for a Procfile.
///
/// # Errors
/// When a line is not `name: command`, or there is none.
pub fn from_procfile(text: &str) -> Result<String, ImportError> {
    let mut lines = Lines::default();
    let mut any = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let bad = || ImportError::BadLine { line: index + 1 };
        let (name, command) = line.split_once(':').ok_or_else(bad)?;
        let (name, command) = (name.trim(), command.trim());
        if ServiceName::new(name).is_err() || command.is_empty() {
            return Err(bad());
        }
        any = true;
        lines.put(1, name, "");
        lines.put(2, "type", "process");
        lines.put(2, "binary", "sh");
        // The shell's own `${…}` must reach the shell.
        let command = command.replace("$$", "$$$$").replace("${", "$${");
        lines.put(2, "args", &format!("[\"-c\", {}]", quoted(&command)));
    }
    if !any {
        return Err(ImportError::NoServices);
    }
    Ok(format!(
        "{}\n# From a Procfile: each line runs in a shell, as it did there.\nservices:\n{}",
        header(),
        lines.finish()
    ))
}

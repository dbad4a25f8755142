//! A first services.yaml from what a folder already has: a compose file, a Procfile, or nothing.

/// Why a file cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is not YAML.
    #[error("not a valid compose file: {0}")]
    NotYaml(String),
    /// There is no service in it.
    #[error("there is no service in it")]
    NoServices,
    /// A line of a Procfile is not `name: command`.
    #[error("line {line}: expected `name: command`")]
    BadLine {
        /// The line, from 1.
        line: usize,
    },
}

/// The first lines of every file written by `harness init`.
pub const HEADER: &str = "# yaml-language-server: $schema=./services.schema.json\nversion: \"1.0\"\n";

/// A services.yaml for a docker-compose.yml.
///
/// # Errors
/// When it is not YAML or has no services.
pub fn from_compose(text: &str) -> Result<String, ImportError> {
    let _ = text;
    Err(ImportError::NoServices)
}

/// A services.yaml for a Procfile.
///
/// # Errors
/// When a line is not `name: command`, or there is none.
pub fn from_procfile(text: &str) -> Result<String, ImportError> {
    let _ = text;
    Err(ImportError::NoServices)
}

/// A small services.yaml that starts on any machine with `sh`.
pub fn starter(name: &str) -> String {
    format!("{HEADER}name: {name}\nservices: {{}}\n")
}

//! Values that must never be shown, and the filter for text that may contain them.

mod common;
mod forms;
mod name;
mod redactor;
mod stream;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use common::{Unsearched, unsearched};
pub use name::is_secret_name;
pub use redactor::Redactor;
pub use stream::RedactingStream;

/// Replaces a secret wherever people or logs would see it.
pub const REDACTED: &str = "•••";

/// Secrets shorter than this are not searched for in other text: hiding every `1` or `on` would destroy the text and
/// hide nothing. As a value of its own, a secret of any length is hidden.
pub const MIN_REDACTED_LEN: usize = 4;

/// A value that cannot be printed. Serialization does not hide it, because the stores and connections that carry it
/// are private.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SecretString(String);

impl SecretString {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself. Only for the process that needs it, never to show.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for SecretString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_print() {
        let secret = SecretString::new("hunter2");
        assert_eq!(format!("{secret:?} {secret}"), "••• •••");
    }
}

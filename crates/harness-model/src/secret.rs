//! Values that must never be shown, and the filter for text they might have slipped into.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What stands in place of a secret wherever people or logs read.
pub const REDACTED: &str = "•••";

/// Secrets shorter than this are not searched for in free text: hiding every `1` or `on` would destroy the
/// text and hide nothing. Fields known to be secret are always hidden, whatever their length.
pub const MIN_REDACTED_LEN: usize = 4;

/// A value that cannot be printed. Serialized it is in the clear: stores and wires that carry it are private.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SecretString(String);

impl SecretString {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself: for handing to the process that needs it, never for showing.
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

/// Whether a variable of this name holds a secret unless told otherwise.
///
/// ```
/// use harness_model::secret::is_secret_name;
/// assert!(is_secret_name("POSTGRES_PASSWORD"));
/// assert!(is_secret_name("api_key"));
/// assert!(!is_secret_name("LOG_LEVEL"));
/// assert!(!is_secret_name("KEYBOARD"));
/// ```
pub fn is_secret_name(name: &str) -> bool {
    name.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| {
        let word = word.to_ascii_uppercase();
        [
            "PASSWORD",
            "PASSWD",
            "TOKEN",
            "SECRET",
            "CREDENTIAL",
            "PASSPHRASE",
        ]
        .iter()
        .any(|w| word.contains(w))
            || word == "KEY"
            || word == "KEYS"
            || word.ends_with("APIKEY")
    })
}

/// Replaces known secret values in free text (log lines, probe answers, errors).
#[derive(Clone, Default)]
pub struct Redactor {
    /// Longest first, so that a secret containing another is hidden whole.
    values: Vec<String>,
}

impl Redactor {
    /// A redactor for these values; the ones too short to search for are left out.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a SecretString>) -> Self {
        let mut values: Vec<String> = values
            .into_iter()
            .flat_map(|v| v.expose().split('\n'))
            .map(str::trim_end)
            .filter(|v| v.len() >= MIN_REDACTED_LEN)
            .map(str::to_owned)
            .collect();
        values.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        values.dedup();
        Self { values }
    }

    /// Whether there is nothing to hide.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The text with every known secret replaced by [`REDACTED`].
    pub fn redact(&self, text: &str) -> String {
        let mut out = text.to_owned();
        for value in &self.values {
            if out.contains(value.as_str()) {
                out = out.replace(value.as_str(), REDACTED);
            }
        }
        out
    }

    /// The bytes with every known secret replaced; `None` when there is none in them.
    pub fn redact_bytes(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut out: Option<Vec<u8>> = None;
        for value in &self.values {
            let current = out.as_deref().unwrap_or(bytes);
            if let Some(replaced) = replace_bytes(current, value.as_bytes(), REDACTED.as_bytes()) {
                out = Some(replaced);
            }
        }
        out
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor")
            .field("values", &self.values.len())
            .finish()
    }
}

fn replace_bytes(haystack: &[u8], needle: &[u8], with: &[u8]) -> Option<Vec<u8>> {
    let first = *needle.first()?;
    let mut out: Option<Vec<u8>> = None;
    let (mut copied, mut at) = (0, 0);
    while at + needle.len() <= haystack.len() {
        if haystack[at] == first && haystack[at..].starts_with(needle) {
            let out = out.get_or_insert_with(Vec::new);
            out.extend_from_slice(&haystack[copied..at]);
            out.extend_from_slice(with);
            at += needle.len();
            copied = at;
        } else {
            at += 1;
        }
    }
    if let Some(out) = out.as_mut() {
        out.extend_from_slice(&haystack[copied..]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_print() {
        let secret = SecretString::new("hunter2");
        assert_eq!(format!("{secret:?} {secret}"), "••• •••");
    }

    #[test]
    fn text_and_bytes_are_redacted_longest_first() {
        let secrets = [
            SecretString::new("hunter2"),
            SecretString::new("hunter2-long"),
            SecretString::new("on"),
        ];
        let redactor = Redactor::new(&secrets);
        assert_eq!(redactor.redact("on hunter2-long, hunter2"), "on •••, •••");
        assert_eq!(
            redactor.redact_bytes(b"a hunter2 b").as_deref(),
            Some("a ••• b".as_bytes())
        );
        assert_eq!(redactor.redact_bytes(b"nothing"), None);
    }
}

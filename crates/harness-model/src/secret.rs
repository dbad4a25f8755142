//! Values that must never be shown, and the filter for text they might have slipped into.

mod stream;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use stream::RedactingStream;

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

/// Replaces known secret values in free text (log lines, probe answers, errors). Clones share the values.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Longest first, so that a secret containing another is hidden whole.
    values: Arc<[String]>,
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
        Self {
            values: values.into(),
        }
    }

    /// Whether there is nothing to hide.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The text with every known secret replaced by [`REDACTED`].
    pub fn redact(&self, text: &str) -> String {
        match self.redact_bytes(text.as_bytes()) {
            // Secrets are whole characters, so what is left of the text is too.
            Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            None => text.to_owned(),
        }
    }

    /// The bytes with every known secret replaced; `None` when there is none in them.
    pub fn redact_bytes(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let spans = self.spans(bytes);
        if spans.is_empty() {
            return None;
        }
        let mut out = Vec::with_capacity(bytes.len());
        let mut at = 0;
        for span in spans {
            out.extend_from_slice(&bytes[at..span.start]);
            out.extend_from_slice(REDACTED.as_bytes());
            at = span.end;
        }
        out.extend_from_slice(&bytes[at..]);
        Some(out)
    }

    /// Where secrets stand, in order; those that overlap as one.
    fn spans(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        let mut spans = Vec::new();
        for value in self.values.iter() {
            find(bytes, value.as_bytes(), &mut spans);
        }
        stream::joined(spans)
    }

    /// How many bytes at the end may be the beginning of a secret.
    fn open_end(&self, bytes: &[u8]) -> usize {
        let open = |value: &String| {
            let value = value.as_bytes();
            let longest = bytes.len().min(value.len() - 1);
            (1..=longest)
                .rev()
                .find(|length| bytes.ends_with(&value[..*length]))
        };
        self.values.iter().filter_map(open).max().unwrap_or(0)
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor")
            .field("values", &self.values.len())
            .finish()
    }
}

/// Every place where `needle` stands, those included that overlap.
fn find(haystack: &[u8], needle: &[u8], found: &mut Vec<Range<usize>>) {
    let Some((first, rest)) = needle.split_first() else {
        return;
    };
    let mut at = 0;
    while let Some(step) = haystack[at..].iter().position(|byte| byte == first) {
        let start = at + step;
        if haystack[start + 1..].starts_with(rest) {
            found.push(start..start + needle.len());
        }
        at = start + 1;
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

    #[test]
    fn secrets_that_share_an_end_leave_nothing_of_either() {
        let secrets = [SecretString::new("alpha-omega"), SecretString::new("omega-alpha")];
        let redactor = Redactor::new(&secrets);
        assert_eq!(redactor.redact("alpha-omega-alpha!"), "•••!");
    }
}

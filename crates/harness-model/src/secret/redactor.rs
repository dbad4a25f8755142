//! Finds the values of secrets in text from other programs.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::common::unsearched;
use super::{MIN_REDACTED_LEN, REDACTED, SecretString, forms, stream};

/// Replaces known secret values in text from other programs: output, probe answers, messages of an engine. Finds them
/// also in the forms of JSON, URLs and base64. Values that are very short or common are not searched for
/// ([`unsearched`]). Clones share the values.
///
/// Harness's own messages are built from values that print as [`REDACTED`], so they need no search.
#[derive(Clone, Default)]
pub struct Redactor(Option<Arc<Needles>>);

/// The values to search for. Built again whenever a specification changes, perhaps for a thousand services. An
/// automaton would be as fast, but would take a second to build for that many.
struct Needles {
    /// Sorted by their bytes. None is shorter than [`MIN_REDACTED_LEN`].
    sorted: Vec<Vec<u8>>,
    longest: usize,
    /// A bit set for the beginning of each value, which excludes most other text at once.
    beginnings: Vec<u64>,
}

/// The first bytes of each value.
type Beginning = [u8; MIN_REDACTED_LEN];

impl Needles {
    fn new(needles: BTreeSet<Vec<u8>>) -> Self {
        let mut new = Self {
            longest: needles.iter().map(Vec::len).max().unwrap_or(0),
            beginnings: vec![0; needles.len().next_power_of_two().max(64)],
            sorted: needles.into_iter().collect(),
        };
        let beginnings = new.sorted.iter().filter_map(|needle| needle.first_chunk());
        for beginning in beginnings {
            let (word, bit) = place(beginning, new.beginnings.len());
            new.beginnings[word] |= bit;
        }
        new
    }

    /// Whether a value may begin like this.
    fn may_begin(&self, beginning: &Beginning) -> bool {
        let (word, bit) = place(beginning, self.beginnings.len());
        self.beginnings[word] & bit != 0
    }

    /// The values that begin with these bytes.
    fn beginning(&self, bytes: &[u8]) -> &[Vec<u8>] {
        let start = self.sorted.partition_point(|needle| needle.as_slice() < bytes);
        let rest = &self.sorted[start..];
        &rest[..rest.partition_point(|needle| needle.starts_with(bytes))]
    }

    /// Every place where a value occurs, including overlapping ones.
    fn find(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for (at, window) in text.windows(MIN_REDACTED_LEN).enumerate() {
            if !window
                .first_chunk()
                .is_some_and(|beginning| self.may_begin(beginning))
            {
                continue;
            }
            let here = self.beginning(window).iter();
            let here = here.filter(|needle| text[at..].starts_with(needle));
            found.extend(here.map(|needle| at..at + needle.len()));
        }
        found
    }
}

/// The position of the bit for a beginning, among `words` words. `words` must be a power of two.
fn place(beginning: &Beginning, words: usize) -> (usize, u64) {
    // Multiply by 2^32 divided by the golden ratio, which spreads similar values (Knuth, TAOCP 6.4).
    let hash = u32::from_le_bytes(*beginning)
        .wrapping_mul(0x9e37_79b9)
        .rotate_right(16) as usize;
    ((hash >> 6) & (words - 1), 1 << (hash & 63))
}

impl Redactor {
    /// A redactor for these values.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a SecretString>) -> Self {
        Self::among(values, &BTreeSet::new())
    }

    /// A redactor for these values, in a project where these names are common.
    pub fn among<'a>(values: impl IntoIterator<Item = &'a SecretString>, names: &BTreeSet<String>) -> Self {
        let values: BTreeSet<&str> = values.into_iter().map(SecretString::expose).collect();
        let mut needles = BTreeSet::new();
        for value in values {
            let lines = value.split('\n').map(str::trim_end);
            let searched: Vec<&str> = lines.filter(|line| unsearched(line, names).is_none()).collect();
            if value.contains('\n') && !searched.is_empty() {
                needles.extend(forms::of_value(value));
            }
            for line in searched {
                needles.extend(forms::of_line(line));
            }
        }
        Self((!needles.is_empty()).then(|| Arc::new(Needles::new(needles))))
    }

    /// Whether there is nothing to hide.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The text with every known secret replaced by [`REDACTED`].
    pub fn redact(&self, text: &str) -> String {
        match self.redact_bytes(text.as_bytes()) {
            // Secrets are whole characters, so the rest of the text is too.
            Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            None => text.to_owned(),
        }
    }

    /// The bytes with every known secret replaced; `None` if they contain none.
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

    /// The places of secrets, in order. Overlapping ones are joined.
    pub(super) fn spans(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        match &self.0 {
            Some(needles) => stream::joined(needles.find(bytes)),
            None => Vec::new(),
        }
    }

    /// How many bytes at the end may be the beginning of a secret.
    pub(super) fn open_end(&self, bytes: &[u8]) -> usize {
        let Some(needles) = &self.0 else { return 0 };
        let longest = bytes.len().min(needles.longest.saturating_sub(1));
        let is_open = |length: &usize| {
            let end = &bytes[bytes.len() - length..];
            let longer = |needle: &Vec<u8>| needle.len() > end.len();
            let may_begin = end
                .first_chunk()
                .is_none_or(|beginning| needles.may_begin(beginning));
            may_begin && needles.beginning(end).iter().any(longer)
        };
        (1..=longest).rev().find(is_open).unwrap_or(0)
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let forms = self.0.as_ref().map_or(0, |needles| needles.sorted.len());
        f.debug_struct("Redactor").field("forms", &forms).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor(secrets: &[&str]) -> Redactor {
        let secrets: Vec<SecretString> = secrets.iter().copied().map(SecretString::new).collect();
        Redactor::new(&secrets)
    }

    #[test]
    fn text_and_bytes_are_redacted_longest_first() {
        let redactor = redactor(&["hunter2", "hunter2-long", "on"]);
        assert_eq!(redactor.redact("on hunter2-long, hunter2"), "on •••, •••");
        assert_eq!(
            redactor.redact_bytes(b"a hunter2 b").as_deref(),
            Some("a ••• b".as_bytes())
        );
        assert_eq!(redactor.redact_bytes(b"nothing"), None);
    }

    #[test]
    fn secrets_that_share_an_end_leave_nothing_of_either() {
        let redactor = redactor(&["alpha-omega", "omega-alpha"]);
        assert_eq!(redactor.redact("alpha-omega-alpha!"), "•••!");
    }

    #[test]
    fn what_is_common_stays_and_what_is_encoded_goes() {
        let names = BTreeSet::from(["warehouse".to_owned()]);
        let secrets = ["warehouse", "false", "p@ss/word 7"].map(SecretString::new);
        let redactor = Redactor::among(&secrets, &names);
        let text = "warehouse: false, p%40ss%2Fword%207, p@ss\\/word 7, dXNlcjpwQHNzL3dvcmQgNw==";
        let shown = redactor.redact(text);
        assert!(shown.starts_with("warehouse: false, •••, •••, dXNlcj"), "{shown}");
        assert!(!shown.contains("wQHNzL3dvcmQgN"), "{shown}");
        assert_eq!(Redactor::among(&secrets[..2], &names).redact(text), text);
    }

    #[test]
    fn secrets_of_several_lines_are_found_line_by_line_and_as_one() {
        let redactor = redactor(&["first line\r\nsecond line\nno"]);
        assert_eq!(redactor.redact("a second line, first line, no"), "a •••, •••, no");
        assert_eq!(
            redactor.redact(r#"{"k":"first line\r\nsecond line\nno"}"#),
            r#"{"k":"•••"}"#
        );
    }

    #[test]
    fn whatever_may_begin_a_secret_is_open() {
        let redactor = redactor(&["abcabd-x", "abd-yz"]);
        for (text, open) in [
            ("", 0),
            ("x", 0),
            ("zabcab", 5),
            ("abcabd", 6),
            ("abcabd-", 7),
            ("abcabd-x", 0),
            ("abd-y", 5),
        ] {
            assert_eq!(redactor.open_end(text.as_bytes()), open, "{text}");
        }
    }
}

//! What an http check asks for, and which answers are good.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::template::Template;

/// Everything about an http check besides its URL. The default is a GET that is good if it answers 2xx or 3xx.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HttpCheck {
    /// The method; `None`: GET.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Headers that are sent, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Template>,
    /// The good status codes; empty: 200 to 399.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<StatusRange>,
    /// A regular expression that the body must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Any certificate is good, for https.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure: bool,
    /// The file with the authorities that are trusted, in PEM, for https; `None`: those of this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
}

impl HttpCheck {
    /// Whether it says nothing of its own.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

/// Status codes from one to another, both included.
///
/// ```
/// use harness_model::spec::StatusRange;
///
/// let good: StatusRange = "2xx".parse()?;
/// assert!(good.contains(204) && !good.contains(301));
/// # Ok::<(), harness_model::spec::InvalidStatus>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct StatusRange {
    from: u16,
    to: u16,
}

/// A text that names no status codes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a status code: write `204`, `2xx` or `200-204`")]
pub struct InvalidStatus(String);

impl StatusRange {
    /// Whether a status code is in it.
    pub fn contains(self, status: u16) -> bool {
        (self.from..=self.to).contains(&status)
    }
}

impl FromStr for StatusRange {
    type Err = InvalidStatus;

    fn from_str(text: &str) -> Result<Self, InvalidStatus> {
        let code = |text: &str| {
            let digits = text.len() == 3 && text.bytes().all(|digit| digit.is_ascii_digit());
            text.parse()
                .ok()
                .filter(|code| digits && (100..=599).contains(code))
        };
        let bounds = match (text.split_once('-'), text.strip_suffix("xx")) {
            (Some((from, to)), _) => code(from.trim()).zip(code(to.trim())),
            (None, Some(hundreds)) => code(&format!("{hundreds}00")).zip(code(&format!("{hundreds}99"))),
            (None, None) => code(text).zip(code(text)),
        };
        match bounds {
            Some((from, to)) if from <= to => Ok(Self { from, to }),
            _ => Err(InvalidStatus(text.to_owned())),
        }
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.from == self.to {
            true => write!(f, "{}", self.from),
            false => write!(f, "{}-{}", self.from, self.to),
        }
    }
}

impl From<StatusRange> for String {
    fn from(range: StatusRange) -> Self {
        range.to_string()
    }
}

impl TryFrom<String> for StatusRange {
    type Error = InvalidStatus;

    fn try_from(text: String) -> Result<Self, InvalidStatus> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_as_people_write_them() {
        for (text, shown) in [
            ("200", "200"),
            ("2xx", "200-299"),
            ("200-204", "200-204"),
            ("404 - 410", "404-410"),
        ] {
            assert_eq!(
                text.parse::<StatusRange>().map(|range| range.to_string()),
                Ok(shown.to_owned())
            );
        }
        for bad in [
            "", "2", "20x", "xx", "6xx", "0xx", "999", "204-200", "+200", "200-", "2xx-3xx", "two",
        ] {
            assert!(bad.parse::<StatusRange>().is_err(), "{bad}");
        }
    }
}

//! The permission bits that new files do not get.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The permission bits that new files and folders do not get, `umask(2)`. Written in octal, as `chmod` and shells do.
///
/// ```
/// use harness_model::Umask;
///
/// let umask: Umask = "027".parse()?;
/// assert_eq!(umask.bits(), 0o027);
/// assert_eq!(umask.to_string(), "0027");
/// # Ok::<(), harness_model::umask::InvalidUmask>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Umask(u32);

/// A text that is not a umask.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a umask: write it in octal, from 000 to 777")]
pub struct InvalidUmask(String);

impl Umask {
    /// The umask with these bits; all but the nine permission bits are dropped.
    pub fn from_bits(bits: u32) -> Self {
        Self(bits & 0o777)
    }

    /// Its bits.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl FromStr for Umask {
    type Err = InvalidUmask;

    fn from_str(text: &str) -> Result<Self, InvalidUmask> {
        let digits = text.strip_prefix("0o").unwrap_or(text);
        let is_octal = !digits.is_empty() && digits.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
        match u32::from_str_radix(digits, 8) {
            Ok(bits) if is_octal && bits <= 0o777 => Ok(Self(bits)),
            _ => Err(InvalidUmask(text.to_owned())),
        }
    }
}

impl fmt::Display for Umask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl From<Umask> for String {
    fn from(umask: Umask) -> Self {
        umask.to_string()
    }
}

impl TryFrom<String> for Umask {
    type Error = InvalidUmask;

    fn try_from(text: String) -> Result<Self, InvalidUmask> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_in_octal() {
        for (text, bits) in [
            ("0", 0),
            ("22", 0o22),
            ("022", 0o22),
            ("0077", 0o77),
            ("0o007", 0o7),
            ("777", 0o777),
        ] {
            assert_eq!(text.parse(), Ok(Umask(bits)), "{text}");
        }
        for text in ["", "0o", "8", "0999", "1000", "-1", "+22", "u=rwx", " 22", "0x12"] {
            assert!(text.parse::<Umask>().is_err(), "{text}");
        }
    }
}

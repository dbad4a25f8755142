//! Regular expressions that look for a line of output, and the limits on them.
//!
//! Anybody can write a pattern into a file or a request, and a few characters of it can ask for gigabytes. So each
//! pattern has limits: on its text, on its compiled size, and on the memory for matching.

use regex::bytes::{Regex, RegexBuilder};

/// The longest pattern, in bytes.
pub const MAX_LENGTH: usize = 4 << 10;

/// The largest compiled size of a pattern, in bytes, and the most memory that matching may use in addition.
const MAX_SIZE: usize = 1 << 20;

/// A pattern with a compiled size below this, in bytes, is a light one.
const LIGHT: usize = 256 << 10;

/// How many bytes may be matched against a light pattern on a thread that others wait for.
const QUICK: usize = 4 << 10;

/// A pattern within the limits.
#[derive(Debug, Clone)]
pub struct Pattern {
    regex: Regex,
    light: bool,
}

/// Why a pattern cannot be used. The messages do not repeat the pattern, because it may be long.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It is not a regular expression.
    #[error("not a regular expression: {0}")]
    Invalid(String),
    /// Its text is too long.
    #[error("the regular expression has {length} bytes, but may have at most {MAX_LENGTH}")]
    TooLong {
        /// How long it is.
        length: usize,
    },
    /// Its compiled form is too large.
    #[error(
        "the regular expression is too large when its repetitions are expanded: it may need at most {} KiB",
        MAX_SIZE >> 10
    )]
    TooLarge,
}

impl Pattern {
    /// Compiles a pattern. Near the limits this takes about ten milliseconds, so do not call it on a thread that
    /// others wait for.
    ///
    /// # Errors
    /// When it is not a regular expression, or exceeds the limits.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        Self::check_length(text)?;
        if let Ok(regex) = compile(text, LIGHT) {
            return Ok(Self { regex, light: true });
        }
        match compile(text, MAX_SIZE) {
            Ok(regex) => Ok(Self { regex, light: false }),
            Err(regex::Error::CompiledTooBig(_)) => Err(PatternError::TooLarge),
            Err(error) => Err(PatternError::Invalid(reason(&error))),
        }
    }

    /// Checks whether the text of a pattern is short enough, which takes no time.
    ///
    /// # Errors
    /// When it is not.
    pub fn check_length(text: &str) -> Result<(), PatternError> {
        match text.len() {
            length if length > MAX_LENGTH => Err(PatternError::TooLong { length }),
            _ => Ok(()),
        }
    }

    /// Whether the pattern matches somewhere in the bytes.
    pub fn is_match(&self, bytes: &[u8]) -> bool {
        self.regex.is_match(bytes)
    }

    /// Whether matching this many bytes takes almost no time, whatever they are.
    pub fn is_quick(&self, bytes: usize) -> bool {
        self.light && bytes <= QUICK
    }
}

fn compile(text: &str, size: usize) -> Result<Regex, regex::Error> {
    RegexBuilder::new(text)
        .size_limit(size)
        .dfa_size_limit(MAX_SIZE)
        .build()
}

/// The last line of the error: those before it draw the pattern.
fn reason(error: &regex::Error) -> String {
    let words = error.to_string();
    let last = words.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_within_the_limits() {
        for text in [
            "ready",
            r"^\d{4}-\d{2}-\d{2}T\S+ +(INFO|WARN) .*listening on \[?[\da-f.:]+\]?:\d+$",
            r"(?i)server (started|listening).*port \d+",
            r"\w+ \w+ \w+",
            "database system is ready to accept connections",
        ] {
            let pattern = Pattern::new(text).unwrap();
            assert!(pattern.is_quick(1_000), "{text}");
        }
    }

    #[test]
    fn what_asks_for_too_much_is_refused_and_not_repeated() {
        let long = "a".repeat(14 << 20);
        for text in [
            &long,
            "(",
            r"a{0,1000}{0,1000}",
            r"(?:\pL{1,100}){1,100}",
            "((((a{50}){50}){50}){50})",
        ] {
            let error = Pattern::new(text).unwrap_err().to_string();
            assert!(error.len() < 200, "{error}");
        }
        assert_eq!(
            Pattern::new("(").unwrap_err().to_string(),
            "not a regular expression: unclosed group"
        );
        assert!(matches!(Pattern::new(&long), Err(PatternError::TooLong { .. })));
        assert_eq!(
            Pattern::new(r"\w{1,500}\w{1,500}").unwrap_err(),
            PatternError::TooLarge
        );
    }
}

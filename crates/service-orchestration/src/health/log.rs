//! The log check: a line of the output matches a regular expression.

use regex::bytes::Regex;

use super::ProbeConfigError;

/// Finds a pattern in lines of output.
#[derive(Debug, Clone)]
pub struct LogMatcher {
    pattern: Regex,
}

impl LogMatcher {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// When it is not a regular expression.
    pub fn new(pattern: &str) -> Result<Self, ProbeConfigError> {
        Regex::new(pattern)
            .map(|pattern| Self { pattern })
            .map_err(|source| ProbeConfigError::InvalidPattern { source })
    }

    /// Whether the pattern is found in `line`, one line as it was written; its line end does not count, so that
    /// `ready$` finds `ready\r\n`. Bytes that are no UTF-8 match no `.`, and do no harm.
    pub fn matches(&self, line: &[u8]) -> bool {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.pattern.is_match(line)
    }
}

/// The check that waits for `pattern` in the output; see [`LogMatcher::new`].
///
/// # Errors
/// When it is not a regular expression.
pub fn log(pattern: &str) -> Result<LogMatcher, ProbeConfigError> {
    LogMatcher::new(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_matched_without_their_end() {
        let ready = log("^ready( on .*)?$").unwrap();
        for line in ["ready", "ready\n", "ready\r\n", "ready on port 80\n"] {
            assert!(ready.matches(line.as_bytes()), "{line:?}");
        }
        for line in ["", "not ready", "already\n", "ready\n\n"] {
            assert!(!ready.matches(line.as_bytes()), "{line:?}");
        }
    }

    #[test]
    fn bytes_need_not_be_text() {
        assert!(log("listening").unwrap().matches(b"\xff\xfe listening \xff"));
    }

    #[test]
    fn a_broken_pattern_is_an_error() {
        let error = log("(").unwrap_err();
        assert!(std::error::Error::source(&error).is_some());
    }
}

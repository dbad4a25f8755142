//! The log check: a line of the output must match a regular expression.
//!
//! Patterns come from files and requests, so they have limits ([`Pattern`]). What may take long does not run where
//! everybody waits: compiling never does, and matching does only for short lines and light patterns.

use std::sync::{Arc, LazyLock};

use async_lock::{Semaphore, SemaphoreGuardArc};
use blocking::unblock;
use harness_model::pattern::{Pattern, PatternError};

/// How many patterns are compiled, or batches of lines matched, at once. The other blocking threads are for other
/// work.
const AT_ONCE: usize = 2;

static TURNS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(AT_ONCE)));

const ESCAPE: u8 = 0x1b;

/// A line without the escape sequences for a terminal (ECMA-48): colours, titles, links.
fn without_escapes(line: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.iter().position(|&byte| byte == ESCAPE) {
        out.extend_from_slice(&rest[..at]);
        let after = &rest[at + 1..];
        let length = match after.first() {
            // CSI: parameters and intermediate bytes up to a final one.
            Some(b'[') => after[1..]
                .iter()
                .position(|byte| (0x40..=0x7e).contains(byte))
                .map(|end| end + 2),
            // OSC and its like: up to BEL or ESC \\.
            Some(b']' | b'P' | b'X' | b'^' | b'_') => {
                let bell = after.iter().position(|&byte| byte == 0x07).map(|end| end + 1);
                let string = after
                    .windows(2)
                    .position(|pair| pair == [ESCAPE, b'\\'])
                    .map(|end| end + 2);
                bell.into_iter().chain(string).min()
            }
            // Others may have intermediate bytes: ESC ( B.
            Some(_) => after
                .iter()
                .position(|byte| !(0x20..=0x2f).contains(byte))
                .map(|end| end + 1),
            None => Some(0),
        };
        // One that does not end takes the rest with it.
        rest = length.and_then(|length| after.get(length..)).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}

/// Finds a pattern in lines of output.
#[derive(Debug, Clone)]
pub struct LogMatcher {
    pattern: Pattern,
}

impl LogMatcher {
    /// Compiles a pattern on a separate thread, when it is its turn.
    ///
    /// # Errors
    /// When it is not a valid regular expression, or exceeds the limits.
    pub async fn compile(pattern: &str) -> Result<Self, PatternError> {
        // Check this before the pattern is copied.
        Pattern::check_length(pattern)?;
        let (pattern, turn) = (pattern.to_owned(), Self::turn().await);
        unblock(move || {
            // The thread holds the permit: whoever stops waiting does not free it.
            let _turn = turn;
            Pattern::new(&pattern).map(|pattern| Self { pattern })
        })
        .await
    }

    /// Compiles a pattern here and now.
    ///
    /// # Errors
    /// As [`Self::compile`].
    pub fn new(pattern: &str) -> Result<Self, PatternError> {
        Pattern::new(pattern).map(|pattern| Self { pattern })
    }

    /// Whether the pattern is found in `line`, one line as it was written. The line end does not count, so that
    /// `ready$` finds `ready\r\n`. Bytes that are not UTF-8 do not match `.` but do no harm.
    pub fn matches(&self, line: &[u8]) -> bool {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // Colours may stand anywhere in a line, also within a word that is looked for.
        self.pattern.is_match(line)
            || (line.contains(&ESCAPE) && self.pattern.is_match(&without_escapes(line)))
    }

    /// The same for code that must not block: slow matching runs on a separate thread.
    pub async fn finds(&self, line: Vec<u8>) -> bool {
        if self.is_quick(line.len()) {
            return self.matches(&line);
        }
        let (matcher, turn) = (self.clone(), Self::turn().await);
        unblock(move || {
            let _turn = turn;
            matcher.matches(&line)
        })
        .await
    }

    /// Whether matching so many bytes takes no noticeable time.
    pub(crate) fn is_quick(&self, bytes: usize) -> bool {
        self.pattern.is_quick(bytes)
    }

    /// Waits for one of the threads for slow work.
    pub(crate) async fn turn() -> SemaphoreGuardArc {
        TURNS.acquire_arc().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_matched_without_their_end() {
        let ready = LogMatcher::new("^ready( on .*)?$").unwrap();
        for line in ["ready", "ready\n", "ready\r\n", "ready on port 80\n"] {
            assert!(ready.matches(line.as_bytes()), "{line:?}");
        }
        for line in ["", "not ready", "already\n", "ready\n\n"] {
            assert!(!ready.matches(line.as_bytes()), "{line:?}");
        }
    }

    #[test]
    fn colours_hide_nothing() {
        for (pattern, line) in [
            ("server ready", "\x1b[32mserver\x1b[0m ready\n"),
            ("^ready$", "\x1b[1;38;5;196mre\x1b[4mady\x1b[m\r\n"),
            (
                "ready on 80",
                "\x1b]0;title\x07ready \x1b]8;;http://x\x1b\\on 80\x1b]8;;\x1b\\",
            ),
            ("^ready", "\x1b(B\x1b[?25lready"),
            ("\\x1b\\[32m", "\x1b[32mgreen"),
        ] {
            assert!(
                LogMatcher::new(pattern).unwrap().matches(line.as_bytes()),
                "{line:?}"
            );
        }
        let ready = LogMatcher::new("ready").unwrap();
        for line in ["\x1b[31mre\x1b[0m-ady", "\x1b]0;re\x07 ady", "\x1b"] {
            assert!(!ready.matches(line.as_bytes()), "{line:?}");
        }
    }

    #[test]
    fn bytes_need_not_be_text() {
        let listening = LogMatcher::new("listening").unwrap();
        assert!(listening.matches(b"\xff\xfe listening \xff"));
    }

    #[test]
    fn it_does_not_matter_where_a_line_is_matched() {
        let line = [vec![b'x'; 100_000], b" ready".to_vec()].concat();
        for pattern in ["ready$", r"(?-u:\w){50} ready"] {
            let found = async {
                let matcher = LogMatcher::compile(pattern).await.unwrap();
                matcher.finds(line.clone()).await && !matcher.finds(b"no".to_vec()).await
            };
            assert!(futures_lite::future::block_on(found), "{pattern}");
        }
    }
}

//! Puts an error into one line.

use std::error::Error;

/// An error and its causes in one line: `cannot start api: exec failed: Permission denied`. A cause is not repeated
/// if the error's own text already ends with it.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !words.ends_with(&next) {
            words.push_str(": ");
            words.push_str(&next);
        }
        cause = error.source();
    }
    words
}

//! The memory that output is read into. It grows for a burst, and is given back afterwards.

use std::io;

use crate::sys::Pages;

/// As much as a pipe holds by default, so that one read empties it.
pub(super) const SIZE: usize = 64 * 1024;
/// As much as a talkative service keeps all the time.
const SMALL: usize = 4 * 1024;

/// A buffer that uses only the pages that were read into. Hundreds of shims wait at the same time, and most of their
/// services write only a line now and then.
#[derive(Debug)]
pub(super) struct ReadBuffer {
    pages: Pages,
    /// The longest read since the last [`ReadBuffer::shrink`].
    longest: usize,
}

impl ReadBuffer {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            pages: Pages::map(SIZE)?,
            longest: 0,
        })
    }

    /// The space to read into.
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        self.pages.bytes()
    }

    /// The bytes that were just read.
    pub(super) fn filled(&mut self, len: usize) -> &[u8] {
        self.longest = self.longest.max(len);
        self.pages.bytes().get(..len).unwrap_or_default()
    }

    /// Whether there is memory worth giving back.
    pub(super) fn is_large(&self) -> bool {
        self.longest > SMALL
    }

    /// Gives the memory back. What was read is lost.
    pub(super) fn shrink(&mut self) {
        if self.is_large() {
            self.pages.release();
            self.longest = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_long_read_makes_it_large() {
        let mut buffer = ReadBuffer::new().unwrap();
        assert_eq!(buffer.filled(SMALL).len(), SMALL);
        assert!(!buffer.is_large());
        buffer.bytes().fill(7);
        assert_eq!(buffer.filled(SIZE), [7; SIZE]);
        assert!(buffer.is_large());
        buffer.shrink();
        assert!(!buffer.is_large());
        assert_eq!(buffer.bytes(), [0; SIZE]);
    }
}

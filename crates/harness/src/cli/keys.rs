//! Finds the keys that detach from a service in the typed bytes, even if the keys arrive in several pieces.

use super::error::CliError;

/// The key sequence to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DetachKeys {
    sequence: Vec<u8>,
    matched: usize,
}

/// What to do with typed bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Typed {
    /// The bytes to pass on.
    pub(crate) forward: Vec<u8>,
    /// Whether the keys were typed, which means: detach.
    pub(crate) detach: bool,
}

impl DetachKeys {
    /// Parses a list like `ctrl-p,ctrl-q`: printable characters, and `ctrl-` with a letter or one of `@[\]^_`.
    ///
    /// # Errors
    /// When the text is not such a list.
    pub(crate) fn parse(text: &str) -> Result<Self, CliError> {
        let key = |key: &str| match (key.strip_prefix("ctrl-"), key.as_bytes()) {
            (Some(rest), _) => match rest.as_bytes() {
                [letter] if letter.is_ascii_alphabetic() || b"@[\\]^_".contains(letter) => {
                    Some(letter.to_ascii_uppercase() & 0x1f)
                }
                _ => None,
            },
            (None, [letter]) if letter.is_ascii_graphic() => Some(*letter),
            _ => None,
        };
        let sequence: Option<Vec<u8>> = text.split(',').map(|word| key(word.trim())).collect();
        match sequence {
            Some(sequence) => Ok(Self { sequence, matched: 0 }),
            None => Err(CliError::DetachKeys {
                text: text.to_owned(),
            }),
        }
    }

    /// Takes typed bytes and says what to do with them. If they end in the beginning of the sequence, that part is
    /// held back until more is typed.
    pub(crate) fn typed(&mut self, bytes: &[u8]) -> Typed {
        let mut forward = Vec::with_capacity(bytes.len());
        for byte in bytes {
            self.step(*byte, &mut forward);
            if self.matched == self.sequence.len() {
                self.matched = 0;
                return Typed {
                    forward,
                    detach: true,
                };
            }
        }
        Typed {
            forward,
            detach: false,
        }
    }

    fn step(&mut self, byte: u8, forward: &mut Vec<u8>) {
        if byte == self.sequence[self.matched] {
            self.matched += 1;
            return;
        }
        // The bytes held back plus this one may still end in a shorter beginning of the sequence.
        let mut held = self.sequence[..self.matched].to_vec();
        held.push(byte);
        self.matched = (0..held.len())
            .rev()
            .find(|len| held.ends_with(&self.sequence[..*len]))
            .unwrap_or(0);
        forward.extend_from_slice(&held[..held.len() - self.matched]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn feed(keys: &str, pieces: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut keys = DetachKeys::parse(keys).unwrap();
        let mut forward = Vec::new();
        for piece in pieces {
            let typed = keys.typed(piece);
            forward.extend(typed.forward);
            if typed.detach {
                return (forward, true);
            }
        }
        (forward, false)
    }

    #[test]
    fn the_keys_are_found_across_pieces_and_not_passed_on() {
        assert_eq!(
            feed("ctrl-p,ctrl-q", &[b"ls\x10", b"\x11rest"]),
            (b"ls".to_vec(), true)
        );
        assert_eq!(
            feed("ctrl-p,ctrl-q", &[b"\x10x", b"\x11"]),
            (b"\x10x\x11".to_vec(), false)
        );
        assert_eq!(
            feed("ctrl-p,ctrl-q", &[b"\x10\x10\x11"]),
            (b"\x10".to_vec(), true)
        );
        assert_eq!(feed("a,a,b", &[b"aa", b"ab"]), (b"a".to_vec(), true));
        assert_eq!(feed("ctrl-],q", &[b"\x1dq"]), (b"".to_vec(), true));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["", "ctrl-", "ctrl-pp", "ab", "ctrl-p,,q", "alt-x"] {
            assert!(DetachKeys::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_invented(text in "[ab]{0,40}", cut in 0usize..40) {
            let bytes = text.as_bytes();
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            let (forward, detached) = feed("a,b,a", &[head, tail]);
            let end = text.find("aba");
            prop_assert_eq!(detached, end.is_some());
            match end {
                Some(end) => prop_assert_eq!(&forward, &bytes[..end]),
                None => prop_assert!(bytes.starts_with(&forward) && bytes.len() - forward.len() < 3),
            }
        }
    }
}

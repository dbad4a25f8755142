//! Hides secrets in text that comes in pieces. A secret may begin in one piece and end in the next.
//!
//! ```text
//! push ──▶ held ──▶ what can no longer belong to a secret ──▶ out, secrets as •••
//!            └── the end, as far as it may be the beginning of a secret
//! ```

use std::ops::Range;

use super::{MIN_REDACTED_LEN, REDACTED, Redactor};

/// Replaces known secrets in one stream of bytes, wherever it is cut into pieces.
#[derive(Debug)]
pub struct RedactingStream {
    redactor: Redactor,
    /// Bytes that may still become a secret, or belong to one that may be longer.
    held: Vec<u8>,
    /// How many bytes at its start have been given out already: by a pause, or as `hidden`.
    told: usize,
    /// How many bytes at its start belong to a secret for which [`REDACTED`] has been given out.
    hidden: usize,
}

impl RedactingStream {
    /// A new stream.
    pub fn new(redactor: Redactor) -> Self {
        Self {
            redactor,
            held: Vec::new(),
            told: 0,
            hidden: 0,
        }
    }

    /// Takes the next piece and returns what can be shown by now.
    pub fn push(&mut self, piece: Vec<u8>) -> Vec<u8> {
        if self.redactor.is_empty() {
            return piece;
        }
        if self.held.is_empty() {
            self.held = piece;
        } else {
            self.held.extend_from_slice(&piece);
        }
        let open = self.redactor.open_end(&self.held);
        let spans = self.redactor.spans(&self.held);
        self.release(self.held.len() - open, spans)
    }

    /// Whether a pause would show something.
    pub fn is_waiting(&self) -> bool {
        self.hidden == 0 && self.told < self.shown_by_a_pause()
    }

    fn shown_by_a_pause(&self) -> usize {
        self.held.len().min(MIN_REDACTED_LEN - 1)
    }

    /// What may be shown if nothing more comes for a while: fewer bytes than are worth hiding, so that the last
    /// letter of a prompt or the echo of a key does not wait forever. If they began a secret, the rest of it stays
    /// hidden.
    pub fn pause(&mut self) -> Vec<u8> {
        if !self.is_waiting() {
            return Vec::new();
        }
        let end = self.shown_by_a_pause();
        let shown = self.held[self.told..end].to_vec();
        self.told = end;
        shown
    }

    /// The rest, at the end of the stream. Bytes that may have become a secret are hidden.
    pub fn finish(&mut self) -> Vec<u8> {
        let open = self.redactor.open_end(&self.held);
        let mut spans = self.redactor.spans(&self.held);
        if open >= MIN_REDACTED_LEN {
            spans.push(self.held.len() - open..self.held.len());
        }
        self.release(self.held.len(), joined(spans))
    }

    /// Returns the held bytes before `end`.
    fn release(&mut self, end: usize, mut spans: Vec<Range<usize>>) -> Vec<u8> {
        if self.hidden > 0 {
            spans.insert(0, 0..self.hidden);
            spans = joined(spans);
        }
        if spans.is_empty() && self.told == 0 && end == self.held.len() {
            return std::mem::take(&mut self.held);
        }
        let mut out = Vec::with_capacity(end);
        let mut at = self.hidden;
        for span in spans.into_iter().take_while(|span| span.start < end) {
            out.extend_from_slice(&self.held[at.max(self.told).min(span.start)..span.start]);
            if span.start > 0 || self.hidden == 0 {
                out.extend_from_slice(REDACTED.as_bytes());
            }
            at = span.end;
        }
        if at < end {
            out.extend_from_slice(&self.held[at.max(self.told).min(end)..end]);
        }
        self.hidden = at.saturating_sub(end);
        self.told = self.told.saturating_sub(end).max(self.hidden);
        self.held.drain(..end);
        out
    }
}

/// Joins overlapping ranges, and sorts them.
pub(super) fn joined(mut spans: Vec<Range<usize>>) -> Vec<Range<usize>> {
    spans.sort_by_key(|span| span.start);
    let mut out: Vec<Range<usize>> = Vec::with_capacity(spans.len());
    for span in spans {
        match out.last_mut() {
            Some(last) if span.start < last.end => last.end = last.end.max(span.end),
            _ => out.push(span),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SecretString;

    fn stream(secrets: &[&str]) -> RedactingStream {
        let secrets: Vec<SecretString> = secrets.iter().copied().map(SecretString::new).collect();
        RedactingStream::new(Redactor::new(&secrets))
    }

    fn shown(secrets: &[&str], pieces: &[&str]) -> String {
        let mut stream = stream(secrets);
        let mut out = Vec::new();
        for piece in pieces {
            out.extend(stream.push(piece.as_bytes().to_vec()));
        }
        out.extend(stream.finish());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_secret_is_hidden_wherever_it_is_cut() {
        let text = "a hunter2 b hunter2-long c hunter";
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let pieces = [&text[..first], &text[first..second], &text[second..]];
                let out = shown(&["hunter2", "hunter2-long"], &pieces);
                assert_eq!(out, "a ••• b ••• c •••", "{pieces:?}");
            }
        }
    }

    #[test]
    fn secrets_that_overlap_are_hidden_to_the_end_of_the_last() {
        let text = "<abcdefgh>";
        for cut in 0..=text.len() {
            let out = shown(&["abcdef", "efgh", "cdef"], &[&text[..cut], &text[cut..]]);
            assert_eq!(out, "<•••>", "cut at {cut}");
        }
        assert_eq!(shown(&["aaaa"], &["aaa", "aaaa", "aaaaaa", "b"]), "•••b");
    }

    #[test]
    fn what_cannot_be_a_secret_comes_at_once() {
        let mut stream = stream(&["hunter2"]);
        assert_eq!(stream.push(b"login: ".to_vec()), b"login: ");
        assert!(!stream.is_waiting());
        assert_eq!(stream.push(b"the hunt".to_vec()), b"the ");
        assert_eq!(stream.push(b"er is here".to_vec()), b"hunter is here");
    }

    #[test]
    fn a_pause_shows_less_than_is_worth_hiding_and_what_follows_stays_hidden() {
        let mut stream = stream(&["hunter2"]);
        assert_eq!(stream.push(b"> h".to_vec()), b"> ");
        assert_eq!(stream.pause(), b"h");
        assert_eq!(stream.pause(), b"");
        assert_eq!(stream.push(b"i\n".to_vec()), b"i\n");
        assert_eq!(stream.push(b"hunter".to_vec()), b"");
        assert!(stream.is_waiting());
        assert_eq!(stream.pause(), b"hun");
        assert!(!stream.is_waiting());
        assert_eq!(stream.push(b"2!".to_vec()), "•••!".as_bytes());
    }

    #[test]
    fn without_secrets_nothing_is_held() {
        assert_eq!(stream(&[]).push(b"anything".to_vec()), b"anything");
    }

    #[test]
    fn nothing_but_secrets_is_lost() {
        // Few letters, so that beginnings and overlaps are frequent.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below as u64).unwrap()
        };
        for _ in 0..2_000 {
            let mut word = |length: usize| -> String {
                let letters = (0..length).map(|_| char::from(b'a' + u8::try_from(random(2)).unwrap()));
                letters.collect()
            };
            let secrets = [word(4), word(5), word(7)];
            let text = format!("{}\n", word(60));
            let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
            let whole = shown(&secrets, &[&text]);
            let (first, second) = (random(30), 30 + random(30));
            let pieces = [&text[..first], &text[first..second], &text[second..]];
            assert_eq!(shown(&secrets, &pieces), whole, "{secrets:?} {pieces:?}");
            let values: Vec<SecretString> = secrets.iter().copied().map(SecretString::new).collect();
            assert_eq!(Redactor::new(&values).redact(&text), whole);
        }
    }
}

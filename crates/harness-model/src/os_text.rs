//! Texts of the operating system that need not be UTF-8, in strings that are.
//!
//! The environment of a process is bytes, and messages and records are text. Each byte that is not part of valid UTF-8
//! becomes one of the last 128 characters of the last private-use plane, U+10FF80 to U+10FFFF. Where such a character
//! stands itself, each of its bytes does. So every text has one form, and gets its bytes back.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// The character of byte 0 if there were one: bytes of valid UTF-8 that stand alone are below 0x80.
const BASE: u32 = 0x10_FF00;

/// The string for a text of the operating system.
///
/// ```
/// use std::ffi::OsStr;
/// use std::os::unix::ffi::OsStrExt;
///
/// use harness_model::os_text::{decode, encode};
///
/// let latin = OsStr::from_bytes(b"caf\xe9");
/// assert_eq!(decode(&encode(latin)), latin);
/// assert_eq!(encode(OsStr::new("café")), "café");
/// ```
pub fn encode(text: &OsStr) -> String {
    let mut out = String::with_capacity(text.len());
    for chunk in text.as_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            match byte_of(c) {
                None => out.push(c),
                Some(_) => push_bytes(c.encode_utf8(&mut [0; 4]).as_bytes(), &mut out),
            }
        }
        push_bytes(chunk.invalid(), &mut out);
    }
    out
}

/// The text that a string stands for.
pub fn decode(text: &str) -> OsString {
    let mut out = Vec::with_capacity(text.len());
    for c in text.chars() {
        match byte_of(c) {
            Some(byte) => out.push(byte),
            None => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    OsString::from_vec(out)
}

/// Whether the text that a string stands for is UTF-8, and so the string itself.
pub fn is_text(text: &str) -> bool {
    !text.chars().any(|c| byte_of(c).is_some())
}

fn push_bytes(bytes: &[u8], out: &mut String) {
    out.extend(
        bytes
            .iter()
            .filter_map(|byte| char::from_u32(BASE + u32::from(*byte))),
    );
}

fn byte_of(c: char) -> Option<u8> {
    let byte = u8::try_from(u32::from(c).checked_sub(BASE)?).ok()?;
    (byte >= 0x80).then_some(byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_character_that_stands_for_a_byte_keeps_its_own_bytes() {
        let text = OsString::from("\u{10ff80}x\u{10ffff}");
        assert!(!is_text(&encode(&text)));
        assert_eq!(decode(&encode(&text)), text);
        assert!(is_text("naïve \u{10ff7f}"));
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let text = OsString::from_vec(bytes);
            prop_assert_eq!(decode(&encode(&text)), text);
        }

        #[test]
        fn text_stays_as_it_is(text in "\\PC{0,30}") {
            prop_assert_eq!(encode(OsStr::new(&text)), text);
        }
    }
}

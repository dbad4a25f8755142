//! The forms that a value has in other text: the plain one, and those of JSON, URLs and base64.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::MIN_REDACTED_LEN;

/// Shorter pieces of base64 would match where there is no secret.
const MIN_BASE64: usize = 6;

/// How many bytes one line of wrapped base64 contains: 76 letters as `base64` writes it, or 64 as in PEM.
const LINES: [usize; 2] = [57, 48];

/// The forms of one line of a value.
pub(super) fn of_line(line: &str) -> BTreeSet<Vec<u8>> {
    let mut forms = of_value(line);
    forms.insert(line.as_bytes().to_vec());
    forms
}

/// The encoded forms of a whole value, which may have several lines.
pub(super) fn of_value(value: &str) -> BTreeSet<Vec<u8>> {
    let mut forms = BTreeSet::new();
    forms.extend(json(value).into_iter().map(String::into_bytes));
    forms.extend(percent(value).into_iter().map(String::into_bytes));
    base64(value.as_bytes(), &mut forms);
    for line in LINES.into_iter().filter(|line| value.len() > *line) {
        for piece in value.as_bytes().chunks(line) {
            base64(piece, &mut forms);
        }
    }
    forms.retain(|form| form.len() >= MIN_REDACTED_LEN && form != value.as_bytes());
    forms
}

/// The forms in a JSON string: plain, for old browsers (`\/`, `\u003c`), and in ASCII with lower and upper case
/// digits.
fn json(value: &str) -> Vec<String> {
    let quoted = serde_json::Value::from(value).to_string();
    let plain = quoted[1..quoted.len() - 1].to_owned();
    let safe: String = plain
        .chars()
        .map(|c| match c {
            '<' | '>' | '&' => format!("\\u{:04x}", u32::from(c)),
            c => c.to_string(),
        })
        .collect();
    let ascii = |text: &str, capital: bool| -> String {
        let mut out = String::new();
        for c in text.chars() {
            if c.is_ascii() {
                out.push(c);
                continue;
            }
            for unit in c.encode_utf16(&mut [0; 2]) {
                out += &if capital {
                    format!("\\u{unit:04X}")
                } else {
                    format!("\\u{unit:04x}")
                };
            }
        }
        out
    };
    let mut forms = vec![
        plain.replace('/', "\\/"),
        ascii(&plain, false),
        ascii(&plain, true),
    ];
    forms.push(ascii(&plain.replace('/', "\\/"), false));
    forms.extend([ascii(&safe, false), safe, plain]);
    forms
}

/// The forms in a URL: everything is encoded except letters, digits and what a path, a query or a form keeps.
fn percent(value: &str) -> Vec<String> {
    let encode = |kept: &str, capital: bool| -> String {
        let mut out = String::new();
        for byte in value.bytes() {
            let c = char::from(byte);
            if c.is_ascii_alphanumeric() || kept.contains(c) {
                out.push(c);
            } else if capital {
                out += &format!("%{byte:02X}");
            } else {
                out += &format!("%{byte:02x}");
            }
        }
        out
    };
    let mut forms = Vec::new();
    // The characters that are kept: unreserved ones of RFC 3986; those of JavaScript; those in paths; those in the
    // user part of a URL (RFC 3986, 3.2.1).
    for kept in ["-._~", "-._~!*'()", "-._~/", "-._~!$&'()*+,;="] {
        for capital in [true, false] {
            let form = encode(kept, capital);
            forms.push(form.replace("%20", "+"));
            forms.push(form);
        }
    }
    // Forms of HTML.
    forms.push(encode("-._*", true).replace("%20", "+"));
    forms
}

/// The base64 of the bytes with anything before and after them, as far as it depends only on the bytes.
fn base64(bytes: &[u8], forms: &mut BTreeSet<Vec<u8>>) {
    for before in 0..3 {
        let mut shifted = vec![0; before];
        shifted.extend_from_slice(bytes);
        let first = (before * 8).div_ceil(6);
        let end = shifted.len() * 8 / 6;
        if end < first + MIN_BASE64 {
            continue;
        }
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let text = engine.encode(&shifted);
            forms.insert(text.as_bytes()[first..end].to_vec());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(value: &str, form: &str) -> bool {
        of_value(value).iter().any(|one| {
            let one = String::from_utf8(one.clone()).unwrap();
            form.contains(&one)
        })
    }

    #[test]
    fn what_programs_make_of_a_value_has_one_of_its_forms() {
        for (value, form) in [
            ("a\"b\\c", r#"a\"b\\c"#),
            ("line\nline", r"line\nline"),
            ("grüße", r"gr\u00fc\u00dfe"),
            ("grüße", r"gr\u00FC\u00DFe"),
            ("a<b>c&d", r"a\u003cb\u003ec\u0026d"),
            ("pass/word", r"pass\/word"),
            ("p@ss word", "p%40ss%20word"),
            ("p@ss word", "p%40ss+word"),
            ("p@ss:word", "p%40ss%3aword"),
            ("p@ss/word", "p%40ss/word"),
            ("it's!=so", "it's!%3Dso"),
            ("grüße", "gr%C3%BC%C3%9Fe"),
        ] {
            assert!(has(value, form), "{form}");
        }
    }

    #[test]
    fn base64_of_something_around_a_value_has_one_of_its_forms() {
        let value = "s3cr?t>value";
        for before in ["", "u", "us", "user:", "a longer beginning"] {
            for after in ["", "\n", "xy", " and more"] {
                let text = format!("{before}{value}{after}");
                for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
                    assert!(has(value, &engine.encode(&text)), "{text:?}");
                }
            }
        }
        let long = "0123456789abcdef".repeat(8);
        let text = STANDARD_NO_PAD.encode(&long);
        for width in [76, 64] {
            assert!(has(&long, &text[..width]), "{width}");
        }
        // The base64 of three bytes would match too much.
        assert!(!of_value("abcd").iter().any(|form| form.len() < MIN_BASE64));
    }
}

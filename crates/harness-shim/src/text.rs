//! The text format of run-directory files: a title with its format number, then `key value` lines.
//!
//! ```text
//! harness-exit 1
//! outcome exited 3
//! ```
//!
//! Values are bytes (paths and arguments need not be UTF-8). A backslash, a newline, a carriage return and a NUL are
//! escaped, so that a file is always cut into the same lines that were written.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;

/// The largest file that a parser accepts, in bytes: more than the kernel allows for arguments and environment.
pub(crate) const MAX_FILE: u64 = 16 * 1024 * 1024;

/// What is wrong with a run-directory file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseError {
    /// It does not begin with the title of such a file.
    NotThisFile,
    /// A newer version wrote it, in a format that this version does not know.
    NewerFormat {
        /// The format of the file.
        found: u64,
        /// The newest format that this version knows.
        known: u64,
    },
    /// A line is not `key value` with a known key and a valid value. Lines count from 1.
    BadLine(usize),
    /// A required key is missing.
    Missing(&'static str),
    /// It is larger than any such file can be.
    TooLarge,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotThisFile => f.write_str("it does not begin with the title of such a file"),
            Self::NewerFormat { found, known } => write!(
                f,
                "it was written by a newer harness (format {found}; this one knows up to {known})"
            ),
            Self::BadLine(n) => write!(f, "line {n} is malformed"),
            Self::Missing(key) => write!(f, "`{key}` is missing"),
            Self::TooLarge => f.write_str("it is too large"),
        }
    }
}

impl std::error::Error for ParseError {}

/// Builds a file.
pub(crate) struct TextWriter(Vec<u8>);

impl TextWriter {
    /// A file with this title and format number, without lines so far.
    pub(crate) fn new(title: &str, format: u64) -> Self {
        Self(format!("{title} {format}\n").into_bytes())
    }

    /// Adds a line with any bytes as its value.
    pub(crate) fn bytes(&mut self, key: &str, value: &[u8]) -> &mut Self {
        self.0.extend_from_slice(key.as_bytes());
        self.0.push(b' ');
        for &byte in value {
            match byte {
                b'\\' => self.0.extend_from_slice(b"\\\\"),
                b'\n' => self.0.extend_from_slice(b"\\n"),
                b'\r' => self.0.extend_from_slice(b"\\r"),
                0 => self.0.extend_from_slice(b"\\0"),
                other => self.0.push(other),
            }
        }
        self.0.push(b'\n');
        self
    }

    /// Adds a line with a value that is printed.
    pub(crate) fn value(&mut self, key: &str, value: impl fmt::Display) -> &mut Self {
        self.bytes(key, value.to_string().as_bytes())
    }

    /// The file.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// One `key value` line of a file.
pub(crate) struct Line<'a> {
    /// Its number in the file, from 1.
    pub(crate) number: usize,
    /// Its key.
    pub(crate) key: &'a str,
    value: Vec<u8>,
}

impl Line<'_> {
    /// The error for a malformed line, with this line's number.
    pub(crate) fn bad(&self) -> ParseError {
        ParseError::BadLine(self.number)
    }

    /// The value as bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.value
    }

    /// The value as a string of the operating system.
    pub(crate) fn os(&self) -> OsString {
        OsString::from_vec(self.value.clone())
    }

    /// The value as text.
    pub(crate) fn text(&self) -> Result<&str, ParseError> {
        std::str::from_utf8(&self.value).map_err(|_| self.bad())
    }

    /// The value, parsed into this type.
    pub(crate) fn parse<T: std::str::FromStr>(&self) -> Result<T, ParseError> {
        self.text()?.parse().map_err(|_| self.bad())
    }

    /// The value as words that are separated by single spaces.
    pub(crate) fn words(&self) -> Result<Vec<&str>, ParseError> {
        Ok(self.text()?.split(' ').collect())
    }
}

/// Cuts a file into its lines, after checking title and format.
pub(crate) fn parse<'a>(
    file: &'a [u8],
    title: &str,
    format: u64,
) -> Result<impl Iterator<Item = Result<Line<'a>, ParseError>>, ParseError> {
    // A file without a final newline was cut short.
    let file = file.strip_suffix(b"\n").ok_or(ParseError::NotThisFile)?;
    let mut lines = file.split(|&b| b == b'\n').enumerate().map(|(i, l)| (i + 1, l));
    let first = lines.next().map_or(&b""[..], |(_, line)| line);
    let number = std::str::from_utf8(first)
        .ok()
        .and_then(|line| line.strip_prefix(title)?.strip_prefix(' ')?.parse::<u64>().ok())
        .ok_or(ParseError::NotThisFile)?;
    if number > format {
        return Err(ParseError::NewerFormat {
            found: number,
            known: format,
        });
    }
    if number != format {
        return Err(ParseError::NotThisFile);
    }
    Ok(lines.map(|(number, line)| parse_line(number, line).ok_or(ParseError::BadLine(number))))
}

fn parse_line(number: usize, line: &[u8]) -> Option<Line<'_>> {
    let space = line.iter().position(|&b| b == b' ')?;
    let key = std::str::from_utf8(line.get(..space)?).ok()?;
    let mut value = Vec::with_capacity(line.len() - space);
    let mut bytes = line.get(space + 1..)?.iter();
    while let Some(&byte) = bytes.next() {
        value.push(match byte {
            b'\\' => match bytes.next()? {
                b'\\' => b'\\',
                b'n' => b'\n',
                b'r' => b'\r',
                b'0' => 0,
                _ => return None,
            },
            other => other,
        });
    }
    Some(Line { number, key, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_survive() {
        let every: Vec<u8> = (0..=255).collect();
        let mut writer = TextWriter::new("t", 1);
        writer.bytes("k", &every).bytes("empty", b"");
        let file = writer.finish();
        let lines: Vec<_> = parse(&file, "t", 1).unwrap().map(Result::unwrap).collect();
        assert_eq!(lines[0].bytes(), every);
        assert_eq!((lines[1].key, lines[1].bytes()), ("empty", &b""[..]));
    }

    #[test]
    fn a_cut_file_is_refused() {
        assert_eq!(parse(b"t 1\nk v", "t", 1).err(), Some(ParseError::NotThisFile));
        assert_eq!(
            parse(b"t 2\nk v\n", "t", 1).err(),
            Some(ParseError::NewerFormat { found: 2, known: 1 })
        );
        assert_eq!(parse(b"t 0\nk v\n", "t", 1).err(), Some(ParseError::NotThisFile));
        assert_eq!(parse(b"", "t", 1).err(), Some(ParseError::NotThisFile));
        assert!(parse(b"t 1\nk \\q\n", "t", 1).unwrap().next().unwrap().is_err());
    }
}

//! The texts that were read, byte spans in them, and the bytes that must not be shown.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use harness_model::foreign::push_shown;

/// How much of a line to show before the mistake.
const SHOWN_BEFORE: usize = 400;
/// How much of a line to show in total.
const SHOWN: usize = 1200;

/// A range of bytes in one of the sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Span {
    /// Index into [`Sources`].
    pub file: usize,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// The part of this span from `offset`, `len` bytes long, kept within it.
    pub(crate) fn part(self, offset: usize, len: usize) -> Self {
        let start = self.start.saturating_add(offset).min(self.end);
        Self {
            file: self.file,
            start,
            end: start.saturating_add(len).min(self.end),
        }
    }
}

/// One text.
#[derive(Debug)]
pub(crate) struct Source {
    /// Its name as the user would write it.
    pub name: String,
    /// The folder that relative paths in it start from.
    pub dir: PathBuf,
    /// The text itself.
    pub text: String,
    /// Ranges that hold a literal secret.
    masked: RefCell<Vec<Range<usize>>>,
    line_starts: Vec<usize>,
}

impl Source {
    fn new(name: String, dir: PathBuf, text: String) -> Self {
        let line_starts = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        Self {
            name,
            dir,
            text,
            masked: RefCell::default(),
            line_starts,
        }
    }

    /// The index of the line that holds this byte.
    pub(crate) fn line_index(&self, at: usize) -> usize {
        self.line_starts
            .partition_point(|start| *start <= at)
            .saturating_sub(1)
    }

    /// Line and column (in characters), both from 1.
    pub(crate) fn position(&self, at: usize) -> (u32, u32) {
        let line = self.line_index(at);
        let start = self.line_starts[line];
        let column = self.text.get(start..at).map_or(0, |text| text.chars().count());
        (to_u32(line + 1), to_u32(column + 1))
    }

    /// The byte at a line and column (in characters), both from 1.
    pub(crate) fn offset(&self, line: u64, column: u64) -> usize {
        let index = usize::try_from(line.saturating_sub(1)).unwrap_or(usize::MAX);
        let line = self.line_range(index.min(self.line_starts.len() - 1));
        let column = usize::try_from(column.saturating_sub(1)).unwrap_or(usize::MAX);
        let text = &self.text[line.clone()];
        text.char_indices()
            .nth(column)
            .map_or(line.end, |(at, _)| line.start + at)
    }

    /// The bytes of a line without its line break.
    pub(crate) fn line_range(&self, index: usize) -> Range<usize> {
        let start = self.line_starts[index];
        let end = self
            .line_starts
            .get(index + 1)
            .map_or(self.text.len(), |next| next - 1);
        let end = if self.text[start..end].ends_with('\r') {
            end - 1
        } else {
            end
        };
        start..end
    }

    /// The nearest start of a character at or before a byte.
    pub(crate) fn char_boundary(&self, at: usize) -> usize {
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }

    /// Marks bytes as secret, so that they are never shown.
    pub(crate) fn mask(&self, range: Range<usize>) {
        if !range.is_empty() {
            self.masked.borrow_mut().push(range);
        }
    }

    /// A line with its secrets hidden, and the position of a range of the source in it. Of a very long line, only the
    /// part around the range.
    pub(crate) fn shown_line(&self, index: usize, highlight: Range<usize>) -> (String, Range<usize>) {
        let line = self.line_range(index);
        let from = self
            .char_boundary(highlight.start.saturating_sub(SHOWN_BEFORE))
            .clamp(line.start, line.end);
        let until = self
            .char_boundary(from.saturating_add(SHOWN))
            .clamp(line.start, line.end);
        let masked = self.masked.borrow();
        let masked: Vec<&Range<usize>> = masked
            .iter()
            .filter(|range| range.start < until && range.end > from)
            .collect();
        let mut out = String::new();
        let (mut start, mut end) = (None, None);
        let mut hidden = false;
        for (offset, c) in self.text[from..until].char_indices() {
            let at = from + offset;
            if start.is_none() && at >= highlight.start {
                start = Some(out.len());
            }
            if end.is_none() && at >= highlight.end {
                end = Some(out.len());
            }
            if masked.iter().any(|range| range.contains(&at)) {
                if !hidden {
                    out.push_str(harness_model::REDACTED);
                }
                hidden = true;
            } else {
                if c == '\t' {
                    out.push(c);
                } else {
                    push_shown(c, &mut out);
                }
                hidden = false;
            }
        }
        let start = start.unwrap_or(out.len());
        let end = end.unwrap_or(out.len()).max(start);
        (out, start..end)
    }
}

/// The largest file, in bytes.
const MAX_FILE_SIZE: u64 = 4 * 1024 * 1024;

/// Every text of one load. Texts may be added while others are in use.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    texts: RefCell<Vec<Rc<Source>>>,
    /// The files that were read, or looked for.
    read: RefCell<BTreeSet<PathBuf>>,
    /// Whether only this user (or root) could have written the project's file.
    is_ours: Cell<bool>,
    /// A file that is not there yet.
    to_come: Option<(PathBuf, String)>,
}

impl Sources {
    /// With a file that is not there yet.
    pub(crate) fn with(path: PathBuf, text: String) -> Self {
        Self {
            to_come: Some((path, text)),
            ..Self::default()
        }
    }

    /// The text of a file.
    pub(crate) fn read(&self, path: &Path) -> io::Result<String> {
        if let Some((to_come, text)) = &self.to_come
            && to_come == path
        {
            return Ok(text.clone());
        }
        self.remember(path, harness_files::read_text(path, MAX_FILE_SIZE))
    }

    /// The text of a file that any program may have written: UTF-16 with a byte order mark is read too, and what is no
    /// text becomes [`char::REPLACEMENT_CHARACTER`].
    pub(crate) fn read_lossy(&self, path: &Path) -> io::Result<String> {
        let bytes = harness_files::read(path, MAX_FILE_SIZE);
        self.remember(path, bytes.map(|bytes| decoded(&bytes)))
    }

    /// The text of a file that the project only mentions. Other users may be able to write there who cannot write the
    /// project's file. In that case root does not follow their links to files that they cannot read.
    pub(crate) fn read_mentioned(&self, path: &Path) -> io::Result<String> {
        if self.is_ours.get() {
            self.remember(path, harness_files::read_text_guarded(path, MAX_FILE_SIZE))
        } else {
            self.read(path)
        }
    }

    fn remember(&self, path: &Path, text: Result<String, harness_files::FileError>) -> io::Result<String> {
        let text = text.map_err(io::Error::from);
        // A missing file counts too, because it is read as soon as it exists.
        let is_missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        if text.as_ref().err().is_none_or(is_missing) {
            // The path with its links resolved, like the folder of the project.
            let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
            self.read.borrow_mut().insert(path);
        }
        text
    }

    /// Sets the folder of the project's file.
    pub(crate) fn belong_to(&self, base_dir: &Path) {
        let place = harness_files::place(base_dir);
        self.is_ours
            .set(place.is_ok_and(|place| place.exposure.is_none()));
    }

    /// The files that were read, or looked for.
    pub(crate) fn files(&self) -> BTreeSet<PathBuf> {
        self.read.borrow().clone()
    }

    /// Adds a text; the index is its `Span::file`.
    pub(crate) fn add(&self, name: String, dir: PathBuf, text: String) -> usize {
        let mut all = self.texts.borrow_mut();
        all.push(Rc::new(Source::new(name, dir, text)));
        all.len() - 1
    }

    /// The source that a span is in.
    pub(crate) fn get(&self, file: usize) -> Rc<Source> {
        Rc::clone(&self.texts.borrow()[file])
    }

    /// The text of a span.
    pub(crate) fn text(&self, span: Span) -> String {
        let source = self.get(span.file);
        source
            .text
            .get(span.start..span.end)
            .unwrap_or_default()
            .to_owned()
    }
}

/// The name of a path in messages: relative to the working directory if it is below it.
pub(crate) fn display_name(path: &Path, cwd: &Path) -> String {
    path.strip_prefix(cwd).unwrap_or(path).display().to_string()
}

/// Lines and columns above four billion need not be exact.
fn to_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn decoded(bytes: &[u8]) -> String {
    let utf_16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let (units, _) = bytes.as_chunks();
        String::from_utf16_lossy(&units.iter().map(|pair| unit(*pair)).collect::<Vec<_>>())
    };
    match bytes {
        [0xff, 0xfe, little @ ..] => utf_16(little, u16::from_le_bytes),
        [0xfe, 0xff, big @ ..] => utf_16(big, u16::from_be_bytes),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

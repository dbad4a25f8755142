//! The log of a run: either segments as bytes, or a script of what happens to them (writes, rotations, accidents).
//!
//! ```text
//! limits 200 2      a writer starts, with segments of 200 bytes, of which it keeps 2
//! out a line|b      text from stdout; | is a newline
//! err x             text from stderr
//! big 70            70 thousand bytes without a newline
//! cut 1 10          the first existing segment loses its last 10 bytes
//! flip 1 40         byte 40 of it changes
//! remove 1          it disappears
//! name +7.seg       a file with this name appears
//! ```

use std::path::{Path, PathBuf};

use harness_shim::log::{Line, Lines, LogError, MAX_LINE, ReadItem, Reader, Record, Stream, Writer};
use harness_shim::run_dir::LogLimits;

use crate::{folder, segment_bytes};

pub(crate) const WORDS: &[&str] = &[
    "limits 200 2\n",
    "limits 1 1\n",
    "limits 100000 9\n",
    "out a|b\n",
    "out part\n",
    "out |\n",
    "err e|\n",
    "big 70\n",
    "cut 1 10\n",
    "cut 2 1\n",
    "flip 1 40\n",
    "flip 2 12\n",
    "remove 1\n",
    "name 18446744073709551615.seg\n",
    "name +7.seg\n",
    "HRNSLOG\n\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x01\0\0\0x",
];

/// More steps in a script do not help.
const MAX_STEPS: usize = 200;
/// More bytes do not help either.
const MAX_WRITTEN: usize = 1_000_000;

/// Whatever is there must be readable to its end, in order, with every gap reported. What was written must come back
/// unchanged.
pub(crate) fn check(data: &[u8]) {
    folder::with_empty("log", |folder| {
        if segment_bytes::are_segments(data) {
            segment_bytes::write(folder, data);
            any_log(folder);
        } else {
            let story = play(folder, data);
            let items = any_log(folder);
            if story.damaged == Damage::None {
                whole(folder, &story, &items);
            }
            if story.damaged != Damage::Content {
                let seen: u64 = items.iter().map(lines_in).sum();
                assert_eq!(seen, newlines(&story.written), "lines that were counted");
            }
        }
        goes_on(folder);
    });
}

/// How much the log can still be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Damage {
    None,
    /// Something is missing before the last segment. The header of that segment says how much.
    Missing,
    Content,
}

struct Story {
    written: Vec<(Stream, Vec<u8>)>,
    damaged: Damage,
}

fn play(folder: &Path, script: &[u8]) -> Story {
    let mut story = Story {
        written: Vec::new(),
        damaged: Damage::None,
    };
    let mut writer = None;
    for step in script.split(|byte| *byte == b'\n').take(MAX_STEPS) {
        let (word, rest) = match step.iter().position(|byte| *byte == b' ') {
            Some(at) => (&step[..at], &step[at + 1..]),
            None => (step, &b""[..]),
        };
        let numbers: Vec<usize> = String::from_utf8_lossy(rest)
            .split(' ')
            .filter_map(|number| number.parse().ok())
            .collect();
        let number = |index: usize| numbers.get(index).copied().unwrap_or(0);
        match word {
            b"limits" => {
                let limits = LogLimits {
                    max_size: number(0) as u64,
                    max_files: u32::try_from(number(1)).unwrap_or(u32::MAX),
                };
                writer = open(folder, limits, &story);
            }
            b"out" | b"err" | b"big" if story.damaged == Damage::None => {
                if writer.is_none() {
                    writer = open(folder, LogLimits::default(), &story);
                }
                let stream = if word == b"err" {
                    Stream::Stderr
                } else {
                    Stream::Stdout
                };
                let data = match word {
                    b"big" => vec![b'x'; number(0).min(300) * 1000],
                    _ => rest.iter().map(|b| if *b == b'|' { b'\n' } else { *b }).collect(),
                };
                let so_far: usize = story.written.iter().map(|(_, data)| data.len()).sum();
                if data.is_empty() || so_far > MAX_WRITTEN {
                    continue;
                }
                if let Some(writer) = &mut writer {
                    writer.append(stream, &data, time(story.written.len()));
                    assert_eq!(writer.dropped().bytes, 0);
                    story.written.push((stream, data));
                }
            }
            b"cut" | b"flip" | b"remove" => {
                let segments = segments(folder);
                let Some(path) = segments.get(number(0).saturating_sub(1)) else {
                    continue;
                };
                let is_last = segments.last() == Some(path);
                let damage = if is_last || word == b"flip" {
                    Damage::Content
                } else {
                    Damage::Missing
                };
                story.damaged = story.damaged.max(damage);
                harm(path, word, number(1));
            }
            b"name" => {
                let name: String = String::from_utf8_lossy(rest)
                    .chars()
                    .filter(|c| c.is_ascii_graphic() && *c != '/')
                    .take(40)
                    .collect();
                let path = folder.join(format!("x{name}"));
                let path = if name.ends_with(".seg") {
                    folder.join(&name)
                } else {
                    path
                };
                if !path.exists() {
                    std::fs::write(path, b"").unwrap();
                    story.damaged = Damage::Content;
                }
            }
            _ => {}
        }
    }
    story
}

fn open(folder: &Path, limits: LogLimits, story: &Story) -> Option<Writer> {
    // Another check covers a writer that goes on after an accident.
    (story.damaged == Damage::None).then(|| Writer::open(folder, limits, time(story.written.len())).unwrap())
}

fn time(record: usize) -> u64 {
    record as u64 * 10
}

fn harm(path: &Path, how: &[u8], number: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    match how {
        b"cut" => bytes.truncate(bytes.len().saturating_sub(number)),
        b"flip" => {
            if let Some(byte) = bytes.get_mut(number) {
                *byte ^= 0x41;
            }
        }
        _ => return std::fs::remove_file(path).unwrap(),
    }
    std::fs::write(path, bytes).unwrap();
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "seg"))
        .collect();
    paths.sort();
    paths
}

/// Reads everything, from every kind of starting point. Returns the items from the very first one.
fn any_log(folder: &Path) -> Vec<ReadItem> {
    let size: u64 = segments(folder)
        .iter()
        .map(|path| path.metadata().unwrap().len())
        .sum();
    let most = size / 24 + 2 * segments(folder).len() as u64 + 1;
    for tail in [0, 1, 100] {
        opened(Reader::open_tail(folder, tail)).map(|reader| read(reader, most));
    }
    for since in [0, 15, u64::MAX] {
        opened(Reader::open_since(folder, since)).map(|reader| read(reader, most));
    }
    let reader = opened(Reader::open(folder));
    let items = reader.map(|reader| read(reader, most)).unwrap_or_default();
    rechunked(&items);
    items
}

/// A log is refused if every segment claims to be of a newer version. Nothing else is refused.
fn opened(reader: Result<Reader, LogError>) -> Option<Reader> {
    match reader {
        Err(error) if error.source.kind() == std::io::ErrorKind::Unsupported => None,
        reader => Some(reader.unwrap()),
    }
}

/// Reads to the end, and checks that it is the end.
fn read(mut reader: Reader, most: u64) -> Vec<ReadItem> {
    let mut items = Vec::new();
    let mut expected = None;
    loop {
        match reader.next().unwrap() {
            ReadItem::End => break,
            ReadItem::Record(record) => {
                if let Some(expected) = expected {
                    assert_eq!(record.seq, expected, "records without a gap between them");
                }
                assert_eq!(reader.next_seq(), record.seq.saturating_add(1));
                expected = Some(reader.next_seq());
                items.push(ReadItem::Record(record));
            }
            gap @ ReadItem::Gap { .. } => {
                expected = None;
                items.push(gap);
            }
        }
        assert!(items.len() as u64 <= most, "more items than there can be");
    }
    for _ in 0..3 {
        assert_eq!(reader.next().unwrap(), ReadItem::End);
    }
    items
}

/// The lines must not depend on how reads were cut.
fn rechunked(items: &[ReadItem]) {
    let records: Vec<Record> = items
        .iter()
        .filter_map(|item| match item {
            ReadItem::Record(record) => Some(record.clone()),
            _ => None,
        })
        .collect();
    for stream in [Stream::Stdout, Stream::Stderr] {
        let of_stream: Vec<&Record> = records.iter().filter(|r| r.stream == stream).collect();
        let all: Vec<u8> = of_stream.iter().flat_map(|r| r.data.clone()).collect();
        let seen: Vec<(bool, Vec<u8>)> = cut(&of_stream);
        assert_eq!(seen, by_the_book(&all));
    }
}

fn cut(records: &[&Record]) -> Vec<(bool, Vec<u8>)> {
    let (mut lines, mut out) = (Lines::new(), Vec::new());
    let mut sink = |line: Line| out.push((line.partial, line.bytes));
    for record in records {
        lines.push(record, &mut sink);
    }
    lines.flush(&mut sink);
    out
}

/// Lines end at newlines. A piece of more than [`MAX_LINE`] is partial, and so is an unfinished line.
fn by_the_book(all: &[u8]) -> Vec<(bool, Vec<u8>)> {
    let mut out = Vec::new();
    for line in all.split_inclusive(|byte| *byte == b'\n') {
        let (mut text, ends) = match line.strip_suffix(b"\n") {
            Some(text) => (text, true),
            None => (line, false),
        };
        while text.len() > MAX_LINE {
            let (head, tail) = text.split_at(MAX_LINE);
            out.push((true, head.to_vec()));
            text = tail;
        }
        out.push((!ends, text.to_vec()));
    }
    out
}

/// If nothing was harmed, the log contains the end of what was written, and the gap before it is exact.
fn whole(folder: &Path, story: &Story, items: &[ReadItem]) {
    let mut records = Vec::new();
    let mut gap = 0;
    for (index, item) in items.iter().enumerate() {
        match item {
            ReadItem::Record(record) => records.push(record),
            ReadItem::Gap { lines, .. } => {
                assert_eq!(index, 0, "a gap in the middle");
                gap = *lines;
            }
            ReadItem::End => {}
        }
    }
    let (lost, kept) = story.written.split_at(story.written.len() - records.len());
    assert_eq!(gap, newlines(lost), "lines that were rotated away");
    for ((stream, data), record) in kept.iter().zip(&records) {
        assert_eq!((*stream, data), (record.stream, &record.data));
    }
    let all: Vec<&Record> = records.clone();
    let lines = newlines(kept) as usize;
    for tail in [0, 1, 5] {
        let items = read(Reader::open_tail(folder, tail).unwrap(), u64::MAX);
        let found: Vec<&Record> = items
            .iter()
            .filter_map(|item| match item {
                ReadItem::Record(record) => Some(record),
                _ => None,
            })
            .collect();
        assert!(all.ends_with(&found));
        let have: u64 = items.iter().map(lines_in).sum();
        assert!(
            have >= tail.min(lines as u64),
            "a tail of {have} lines for {tail}"
        );
    }
    for since in [0, 15, 100] {
        let found = read(Reader::open_since(folder, since).unwrap(), u64::MAX);
        let late = |record: &&Record| record.time_ns >= since;
        let have: Vec<&Record> = found
            .iter()
            .filter_map(|item| match item {
                ReadItem::Record(record) => Some(record),
                _ => None,
            })
            .filter(late)
            .collect();
        let wanted: Vec<&Record> = all.iter().copied().filter(late).collect();
        assert_eq!(have, wanted);
    }
}

fn lines_in(item: &ReadItem) -> u64 {
    match item {
        ReadItem::Record(record) => record.data.iter().filter(|b| **b == b'\n').count() as u64,
        ReadItem::Gap { lines, .. } => *lines,
        ReadItem::End => 0,
    }
}

fn newlines(written: &[(Stream, Vec<u8>)]) -> u64 {
    written
        .iter()
        .map(|(_, data)| data.iter().filter(|b| **b == b'\n').count() as u64)
        .sum()
}

/// Whatever is there, a writer must be able to continue after it, and its records must be found.
fn goes_on(folder: &Path) {
    let Ok(mut writer) = Writer::open(folder, LogLimits::default(), 7) else {
        return;
    };
    writer.append(Stream::Stdout, b"after all\n", 8);
    let items = read(Reader::open(folder).unwrap(), u64::MAX);
    match items.last() {
        Some(ReadItem::Record(record)) => assert_eq!(record.data, b"after all\n"),
        other => panic!("{other:?}"),
    }
}

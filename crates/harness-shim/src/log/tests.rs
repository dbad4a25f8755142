//! Segments that no writer would leave, found by fuzzing.

use std::path::Path;

use super::format::{Kind, RecordHeader, SegmentHeader, segment_path};
use super::*;
use crate::run_dir::LogLimits;

fn segment(dir: &Path, number: u64, first_seq: u64, lines_before: u64, records: &[(u64, &str)]) {
    let header = SegmentHeader {
        first_seq,
        lines_before,
        created_ns: 1,
    };
    let mut bytes = header.encode().to_vec();
    for (seq, text) in records {
        let header = RecordHeader {
            seq: *seq,
            time_ns: 1,
            len: u32::try_from(text.len()).unwrap(),
            kind: Kind::Data(Stream::Stdout),
        };
        bytes.extend(header.encode());
        bytes.extend(text.as_bytes());
    }
    std::fs::write(segment_path(dir, number), bytes).unwrap();
}

/// The `text` of a record, or `-n` for a gap of n lines.
fn read(dir: &Path) -> Vec<String> {
    let mut reader = Reader::open(dir).unwrap();
    let mut out = Vec::new();
    loop {
        match reader.next().unwrap() {
            ReadItem::Record(record) => out.push(String::from_utf8(record.data).unwrap()),
            ReadItem::Gap { lines, .. } => out.push(format!("-{lines}")),
            ReadItem::End => return out,
        }
    }
}

#[test]
fn the_last_numbers_do_not_overflow() {
    let dir = tempfile::tempdir().unwrap();
    segment(dir.path(), 1, u64::MAX, u64::MAX, &[(u64::MAX, "a\n")]);
    assert_eq!(read(dir.path()), [format!("-{}", u64::MAX), "a\n".to_owned()]);
    let mut writer = Writer::open(dir.path(), LogLimits::default(), 2).unwrap();
    writer.append(Stream::Stdout, b"b\n", 3);
    assert_eq!(read(dir.path()).last().unwrap(), "b\n");
}

#[test]
fn what_an_older_segment_left_in_a_file_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    segment(dir.path(), 1, 0, 0, &[(0, "a\n"), (9, "stale\n"), (1, "b\n")]);
    segment(dir.path(), 2, 3, 5, &[(3, "c\n")]);
    assert_eq!(read(dir.path()), ["a\n", "-4", "c\n"]);
}

#[test]
fn what_is_not_named_as_a_segment_is_none() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["+7.seg", "8.seg", "18446744073709551615.seg", "x.seg"] {
        std::fs::write(dir.path().join(name), "").unwrap();
    }
    let mut reader = Reader::open(dir.path()).unwrap();
    let mut writer = Writer::open(dir.path(), LogLimits::default(), 2).unwrap();
    // If one of them were taken for a later segment, the reader would leave this one for good.
    for text in ["a\n", "b\n"] {
        writer.append(Stream::Stdout, text.as_bytes(), 3);
        assert!(matches!(reader.next().unwrap(), ReadItem::Record(record) if record.data == text.as_bytes()));
        assert_eq!(reader.next().unwrap(), ReadItem::End);
    }
}

#[test]
fn a_log_without_another_number_is_told_and_nothing_is_written_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    segment(dir.path(), u64::MAX - 1, 0, 0, &[(0, "a\n")]);
    let error = Writer::open(dir.path(), LogLimits::default(), 2).unwrap_err();
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(why, "no number is left for another segment");
    assert_eq!(read(dir.path()), ["a\n"]);
}

#[test]
fn many_at_once_are_as_good_as_one_by_one() {
    let limits = LogLimits {
        max_size: 4096,
        max_files: 1000,
    };
    let texts: Vec<String> = (0..500_usize)
        .map(|number| format!("{}\n", "x".repeat(number * 7 % 900)))
        .collect();
    let long = "y".repeat(5000);
    let mut pieces: Vec<(Stream, &[u8], u64)> = Vec::new();
    for (time, text) in texts.iter().enumerate() {
        let stream = if time % 3 == 0 {
            Stream::Stderr
        } else {
            Stream::Stdout
        };
        pieces.push((stream, text.as_bytes(), time as u64));
    }
    pieces.insert(100, (Stream::Stdout, long.as_bytes(), 100));
    let (one_by_one, at_once) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut writer = Writer::open(one_by_one.path(), limits, 0).unwrap();
    for (stream, bytes, time) in &pieces {
        writer.append(*stream, bytes, *time);
    }
    let mut writer = Writer::open(at_once.path(), limits, 0).unwrap();
    for some in pieces.chunks(130) {
        writer.append_all(some);
    }
    writer.append_all(&[]);
    let segments = |dir: &Path| {
        let mut names: Vec<_> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        names.sort();
        names
            .iter()
            .map(|path| std::fs::read(path).unwrap())
            .collect::<Vec<_>>()
    };
    assert!(segments(one_by_one.path()).len() > 20);
    assert!(segments(one_by_one.path()) == segments(at_once.path()));
}

/// The streams of a container have times of their own.
#[test]
fn what_is_later_than_a_time_is_found_although_times_are_not_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let limits = LogLimits {
        max_size: 70,
        max_files: 10,
    };
    let mut writer = Writer::open(dir.path(), limits, 1).unwrap();
    for (time_ns, text) in [(10, "a\n"), (30, "b\n"), (20, "c\n"), (40, "d\n")] {
        writer.append(Stream::Stdout, text.as_bytes(), time_ns);
    }
    let mut reader = Reader::open_since(dir.path(), 25).unwrap();
    let mut later = Vec::new();
    while let ReadItem::Record(record) = reader.next().unwrap() {
        later.extend((record.time_ns >= 25).then_some(record.data));
    }
    assert_eq!(later, [b"b\n", b"d\n"]);
}

#[test]
fn a_gap_is_left_where_the_writer_skips() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path(), LogLimits::default(), 1).unwrap();
    writer.append(Stream::Stdout, b"a\n", 2);
    writer.skip_to(Position { seq: 7, lines: 4 }, 3).unwrap();
    writer.append(Stream::Stdout, b"b\n", 4);
    assert_eq!(writer.position(), Position { seq: 8, lines: 5 });
    drop(writer);
    let writer = Writer::waiting(dir.path(), LogLimits::default()).unwrap();
    assert_eq!(writer.position(), Position { seq: 8, lines: 5 });
    assert_eq!(read(dir.path()), ["a\n", "-3", "b\n"]);
}

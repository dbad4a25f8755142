//! What a source with numbers loses, and what the disk refuses.

use harness_shim::log::{GapCause, Reader, Record};

use super::*;
use crate::mirror::LogLimits;

fn destination(dir: &tempfile::TempDir) -> Destination {
    Destination {
        run_dir: dir.path().to_owned(),
        limits: LogLimits {
            max_size: 100,
            max_files: 100,
        },
    }
}

fn record(seq: u64, text: &str) -> ReadItem {
    ReadItem::Record(Record {
        seq,
        time_ns: 1000 + seq,
        stream: Stream::Stdout,
        data: text.into(),
    })
}

fn gap(lines: u64) -> ReadItem {
    let cause = GapCause::Dropped;
    ReadItem::Gap { lines, cause }
}

/// The number and the text of each record, or `-n` for a gap of n lines.
fn text(dir: &tempfile::TempDir) -> Vec<String> {
    let mut reader = Reader::open(dir.path().join(LOG_DIR)).unwrap();
    let mut out = Vec::new();
    loop {
        match reader.next().unwrap() {
            ReadItem::Record(record) => {
                let text = String::from_utf8(record.data).unwrap();
                out.push(format!("{}:{text}", record.seq));
            }
            ReadItem::Gap { lines, .. } => out.push(format!("-{lines}")),
            ReadItem::End => return out,
        }
    }
}

fn write(book: &mut Numbered, items: &[ReadItem]) -> Result<u64, LogError> {
    book.write(&items.iter().collect::<Vec<_>>())
}

#[test]
fn what_is_missing_there_is_missing_here() {
    let dir = tempfile::tempdir().unwrap();
    let mut book = Numbered::open(&destination(&dir)).unwrap();
    let first = [
        record(0, "a\n"),
        record(1, "b\n"),
        gap(3),
        record(3, "c\n"),
        gap(2),
    ];
    assert_eq!(write(&mut book, &first).unwrap(), 3);
    // The next daemon asks from there, and is told again of the gap.
    let mut book = Numbered::open(&destination(&dir)).unwrap();
    assert_eq!(book.resume(), Position { seq: 4, lines: 6 });
    assert_eq!(write(&mut book, &[record(3, "c\n"), gap(2)]).unwrap(), 0);
    book.finish();
    // A gap is seen once something comes after it.
    let mut book = Numbered::open(&destination(&dir)).unwrap();
    assert_eq!(book.resume(), Position { seq: 5, lines: 8 });
    assert_eq!(write(&mut book, &[record(5, "d\n")]).unwrap(), 1);
    assert_eq!(text(&dir), ["0:a\n", "1:b\n", "-3", "3:c\n", "-2", "5:d\n"]);
}

#[test]
fn what_the_disk_refuses_is_asked_for_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut book = Numbered::open(&destination(&dir)).unwrap();
    let items: Vec<ReadItem> = (0..9).map(|seq| record(seq, "0123456789\n")).collect();
    write(&mut book, &items[..1]).unwrap();
    // Something has the name of the next segment.
    let taken = dir.path().join(LOG_DIR).join("000002.seg");
    std::fs::write(&taken, "").unwrap();
    let error = write(&mut book, &items).unwrap_err();
    assert_eq!(error.source.kind(), std::io::ErrorKind::AlreadyExists, "{error}");
    let stopped = book.resume();
    assert!((1..9).contains(&stopped.seq), "{stopped:?}");
    std::fs::remove_file(taken).unwrap();
    assert_eq!(write(&mut book, &items).unwrap(), 9 - stopped.seq);
    let all: Vec<String> = (0..9).map(|seq| format!("{seq}:0123456789\n")).collect();
    assert_eq!(text(&dir), all);
}

#[test]
fn a_record_that_no_log_can_hold_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut book = Numbered::open(&destination(&dir)).unwrap();
    let error = write(&mut book, &[record(0, &"x".repeat(2 << 20))]).unwrap_err();
    assert_eq!(error.source.kind(), std::io::ErrorKind::InvalidInput, "{error}");
    assert_eq!(book.resume(), Position::default());
}

//! No output is lost, none is mixed up, and gaps are counted.

use harness_shim::log::{GapCause, Lines, ReadItem, Reader, Stream, Writer};
use harness_shim::run_dir::{LaunchSpec, LogLimits, Outcome};

use crate::support::{Run, perl, sh};

/// Follows a log to its end while it is written, and checks its numbered lines. Returns (lines, missed).
fn follow(run: &mut Run) -> (u64, u64) {
    let mut reader = Reader::open(run.dir.log_dir()).unwrap();
    let mut cutter = Lines::new();
    let (mut next, mut missed) = (0_u64, 0_u64);
    let mut resync = false;
    loop {
        // Ask this before reading: then this round reads everything that was written before the end.
        let ended = run.shim.try_wait().unwrap().is_some();
        loop {
            match reader.next().unwrap() {
                ReadItem::Record(record) => cutter.push(&record, |line| {
                    let text = String::from_utf8(line.bytes).unwrap();
                    if std::mem::take(&mut resync) {
                        // The first line after a gap may be the rest of a line.
                        return;
                    }
                    let number: u64 = text.split(' ').next().unwrap().parse().unwrap();
                    assert_eq!(number, next, "{text}");
                    next += 1;
                }),
                ReadItem::Gap { lines, cause } => {
                    assert_eq!(cause, GapCause::Rotated);
                    missed += lines;
                    next += lines;
                    cutter.flush(|_| resync = true);
                    if resync {
                        next += 1;
                    }
                }
                ReadItem::End => break,
            }
        }
        if ended {
            return (next, missed);
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

const NUMBERED: &str =
    r#"my $x = "x" x 92; for (my $i = 0; $i < 2_000_000; $i++) { printf "%07d $x\n", $i }"#;

#[test]
fn two_hundred_megabytes_lose_no_line() {
    let limits = LogLimits {
        max_size: 64 << 20,
        max_files: 10,
    };
    let mut run = Run::start(&LaunchSpec {
        log: limits,
        ..perl(NUMBERED)
    });
    let begun = std::time::Instant::now();
    assert_eq!(follow(&mut run), (2_000_000, 0));
    eprintln!("202 MB in {:?}", begun.elapsed());
    assert_eq!(run.outcome(), Outcome::Exited(0));
    let record = run.ended();
    assert_eq!((record.dropped_log_bytes, record.dropped_log_lines), (0, 0));
}

#[test]
fn rotation_leaves_a_counted_gap() {
    let script = NUMBERED.replace("2_000_000", "100_000");
    let limits = LogLimits {
        max_size: 300_000,
        max_files: 3,
    };
    let mut run = Run::start(&LaunchSpec {
        log: limits,
        ..perl(&script)
    });
    run.ended();
    let segments = std::fs::read_dir(run.dir.log_dir()).unwrap().count();
    assert_eq!(segments, 3);
    let mut reader = Reader::open(run.dir.log_dir()).unwrap();
    let Ok(ReadItem::Gap {
        lines: missed,
        cause: GapCause::Rotated,
    }) = reader.next()
    else {
        panic!("no gap at the beginning")
    };
    let mut kept = 0;
    while let ReadItem::Record(record) = reader.next().unwrap() {
        kept += record.data.iter().filter(|b| **b == b'\n').count() as u64;
    }
    assert_eq!(missed + kept, 100_000);
    assert_eq!(reader.lines_seen(), 100_000);
    assert!(kept > 4_000, "{kept}");
}

/// A reader that falls behind learns how much it missed, and goes on.
#[test]
fn a_slow_reader_is_told_what_it_missed() {
    let dir = tempfile::tempdir().unwrap();
    let limits = LogLimits {
        max_size: 1000,
        max_files: 2,
    };
    let mut writer = Writer::open(dir.path(), limits, 1).unwrap();
    let mut reader = Reader::open(dir.path()).unwrap();
    assert_eq!(reader.next().unwrap(), ReadItem::End);
    let (mut read, mut missed, mut written) = (0, 0, 0);
    for round in 1..200_u64 {
        for _ in 0..round % 37 {
            writer.append(Stream::Stdout, b"a\nb\n", round);
            written += 2;
        }
        if round % 3 == 0 {
            loop {
                match reader.next().unwrap() {
                    ReadItem::Record(record) => {
                        assert_eq!(
                            (record.data.as_slice(), record.stream),
                            (&b"a\nb\n"[..], Stream::Stdout)
                        );
                        read += 2;
                    }
                    ReadItem::Gap {
                        lines,
                        cause: GapCause::Rotated,
                    } => missed += lines,
                    other => {
                        assert_eq!(other, ReadItem::End);
                        break;
                    }
                }
            }
        }
    }
    while reader.next().unwrap() != ReadItem::End {
        read += 2;
    }
    assert!(missed > 0 && read > 0);
    assert_eq!(read + missed, written);
}

#[test]
fn streams_are_kept_apart_in_order() {
    let mut run = Run::start(&sh("echo a; echo b >&2; printf c; echo d >&2; echo; printf end"));
    run.ended();
    let (out, err): (Vec<_>, Vec<_>) = run.lines().into_iter().partition(|(s, _)| *s == Stream::Stdout);
    let texts = |lines: Vec<(Stream, String)>| lines.into_iter().map(|(_, l)| l).collect::<Vec<_>>();
    assert_eq!(texts(out), ["a", "c", "end"]);
    assert_eq!(texts(err), ["b", "d"]);
}

#[test]
fn a_tail_begins_late_and_misses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let limits = LogLimits {
        max_size: 10_000,
        max_files: 5,
    };
    let mut writer = Writer::open(dir.path(), limits, 1).unwrap();
    for i in 0..3000_u32 {
        writer.append(Stream::Stdout, format!("line {i}\n").as_bytes(), u64::from(i));
    }
    for wanted in [0, 1, 10, 200, 5000] {
        let mut reader = Reader::open_tail(dir.path(), wanted).unwrap();
        let (mut cutter, mut lines) = (Lines::new(), Vec::new());
        while let ReadItem::Record(record) = reader.next().unwrap() {
            cutter.push(&record, |line| lines.push(String::from_utf8(line.bytes).unwrap()));
        }
        assert!(lines.len() as u64 >= wanted.min(500), "{wanted}: {}", lines.len());
        assert!(
            lines.len() as u64 <= (wanted + 70).min(3000),
            "{wanted}: {}",
            lines.len()
        );
        let first = 3000 - lines.len();
        let expected: Vec<_> = (first..3000).map(|i| format!("line {i}")).collect();
        assert_eq!(lines, expected);
        // It continues from there.
        writer.append(Stream::Stderr, b"more\n", 1);
        assert!(matches!(reader.next().unwrap(), ReadItem::Record(r) if r.data == b"more\n"));
        assert_eq!(reader.next().unwrap(), ReadItem::End);
        writer = Writer::open(dir.path(), limits, 1).unwrap();
        for i in 0..3000_u32 {
            writer.append(Stream::Stdout, format!("line {i}\n").as_bytes(), u64::from(i));
        }
    }
    assert_eq!(
        Reader::open_tail(tempfile::tempdir().unwrap().path(), 5)
            .unwrap()
            .next()
            .unwrap(),
        ReadItem::End
    );
}

/// Cuts a tail of this many lines into pieces. Returns the text of each piece, and whether it is partial.
fn tail(dir: &std::path::Path, lines: u64) -> Vec<(String, bool)> {
    let mut reader = Reader::open_tail(dir, lines).unwrap();
    let (mut cutter, mut out) = (Lines::new(), Vec::new());
    let mut sink = |line: harness_shim::log::Line| {
        out.push((String::from_utf8(line.bytes).unwrap(), line.partial));
    };
    while let ReadItem::Record(record) = reader.next().unwrap() {
        cutter.push(&record, &mut sink);
    }
    cutter.flush(&mut sink);
    out
}

#[test]
fn a_tail_has_what_no_line_end_came_after() {
    let text = |text: &str, partial| (text.to_owned(), partial);
    for (records, wanted) in [
        (vec!["ready> "], vec![text("ready> ", true)]),
        (vec!["1%\r", "2%\r", "3%"], vec![text("1%\r2%\r3%", true)]),
        // The first line is complete, even if it was written in pieces.
        (
            vec!["be", "gin\n", "middle\n", "e", "nd"],
            vec![text("begin", false), text("middle", false), text("end", true)],
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(dir.path(), LogLimits::default(), 1).unwrap();
        for record in records {
            writer.append(Stream::Stdout, record.as_bytes(), 1);
        }
        for lines in [0, 1, 20] {
            assert_eq!(tail(dir.path(), lines), wanted, "{lines}");
        }
    }
}

#[test]
fn a_tail_of_output_without_line_ends_is_the_end_of_it_over_segments() {
    let limits = LogLimits {
        max_size: 2000,
        max_files: 3,
    };
    for before in [0_u32, 1, 500] {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(dir.path(), limits, 1).unwrap();
        for line in 0..before {
            writer.append(Stream::Stderr, format!("line {line}\n").as_bytes(), 1);
        }
        for dot in 0..1000 {
            writer.append(Stream::Stdout, format!("<{dot}>").as_bytes(), 2);
        }
        let tail = tail(dir.path(), 1);
        let (last, partial) = tail.last().unwrap();
        assert!(*partial && last.ends_with("<998><999>"), "{before}: {tail:?}");
    }
}

#[test]
fn a_reader_since_begins_in_the_segment_of_the_moment() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(
        dir.path(),
        LogLimits {
            max_size: 100,
            max_files: 50,
        },
        0,
    )
    .unwrap();
    for i in 0..100 {
        writer.append(Stream::Stdout, b"0123456789\n", i);
    }
    let mut reader = Reader::open_since(dir.path(), 50).unwrap();
    let Ok(ReadItem::Record(first)) = reader.next() else {
        panic!()
    };
    assert!((48..=50).contains(&first.time_ns), "{first:?}");
}

#[test]
fn a_log_is_continued_by_a_second_writer() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let mut writer = Writer::open(dir.path(), LogLimits::default(), round).unwrap();
        writer.append(Stream::Stdout, b"x\ny\n", round);
    }
    let mut reader = Reader::open(dir.path()).unwrap();
    for seq in 0..3 {
        assert!(matches!(reader.next().unwrap(), ReadItem::Record(r) if r.seq == seq));
    }
    assert_eq!((reader.next().unwrap(), reader.lines_seen()), (ReadItem::End, 6));
}

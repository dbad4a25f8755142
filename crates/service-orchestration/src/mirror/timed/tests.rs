//! What a source sends again, and what it left out before.

use super::*;
use crate::mirror::LogLimits;

const ROOMY: LogLimits = LogLimits {
    max_size: 64 << 20,
    max_files: 5,
};

struct Log {
    dir: tempfile::TempDir,
    timed: Timed,
    limits: LogLimits,
}

/// A record of the source: its stream, its second, its text.
type Message<'a> = (Stream, u64, &'a str);

const OUT: Stream = Stream::Stdout;
const ERR: Stream = Stream::Stderr;

impl Log {
    fn new(limits: LogLimits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let timed = Timed::open(&destination(&dir, limits)).unwrap();
        Self { dir, timed, limits }
    }

    /// The next daemon opens it.
    fn reopen(&mut self) {
        self.timed = Timed::open(&destination(&self.dir, self.limits)).unwrap();
    }

    /// Makes one copy that is sent these messages. Like an engine, it leaves out what is older than was asked for.
    /// Returns how many were new.
    fn copy(&mut self, messages: &[Message<'_>]) -> u64 {
        let since = self.timed.resume();
        let asked = messages
            .iter()
            .filter(|(_, second, _)| *second * SECOND >= since.0);
        let records: Vec<TimedRecord<'_>> = asked.map(told).collect();
        self.timed.write(&records).unwrap()
    }

    fn text(&self, stream: Stream) -> String {
        let mut reader = Reader::open(self.dir.path().join(LOG_DIR)).unwrap();
        let mut text = String::new();
        loop {
            match reader.next().unwrap() {
                ReadItem::Record(record) if record.stream == stream => {
                    text.push_str(&String::from_utf8(record.data).unwrap());
                }
                ReadItem::Record(_) | ReadItem::Gap { .. } => {}
                ReadItem::End => return text,
            }
        }
    }
}

fn destination(dir: &tempfile::TempDir, limits: LogLimits) -> Destination {
    Destination {
        run_dir: dir.path().to_owned(),
        limits,
    }
}

fn told<'a>((stream, second, text): &Message<'a>) -> TimedRecord<'a> {
    TimedRecord {
        time_ns: second * SECOND,
        stream: *stream,
        bytes: text.as_bytes(),
    }
}

#[test]
fn what_was_left_out_at_the_end_is_added_once() {
    let mut log = Log::new(ROOMY);
    let all = [(OUT, 100, "one\n"), (ERR, 101, "half"), (OUT, 101, "last")];
    assert_eq!(log.copy(&all[..1]), 1);
    assert_eq!(log.copy(&all), 2);
    assert_eq!(log.copy(&all), 0);
    log.reopen();
    assert_eq!(log.copy(&all), 0);
    assert_eq!(
        (log.text(OUT).as_str(), log.text(ERR).as_str()),
        ("one\nlast", "half")
    );
}

/// All pieces of a line have the time of the first piece, however long the line takes.
#[test]
fn the_end_of_a_long_line_is_asked_for_although_its_time_is_long_past() {
    for reopened in [false, true] {
        let mut log = Log::new(ROOMY);
        let mut all = vec![(OUT, 100, "piece"), (OUT, 100, "piece")];
        all.extend((1..30).map(|second| (ERR, 100 + second, "tick\n")));
        log.copy(&all);
        all.extend([(OUT, 100, "piece"), (OUT, 100, "end")]);
        if reopened {
            log.reopen();
        }
        assert_eq!(log.copy(&all), 2);
        assert_eq!(log.copy(&all), 0);
        assert_eq!(log.text(OUT), "piecepiecepieceend");
        assert_eq!(log.text(ERR), "tick\n".repeat(29));
    }
}

#[test]
fn a_line_without_an_end_is_known_to_each_later_daemon() {
    let mut log = Log::new(ROOMY);
    let all = [(OUT, 100, "piece"), (OUT, 100, "piece"), (OUT, 100, "end")];
    assert_eq!(log.copy(&all[..2]), 2);
    for _ in 0..3 {
        // Each begins a segment, and these are killed before they write.
        log.reopen();
    }
    assert_eq!(log.copy(&all), 1);
    assert_eq!(log.text(OUT), "piecepieceend");
}

#[test]
fn pieces_of_a_long_line_that_were_rotated_away_do_not_come_again() {
    let small = LogLimits {
        max_size: 400,
        max_files: 2,
    };
    for reopened in [false, true] {
        let mut log = Log::new(small);
        let pieces: Vec<String> = (0..100).map(|number| format!("<piece {number:02}>")).collect();
        let mut all: Vec<Message<'_>> = pieces[..90]
            .iter()
            .map(|piece| (OUT, 100, piece.as_str()))
            .collect();
        // Copied again for each of them, with all that the engine has.
        for count in 1..=all.len() {
            log.copy(&all[..count]);
        }
        if reopened {
            log.reopen();
        }
        let new = pieces[90..].iter().map(|piece| (OUT, 100, piece.as_str()));
        all.extend(new);
        assert_eq!(log.copy(&all), 10);
        assert_eq!(log.copy(&all), 0);
        assert!(
            log.text(OUT).ends_with(&pieces[95..].concat()),
            "{}",
            log.text(OUT)
        );
        let second_time = log.text(OUT).matches("<piece 95>").count();
        assert_eq!(second_time, 1);
    }
}

#[test]
fn a_prompt_that_was_shown_before_is_completed() {
    for reopened in [false, true] {
        let mut log = Log::new(ROOMY);
        log.copy(&[(OUT, 100, "one\n")]);
        log.timed.show(OUT, b"name> ", b"one\n", None);
        if reopened {
            log.reopen();
        }
        // A prompt is shown with this machine's time, which is long after the times above.
        log.timed.resume();
        let rest = [told(&(OUT, 101, "name> joe\n")), told(&(OUT, 102, "bye"))];
        assert_eq!(log.timed.write(&rest).unwrap(), 2);
        assert_eq!(log.text(OUT), "one\nname> joe\nbye");
    }
}

//! Waits for a line in the output of a generation.
//!
//! A prompt counts as a line too, although it does not end. But half a line must not be taken for a whole line, or
//! `ready$` would match `not ready` before ` yet` follows. So an unfinished line counts when nothing follows it for a
//! moment, or when it goes on for long without an end.

use std::path::Path;
use std::time::Duration;

use command_executor::logs::{
    FollowError, Line, Lines, LogFrom, Read, ReadItem, Record, RecordFollower, Stream,
};
use command_executor::patience::pass;
use futures_lite::FutureExt;
use harness_model::WallTime;

use crate::health::LogMatcher;

/// How much is read at a time, in bytes.
const BATCH: usize = 64 << 10;

/// An unfinished line counts when nothing follows for this long.
const QUIET: Duration = Duration::from_millis(100);

/// An unfinished line counts after this long, even if it still grows.
const ENDLESS: Duration = Duration::from_millis(500);

/// Waits until a line of the generation's output matches; `false` when that cannot happen any more.
pub(super) async fn watch_output(run_dir: &Path, pattern: &str) -> bool {
    let Ok(matcher) = LogMatcher::compile(pattern).await else {
        return false;
    };
    match RecordFollower::new(run_dir, LogFrom::Start) {
        Ok(records) => found(records, &matcher).await.unwrap_or(false),
        Err(_) => false,
    }
}

async fn found(mut records: RecordFollower, matcher: &LogMatcher) -> Result<bool, FollowError> {
    let mut output = Watched::default();
    loop {
        let lines = match records.read(BATCH).await? {
            Read::Items(items) => {
                let now = WallTime::now();
                items.iter().flat_map(|item| output.ended(item, now)).collect()
            }
            Read::CaughtUp => {
                let changed = async {
                    records.changed().await;
                };
                changed.or(output.waits(WallTime::now())).await;
                output.unfinished(WallTime::now())
            }
            Read::Over => return Ok(any(output.rest(), matcher).await),
        };
        if any(lines, matcher).await {
            return Ok(true);
        }
    }
}

async fn any(lines: Vec<Vec<u8>>, matcher: &LogMatcher) -> bool {
    for line in lines {
        if matcher.finds(line).await {
            return true;
        }
    }
    false
}

/// Output in which a line is waited for.
#[derive(Default)]
struct Watched {
    lines: Lines,
    /// The unfinished lines that have not been looked at, of stdout and stderr.
    pending: [Option<Unfinished>; 2],
}

/// When an unfinished line began, and when it last grew.
#[derive(Clone, Copy)]
struct Unfinished {
    since: WallTime,
    last: WallTime,
}

impl Unfinished {
    /// How long to wait until it counts.
    fn left(self, now: WallTime) -> Duration {
        let left = |time: WallTime, limit: Duration| limit.saturating_sub(now.since(time));
        left(self.last, QUIET).min(left(self.since, ENDLESS))
    }
}

impl Watched {
    /// The lines that this item finishes.
    fn ended(&mut self, item: &ReadItem, now: WallTime) -> Vec<Vec<u8>> {
        let mut ended = Vec::new();
        let mut take = |line: Line| ended.push(line.bytes);
        match item {
            ReadItem::Record(record) => {
                self.lines.push(record, &mut take);
                self.note(record, now);
            }
            ReadItem::Gap { .. } => {
                self.lines.flush(&mut take);
                self.pending = [None; 2];
            }
            ReadItem::End => {}
        }
        ended
    }

    fn note(&mut self, record: &Record, now: WallTime) {
        let noted = &mut self.pending[index(record.stream)];
        // A time in the future was written before the clock was set back.
        let last = WallTime(record.time_ns).min(now);
        let before = noted.filter(|_| !record.data.contains(&b'\n'));
        let since = before.map_or(last, |before| before.since);
        let is_open = !self.lines.unfinished(record.stream).is_empty();
        *noted = is_open.then_some(Unfinished { since, last });
    }

    /// Waits until an unfinished line counts; forever if there is none.
    async fn waits(&self, now: WallTime) {
        match self.pending.iter().flatten().map(|noted| noted.left(now)).min() {
            Some(left) => pass(left).await,
            None => futures_lite::future::pending().await,
        }
    }

    /// The unfinished lines that count by now, as far as they go. Each is returned once.
    fn unfinished(&mut self, now: WallTime) -> Vec<Vec<u8>> {
        [Stream::Stdout, Stream::Stderr]
            .into_iter()
            .filter_map(|stream| {
                let noted = &mut self.pending[index(stream)];
                noted.take_if(|noted| noted.left(now).is_zero())?;
                Some(self.lines.unfinished(stream).to_vec())
            })
            .collect()
    }

    /// The lines that nothing will finish.
    fn rest(&mut self) -> Vec<Vec<u8>> {
        let mut rest = Vec::new();
        self.lines.flush(|line| rest.push(line.bytes));
        rest
    }
}

fn index(stream: Stream) -> usize {
    usize::from(stream == Stream::Stderr)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn record(stream: Stream, ms: u64, text: &str) -> ReadItem {
        ReadItem::Record(Record {
            seq: 0,
            time_ns: ms * MS,
            stream,
            data: text.into(),
        })
    }

    fn ready() -> LogMatcher {
        LogMatcher::new("ready>? ?$").unwrap()
    }

    fn has(lines: &[Vec<u8>], matcher: &LogMatcher) -> bool {
        lines.iter().any(|line| matcher.matches(line))
    }

    /// Feeds pieces of output with their times. Returns whether a line matched as they came, and whether an
    /// unfinished line matches at the last time.
    fn watched(pieces: &[(u64, &str)], at: u64) -> (bool, bool) {
        let (mut output, matcher) = (Watched::default(), ready());
        let mut completed = false;
        for (ms, text) in pieces {
            let now = WallTime(ms * MS);
            completed |= has(&output.ended(&record(Stream::Stdout, *ms, text), now), &matcher);
            assert!(!has(&output.unfinished(now), &matcher), "{text} at once");
        }
        (completed, has(&output.unfinished(WallTime(at * MS)), &matcher))
    }

    #[test]
    fn a_prompt_is_a_line_once_nothing_follows() {
        assert_eq!(watched(&[(1000, "ready> ")], 1099), (false, false));
        assert_eq!(watched(&[(1000, "ready> ")], 1100), (false, true));
        assert_eq!(
            watched(&[(1000, "1%\r"), (1050, "2%\rready> ")], 1150),
            (false, true)
        );
        assert_eq!(
            watched(&[(1000, "banner\nrea"), (1050, "dy> ")], 1150),
            (false, true)
        );
        assert_eq!(watched(&[(1000, "ready\n")], 1000), (true, false));
    }

    #[test]
    fn what_is_written_half_is_no_line() {
        let half = [(1000, "not ready"), (1050, " yet"), (1080, "\n")];
        assert_eq!(watched(&half[..2], 1100), (false, false));
        assert_eq!(watched(&half, 5000), (false, false));
        // A program that keeps writing other lines does not make half a line count.
        let lines: Vec<(u64, &str)> = (0..100).map(|n| (1000 + n * 50, "x\nready")).collect();
        assert_eq!(watched(&lines, 1000 + 99 * 50 + 99), (false, false));
    }

    #[test]
    fn what_goes_on_without_an_end_is_looked_at_all_the_same() {
        let (mut output, matcher) = (Watched::default(), ready());
        let mut found_at = None;
        for ms in (1000..3000).step_by(50) {
            // The other stream's lines do not matter here.
            let text = if ms == 1200 { "ready> " } else { "" };
            for (stream, text) in [
                (Stream::Stdout, format!(".{text}")),
                (Stream::Stderr, "tick\n".into()),
            ] {
                let ended = output.ended(&record(stream, ms, &text), WallTime(ms * MS));
                assert!(!has(&ended, &matcher));
            }
            let anywhere = LogMatcher::new("ready> ").unwrap();
            if has(&output.unfinished(WallTime(ms * MS)), &anywhere) {
                found_at = Some(ms);
                break;
            }
        }
        assert_eq!(found_at, Some(1500));
    }

    #[test]
    fn times_that_lie_ahead_are_of_now() {
        let (mut output, matcher) = (Watched::default(), ready());
        let ahead = record(Stream::Stdout, 9_000_000, "ready> ");
        assert_eq!(output.ended(&ahead, WallTime(1000 * MS)), Vec::<Vec<u8>>::new());
        assert!(!has(&output.unfinished(WallTime(1050 * MS)), &matcher));
        assert!(has(&output.unfinished(WallTime(1100 * MS)), &matcher));
    }

    #[test]
    fn a_prompt_in_a_run_directory_is_found_before_and_after_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let run_dir = harness_shim::run_dir::RunDir::create(dir.path().join("run")).unwrap();
        let lock = run_dir.take_lock().unwrap();
        let limits = harness_shim::run_dir::LogLimits::default();
        let mut log = harness_shim::log::Writer::open(run_dir.log_dir(), limits, 1).unwrap();
        let watch = |pattern| futures_lite::future::block_on(watch_output(run_dir.path(), pattern));
        log.append(Stream::Stdout, b"login: ", WallTime::now().0);
        assert!(watch("^login: $"));
        drop(lock);
        assert!(watch("^login: $"));
        assert!(!watch("^password: $"));
    }
}

//! An engine's log of a container, as a source for the mirror.

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::query_parameters::LogsOptions;
use harness_model::WallTime;
use service_orchestration::mirror::{Source, Stream, Timed, TimedRecord};

use crate::engine::stamp;

const SECOND: u64 = 1_000_000_000;

/// Counted for each message in addition to its bytes.
const OVERHEAD: usize = 64;

/// The size of the pieces in which the engine sends a line that is too long for it.
const PIECE: usize = 16 << 10;

/// The log of one container. With `follow`, it ends when the container has ended and everything was sent; otherwise it
/// is what exists now.
pub(crate) struct EngineLog<'a> {
    pub(crate) docker: &'a Docker,
    pub(crate) id: &'a str,
    pub(crate) follow: bool,
}

impl Source<Timed> for EngineLog<'_> {
    type Message = LogOutput;
    type Error = Error;

    fn ask(&self, from: WallTime) -> impl futures_lite::Stream<Item = Result<LogOutput, Error>> + Send {
        let options = LogsOptions {
            follow: self.follow,
            stdout: true,
            stderr: true,
            since: i32::try_from(from.0 / SECOND).unwrap_or(i32::MAX),
            timestamps: true,
            tail: "all".to_owned(),
            ..LogsOptions::default()
        };
        self.docker.logs(self.id, Some(options))
    }

    fn size(message: &LogOutput) -> usize {
        message.as_ref().len() + OVERHEAD
    }

    fn records(messages: &[LogOutput]) -> Vec<TimedRecord<'_>> {
        let mut records = Vec::with_capacity(messages.len());
        for message in messages {
            let (stream, bytes) = match message {
                LogOutput::StdErr { message } => (Stream::Stderr, message),
                LogOutput::StdOut { message } | LogOutput::Console { message } => (Stream::Stdout, message),
                LogOutput::StdIn { .. } => continue,
            };
            let terminal = matches!(message, LogOutput::Console { .. });
            let mut rest = bytes.as_ref();
            while !rest.is_empty() {
                let (time_ns, bytes, after) = split(rest, terminal);
                rest = after;
                records.push(TimedRecord {
                    time_ns,
                    stream,
                    bytes,
                });
            }
        }
        records
    }
}

/// The time in front of a message, the message, and what comes after it. From a terminal, one message may contain
/// several pieces of a line.
fn split(bytes: &[u8], terminal: bool) -> (u64, &[u8], &[u8]) {
    let Some((time, message)) = stamped(bytes) else {
        return (WallTime::now().0, bytes, &[]);
    };
    match message.split_at_checked(PIECE) {
        Some((piece, after)) if terminal && stamped(after).is_some() => (time, piece, after),
        _ => (time, message, &[]),
    }
}

fn stamped(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let space = bytes.iter().take(40).position(|byte| *byte == b' ')?;
    let time = stamp::parse(std::str::from_utf8(&bytes[..space]).ok()?)?;
    Some((time, &bytes[space + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: &str = "1970-01-01T00:01:40.000000007Z ";
    const TIME: u64 = 100 * SECOND + 7;

    fn records(messages: &[LogOutput]) -> Vec<(u64, Stream, usize)> {
        let records = EngineLog::records(messages);
        records
            .iter()
            .map(|record| (record.time_ns, record.stream, record.bytes.len()))
            .collect()
    }

    #[test]
    fn a_message_is_a_record_with_its_time() {
        let told = [
            LogOutput::StdOut {
                message: format!("{STAMP}one\n").into(),
            },
            LogOutput::StdIn { message: "in".into() },
            LogOutput::StdErr {
                message: format!("{STAMP}three").into(),
            },
        ];
        assert_eq!(
            records(&told),
            [(TIME, Stream::Stdout, 4), (TIME, Stream::Stderr, 5)]
        );
    }

    /// Only a terminal's messages are put together; in others, a piece may contain what looks like a time.
    #[test]
    fn the_pieces_of_a_long_line_from_a_terminal_are_told_apart() {
        let long = "x".repeat(PIECE);
        let text = format!("{STAMP}{long}{STAMP}end\n");
        let console = LogOutput::Console {
            message: text.clone().into(),
        };
        assert_eq!(
            records(&[console]),
            [(TIME, Stream::Stdout, PIECE), (TIME, Stream::Stdout, 4)]
        );
        let plain = LogOutput::StdOut { message: text.into() };
        assert_eq!(
            records(&[plain]),
            [(TIME, Stream::Stdout, PIECE + STAMP.len() + 4)]
        );
    }

    #[test]
    fn a_message_without_a_time_gets_the_present_one() {
        let before = WallTime::now().0;
        let told = records(&[LogOutput::StdOut {
            message: "no time".into(),
        }]);
        assert!(told[0].0 >= before && told[0].2 == 7, "{told:?}");
    }
}

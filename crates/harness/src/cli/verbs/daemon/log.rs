//! `daemon logs`: the daemon's own log, read from its file, so that it can also be read when the daemon is gone.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use async_io::Timer;

use crate::cli::args::DaemonLogsArgs;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::render::harmless::TerminalText;

/// How often to look for new lines when following the log.
const LOOK: Duration = Duration::from_millis(200);

pub(super) async fn run(context: &Context, args: &DaemonLogsArgs) -> Result<Exit, CliError> {
    let path = context.home()?.daemon_log();
    let mut file = open(&path).map_err(CliError::io("read", &path))?;
    let mut text = Vec::new();
    file.read_to_end(&mut text).map_err(CliError::io("read", &path))?;
    let mut printer = Printer::new(context);
    printer.print(tail(&text, args.tail))?;
    if !args.follow {
        return Ok(Exit::Ok);
    }
    loop {
        Timer::after(LOOK).await;
        text.clear();
        file.read_to_end(&mut text).map_err(CliError::io("read", &path))?;
        if !text.is_empty() {
            printer.print(&text)?;
        } else if let Some(next) = replaced(&file, &path) {
            file = next;
        }
    }
}

/// Prints the log unchanged; on a terminal, control characters are made visible.
struct Printer<'a> {
    context: &'a Context,
    terminal: Option<TerminalText>,
}

impl<'a> Printer<'a> {
    fn new(context: &'a Context) -> Self {
        Self {
            context,
            terminal: context.ui.out_tty.then(|| TerminalText::new(false)),
        }
    }

    fn print(&mut self, text: &[u8]) -> Result<(), CliError> {
        let Some(terminal) = &mut self.terminal else {
            return self.context.ui.out_raw(text);
        };
        let mut out = Vec::with_capacity(text.len());
        for piece in text.split_inclusive(|byte| *byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(line) => {
                    terminal.piece(line, &mut out);
                    terminal.end(&mut out);
                    out.push(b'\n');
                }
                None => terminal.piece(piece, &mut out),
            }
        }
        self.context.ui.out_raw(&out)
    }
}

/// Opens the log. Does not block if there is a pipe in its place.
fn open(path: &Path) -> io::Result<File> {
    harness_files::open(path).map_err(io::Error::from)
}

/// The new file, if the log was rotated or truncated.
fn replaced(file: &File, path: &Path) -> Option<File> {
    let mut next = open(path).ok()?;
    let (old, new) = (file.metadata().ok()?, next.metadata().ok()?);
    let mut reader = file;
    let cut = reader.stream_position().ok()? > old.len();
    if old.ino() == new.ino() && !cut {
        return None;
    }
    next.seek(SeekFrom::Start(0)).ok()?;
    Some(next)
}

/// The last `lines` lines.
fn tail(text: &[u8], lines: Option<usize>) -> &[u8] {
    let Some(lines) = lines else { return text };
    if lines == 0 {
        return &[];
    }
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    let breaks = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    match breaks.map(|(at, _)| at).nth(lines - 1) {
        Some(at) => &text[at + 1..],
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_whole_lines() {
        assert_eq!(tail(b"a\nb\nc\n", Some(2)), b"b\nc\n");
        assert_eq!(tail(b"a\nb\nc", Some(1)), b"c");
        assert_eq!(tail(b"a\nb\n", Some(9)), b"a\nb\n");
        assert_eq!(tail(b"a\nb\n", Some(0)), b"");
        assert_eq!(tail(b"a\nb\n", None), b"a\nb\n");
    }

    #[test]
    fn a_rotated_log_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("daemon.log");
        std::fs::write(&path, "one\n").unwrap();
        let file = File::open(&path).unwrap();
        assert!(replaced(&file, &path).is_none());
        std::fs::rename(&path, dir.path().join("daemon.log.1")).unwrap();
        assert!(replaced(&file, &path).is_none());
        std::fs::write(&path, "two\n").unwrap();
        let mut text = String::new();
        replaced(&file, &path).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "two\n");
    }
}

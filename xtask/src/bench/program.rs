//! The programs that the bench runs, both under harness and without it. They are this very program, called with a
//! hidden first argument. `main` looks at that before anything else, so that they start fast.

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use super::clock;

/// The first argument that selects one of these programs.
pub(crate) const WORD: &str = "bench-program";

/// The length of a line of `lines`, including its line feed.
pub(crate) const LINE: usize = 100;

/// Runs the program that the arguments after [`WORD`] name:
///
/// - `announce SOCKET NAME`: reports to the socket that it runs, then sleeps
/// - `listen SOCKET NAME PORT MILLISECONDS`: takes that long to begin, then listens and reports to the socket
/// - `lines COUNT`: writes this many numbered lines of [`LINE`] bytes
///
/// # Errors
/// When the system refuses something, or the arguments are wrong.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> io::Result<()> {
    let begun = clock::now();
    let words: Vec<String> = arguments.filter_map(|word| word.into_string().ok()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["announce", socket, name] => {
            announce(socket, name, begun, begun)?;
            loop {
                std::thread::park();
            }
        }
        ["listen", socket, name, port, delay] => {
            let delay = Duration::from_millis(number(delay)?);
            let port = u16::try_from(number(port)?).map_err(io::Error::other)?;
            std::thread::sleep(delay);
            let listener = TcpListener::bind(("127.0.0.1", port))?;
            announce(socket, name, begun, clock::now())?;
            loop {
                // A probe may be gone already; that is no reason to end.
                let _ = listener.accept();
            }
        }
        ["lines", count] => lines(number(count)?, &mut io::stdout().lock()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "unknown program")),
    }
}

fn number(word: &str) -> io::Result<u64> {
    word.parse().map_err(io::Error::other)
}

fn announce(socket: &str, name: &str, begun: u64, ready: u64) -> io::Result<()> {
    let text = format!("{name} {} {begun} {ready}", std::process::id());
    UnixDatagram::unbound()?.send_to(text.as_bytes(), socket)?;
    Ok(())
}

/// Writes `count` lines, numbered from 0, in chunks, as a program with a full buffer does.
fn lines(count: u64, to: &mut impl Write) -> io::Result<()> {
    const CHUNK: u64 = 640;
    let mut chunk = Vec::with_capacity(CHUNK as usize * LINE);
    let mut next = 0;
    while next < count {
        chunk.clear();
        for number in next..(next + CHUNK).min(count) {
            chunk.extend_from_slice(&line(number));
        }
        next += CHUNK;
        to.write_all(&chunk)?;
    }
    to.flush()
}

/// The line with this number.
pub(crate) fn line(mut number: u64) -> [u8; LINE] {
    let mut line = [b'.'; LINE];
    line[LINE - 1] = b'\n';
    for place in (0..12).rev() {
        line[place] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_numbered_and_of_one_length() {
        let mut text = Vec::new();
        lines(1_500, &mut text).unwrap();
        assert_eq!(text.len(), 1_500 * LINE);
        for (number, line) in text.chunks(LINE).enumerate() {
            assert!(line.starts_with(format!("{number:012}.").as_bytes()));
            assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(LINE - 1));
        }
    }

    #[test]
    fn other_words_are_no_program() {
        assert!(run(["lines".into(), "many".into()].into_iter()).is_err());
        assert!(run(["dance".into()].into_iter()).is_err());
    }
}

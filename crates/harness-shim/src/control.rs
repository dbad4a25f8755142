//! The requests that a client can send to a running shim, over the socket in its run directory.
//!
//! A client connects, sends frames, and gets one reply byte for each, in order, once the request is done. `Stop` is
//! answered when the signal has been sent, not when all processes are gone. `Stdin` is answered when the bytes are in
//! the process's pipe, which slows down a fast sender. While a `Stdin` waits, later frames of the same connection
//! wait too, but other connections do not.
//!
//! ```text
//! frame:   u32 length of what follows · u8 version (1) · u8 request · its fields     (little endian)
//! reply:   u8
//! ```

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use crate::run_dir::{CONTROL_SOCKET, RunDir, StopMode, StopPolicy};

/// The largest frame, without its length, in bytes.
pub const MAX_FRAME: usize = 64 * 1024;
/// How many bytes one [`Request::Stdin`] can carry.
pub const MAX_STDIN: usize = MAX_FRAME - 2;
const VERSION: u8 = 1;
const LENGTH: usize = 4;

/// Which processes a signal goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The main process.
    Main,
    /// The main process and everything that descends from it.
    Tree,
}

/// One request.
#[derive(Clone, PartialEq, Eq)]
pub enum Request {
    /// Stop the tree. If repeated, the signal is sent again, and the earlier of the two deadlines counts.
    Stop(StopPolicy),
    /// Kill the tree now.
    Kill,
    /// Send a signal.
    Signal {
        /// Its number.
        signal: i32,
        /// The processes that get it.
        scope: Scope,
    },
    /// Write to the stdin (or terminal) of the main process; at most [`MAX_STDIN`] bytes.
    Stdin(Vec<u8>),
    /// Close its stdin; on a terminal, send the end-of-file character.
    CloseStdin,
    /// Resize its terminal.
    Resize {
        /// Columns.
        cols: u16,
        /// Rows.
        rows: u16,
    },
    /// Does nothing. The reply shows that the shim answers.
    Ping,
}

impl fmt::Debug for Request {
    /// Text for stdin may be a secret, so only its length is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stop(policy) => f.debug_tuple("Stop").field(policy).finish(),
            Self::Kill => f.write_str("Kill"),
            Self::Signal { signal, scope } => write!(f, "Signal({signal}, {scope:?})"),
            Self::Stdin(bytes) => write!(f, "Stdin({} bytes)", bytes.len()),
            Self::CloseStdin => f.write_str("CloseStdin"),
            Self::Resize { cols, rows } => write!(f, "Resize({cols}x{rows})"),
            Self::Ping => f.write_str("Ping"),
        }
    }
}

/// The answer to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// Done.
    Ok,
    /// The main process has exited.
    NotRunning,
    /// Its stdin was not kept open, or is closed.
    NoStdin,
    /// It has no terminal.
    NoTty,
    /// The request is malformed, or this version does not know it.
    Invalid,
    /// The operating system refused.
    Failed,
}

impl Reply {
    /// The byte on the wire.
    pub fn encode(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::NotRunning => 1,
            Self::NoStdin => 2,
            Self::NoTty => 3,
            Self::Invalid => 4,
            Self::Failed => 5,
        }
    }

    /// Decodes the byte; `None` if it is not a reply of this version.
    pub fn decode(byte: u8) -> Option<Self> {
        [
            Self::Ok,
            Self::NotRunning,
            Self::NoStdin,
            Self::NoTty,
            Self::Invalid,
            Self::Failed,
        ]
        .get(usize::from(byte))
        .copied()
    }
}

/// Why a frame cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeError {
    /// It is larger than [`MAX_FRAME`], so what follows cannot be decoded either.
    TooLarge,
    /// It is not a request of this version. The frame has this many bytes and can be skipped.
    Unknown(usize),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(f, "frame larger than {MAX_FRAME} bytes"),
            Self::Unknown(_) => f.write_str("not a request of this version"),
        }
    }
}

impl std::error::Error for DecodeError {}

impl Request {
    /// The whole frame, including its length.
    pub fn encode(&self) -> Vec<u8> {
        let mut frame = vec![0, 0, 0, 0, VERSION];
        match self {
            Self::Stop(policy) => {
                frame.push(1);
                frame.extend(policy.signal.to_le_bytes());
                frame.push(match policy.mode {
                    StopMode::Mixed => 0,
                    StopMode::Group => 1,
                });
                frame.extend(
                    u64::try_from(policy.grace.as_nanos())
                        .unwrap_or(u64::MAX)
                        .to_le_bytes(),
                );
            }
            Self::Kill => frame.push(2),
            Self::Signal { signal, scope } => {
                frame.push(3);
                frame.extend(signal.to_le_bytes());
                frame.push(match scope {
                    Scope::Main => 0,
                    Scope::Tree => 1,
                });
            }
            Self::Stdin(bytes) => {
                frame.push(4);
                frame.extend(bytes);
            }
            Self::CloseStdin => frame.push(5),
            Self::Resize { cols, rows } => {
                frame.push(6);
                frame.extend(cols.to_le_bytes());
                frame.extend(rows.to_le_bytes());
            }
            Self::Ping => frame.push(7),
        }
        let length = u32::try_from(frame.len() - LENGTH).unwrap_or(u32::MAX);
        frame[..LENGTH].copy_from_slice(&length.to_le_bytes());
        frame
    }

    /// Takes the first frame of `bytes`: returns the request and how many bytes it took, or `None` if the frame is
    /// not complete yet.
    ///
    /// # Errors
    /// When the frame is too large, or does not contain a request of this version.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, DecodeError> {
        let Some((length, rest)) = bytes.split_first_chunk::<LENGTH>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length) as usize;
        if length > MAX_FRAME {
            return Err(DecodeError::TooLarge);
        }
        let Some(body) = rest.get(..length) else {
            return Ok(None);
        };
        let total = LENGTH + length;
        match Self::decode_body(body) {
            Some(request) => Ok(Some((request, total))),
            None => Err(DecodeError::Unknown(total)),
        }
    }

    fn decode_body(body: &[u8]) -> Option<Self> {
        let (&[version, kind], fields) = body.split_first_chunk::<2>()?;
        if version != VERSION {
            return None;
        }
        let mut fields = Fields(fields);
        let request = match kind {
            1 => Self::Stop(StopPolicy {
                signal: fields.signal()?,
                mode: match fields.take::<1>()? {
                    [0] => StopMode::Mixed,
                    [1] => StopMode::Group,
                    _ => return None,
                },
                grace: Duration::from_nanos(u64::from_le_bytes(fields.take()?)),
            }),
            2 => Self::Kill,
            3 => Self::Signal {
                signal: fields.signal()?,
                scope: match fields.take::<1>()? {
                    [0] => Scope::Main,
                    [1] => Scope::Tree,
                    _ => return None,
                },
            },
            4 => return Some(Self::Stdin(fields.0.to_vec())),
            5 => Self::CloseStdin,
            6 => Self::Resize {
                cols: u16::from_le_bytes(fields.take()?),
                rows: u16::from_le_bytes(fields.take()?),
            },
            7 => Self::Ping,
            _ => return None,
        };
        fields.0.is_empty().then_some(request)
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn signal(&mut self) -> Option<i32> {
        Some(i32::from_le_bytes(self.take()?)).filter(|signal| (1..=64).contains(signal))
    }
}

/// The path to connect to, made from an open descriptor of the run directory. It is short enough for a Unix socket,
/// wherever the directory is. It is valid while the descriptor is open.
pub fn socket_path(run_dir_fd: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!(
        "/proc/self/fd/{}/{CONTROL_SOCKET}",
        run_dir_fd.as_raw_fd()
    ))
}

/// Connects to the shim of a run directory. Blocks; asynchronous callers use [`socket_path`].
///
/// # Errors
/// When no shim listens there.
pub fn connect(run_dir: &RunDir) -> io::Result<UnixStream> {
    use std::os::fd::AsFd;
    let dir = File::open(run_dir.path())?;
    UnixStream::connect(socket_path(dir.as_fd()))
}

/// Sends one request and waits for its reply. Blocks.
///
/// # Errors
/// When the connection breaks, or the reply is not from this version.
pub fn request(stream: &mut UnixStream, request: &Request) -> io::Result<Reply> {
    stream.write_all(&request.encode())?;
    let mut reply = [0];
    stream.read_exact(&mut reply)?;
    Reply::decode(reply[0]).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_survive_the_wire() {
        let requests = [
            Request::Stop(StopPolicy {
                signal: 15,
                mode: StopMode::Group,
                grace: Duration::from_secs(3),
            }),
            Request::Kill,
            Request::Signal {
                signal: 64,
                scope: Scope::Tree,
            },
            Request::Stdin(vec![7; MAX_STDIN]),
            Request::Stdin(Vec::new()),
            Request::CloseStdin,
            Request::Resize { cols: 80, rows: 24 },
            Request::Ping,
        ];
        let stream: Vec<u8> = requests.iter().flat_map(Request::encode).collect();
        let mut rest = &stream[..];
        for expected in requests {
            for cut in 0..expected.encode().len().min(32) {
                assert_eq!(Request::decode(&rest[..cut]), Ok(None));
            }
            let (request, used) = Request::decode(rest).unwrap().unwrap();
            assert_eq!(request, expected);
            rest = &rest[used..];
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn strange_frames_are_refused() {
        assert_eq!(Request::decode(&[255; 8]), Err(DecodeError::TooLarge));
        assert_eq!(Request::decode(&[2, 0, 0, 0, 9, 7]), Err(DecodeError::Unknown(6)));
        assert_eq!(
            Request::decode(&[3, 0, 0, 0, 1, 7, 0]),
            Err(DecodeError::Unknown(7))
        );
        assert_eq!(Request::decode(&[0, 0, 0, 0]), Err(DecodeError::Unknown(4)));
        let zero = Request::Signal {
            signal: 0,
            scope: Scope::Main,
        }
        .encode();
        assert_eq!(Request::decode(&zero), Err(DecodeError::Unknown(zero.len())));
    }

    #[test]
    fn replies_survive_the_wire() {
        for byte in 0..=255 {
            if let Some(reply) = Reply::decode(byte) {
                assert_eq!(reply.encode(), byte);
            }
        }
        assert_eq!(Reply::decode(6), None);
    }
}

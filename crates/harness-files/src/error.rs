//! Why a file is not opened or written.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::trust::Exposure;

/// What something is that is no regular file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A FIFO, or a pipe without a name.
    Pipe,
    /// A character or block device.
    Device,
    /// A socket.
    Socket,
    /// Something else.
    Other,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Folder => "a folder",
            Self::Pipe => "a pipe (FIFO)",
            Self::Device => "a device",
            Self::Socket => "a socket",
            Self::Other => "no regular file",
        })
    }
}

/// Why a file is not opened or written. Nothing was changed.
#[derive(Debug)]
#[non_exhaustive]
pub enum FileError {
    /// A link on the way, which others could have put there.
    Link {
        /// The link.
        link: PathBuf,
        /// Who, and where.
        exposure: Exposure,
    },
    /// Others may replace what is on the way.
    Exposed(Exposure),
    /// There is something that is no regular file.
    Kind(Kind),
    /// There is a file that must not be replaced.
    Kept,
    /// The file has further names, and who gave it this one is not known.
    Names {
        /// Who may give it one.
        exposure: Exposure,
    },
    /// The path names no file: it is relative, ends with a slash or dots, or has a NUL in it.
    NoFile {
        /// The path.
        path: PathBuf,
    },
    /// It has more bytes than are read.
    TooLarge {
        /// The most that are.
        max: u64,
    },
    /// It is not UTF-8.
    NotText,
    /// It would have to be waited for, as what the kernel says of itself has to be.
    NothingToRead,
    /// The operating system refused.
    System {
        /// What was tried: "open", "create", …
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl FileError {
    pub(crate) fn system<E: Into<io::Error>>(operation: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |error| Self::System {
            operation,
            path,
            source: error.into(),
        }
    }

    /// What kind of error it is to the standard library.
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Link { .. } | Self::Exposed(_) | Self::Kept | Self::Names { .. } => {
                io::ErrorKind::PermissionDenied
            }
            Self::Kind(Kind::Folder) => io::ErrorKind::IsADirectory,
            Self::Kind(_) | Self::NoFile { .. } => io::ErrorKind::InvalidInput,
            Self::TooLarge { .. } => io::ErrorKind::FileTooLarge,
            Self::NotText => io::ErrorKind::InvalidData,
            Self::NothingToRead => io::ErrorKind::WouldBlock,
            Self::System { source, .. } => source.kind(),
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link { link, exposure } => write!(
                f,
                "{} is a link that others could have put there ({exposure}), so it is not followed: name what it leads to, \
                 or let nobody else write there",
                link.display()
            ),
            Self::Exposed(exposure) => write!(f, "others could put something else in its place ({exposure})"),
            Self::Kind(kind) => write!(f, "it is {kind}, not a regular file"),
            Self::Kept => f.write_str("it is a file of the project itself, which is never replaced"),
            Self::Names { exposure } => write!(
                f,
                "it has more than one name, and others could have given it this one ({exposure})"
            ),
            Self::NoFile { path } => write!(f, "{} does not name a file", path.display()),
            Self::TooLarge { max } => write!(f, "it is larger than {max} bytes"),
            Self::NotText => f.write_str("it is not UTF-8 text"),
            Self::NothingToRead => f.write_str("there is nothing to read from it now"),
            Self::System {
                operation,
                path,
                source,
            } => write!(f, "cannot {operation} {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for FileError {}

impl From<FileError> for io::Error {
    /// What the system said stays as it was said; anything else is carried along.
    fn from(error: FileError) -> Self {
        match error {
            FileError::System { source, .. } => source,
            FileError::Kind(Kind::Folder) => rustix::io::Errno::ISDIR.into(),
            other => Self::new(other.kind(), other),
        }
    }
}

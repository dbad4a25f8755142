//! Why a file is not opened or written.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::trust::Exposure;

/// The kind of something that is not a regular file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A FIFO or an anonymous pipe.
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
            Self::Other => "a special file",
        })
    }
}

/// Why a file is not opened or written. Nothing was changed.
#[derive(Debug)]
#[non_exhaustive]
pub enum FileError {
    /// The path leads through a link that others could have put there.
    Link {
        /// The link.
        link: PathBuf,
        /// Who could have done that, and in which folder.
        exposure: Exposure,
    },
    /// Others may replace a part of the path.
    Exposed(Exposure),
    /// There is something that is not a regular file.
    Kind(Kind),
    /// There is a file that must not be replaced.
    Kept,
    /// The file has more than one name, and others could have made this one.
    Names {
        /// Who could have made it.
        exposure: Exposure,
    },
    /// The path does not name a file: it is relative, ends with a slash or dots, or contains a NUL.
    NoFile {
        /// The path.
        path: PathBuf,
    },
    /// The file is too large to be read.
    TooLarge {
        /// The largest size that is read, in bytes.
        max: u64,
    },
    /// It is not UTF-8.
    NotText,
    /// Reading would have to wait. Some of the kernel's own files are like this.
    NothingToRead,
    /// The operating system refused.
    System {
        /// The operation: "open", "create", …
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The cause.
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

    /// The matching error kind of the standard library.
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
                "{} is a link that others could have put there ({exposure}), so it is not followed: use the path that \
                 it leads to, or let nobody else write to that folder",
                link.display()
            ),
            Self::Exposed(exposure) => write!(f, "others could put something else in its place ({exposure})"),
            Self::Kind(kind) => write!(f, "it is {kind}, not a regular file"),
            Self::Kept => f.write_str("it is a file of the project itself, which is never replaced"),
            Self::Names { exposure } => write!(
                f,
                "it has more than one name (hard link), and others could have made this one ({exposure})"
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
    /// An error of the system stays as it is. Any other error is wrapped.
    fn from(error: FileError) -> Self {
        match error {
            FileError::System { source, .. } => source,
            FileError::Kind(Kind::Folder) => rustix::io::Errno::ISDIR.into(),
            other => Self::new(other.kind(), other),
        }
    }
}

//! `write`: writes a file to its path, for a service that runs as another user.
//!
//! ```text
//! root ── nobody else may change anything on the path ──▶ written, then given to the user
//!   └──── others may ──▶ becomes the user ─────────────▶ written if the kernel lets that user
//! ```
//!
//! Path and content come through stdin, so that they do not appear in a list of arguments. The length comes first, so
//! that a starter that dies halfway does not leave half a file.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use harness_files::{Content, FileError, FileId};

use crate::account::Account;
use crate::{sys, words};

/// The verb on the command line.
pub(crate) const VERB: &str = "write";

/// The arguments on the command line.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    /// The user that the file is for.
    pub user: String,
    /// Its mode. The umask is applied to it.
    pub mode: u32,
    /// Files that it must not replace.
    pub keep: Vec<FileId>,
}

impl Options {
    /// The arguments of `harness-shim`.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut words = vec![VERB.to_owned(), self.user.clone(), format!("{:o}", self.mode)];
        let keep = self.keep.iter();
        words.extend(keep.map(|FileId { device, inode }| format!("{device}:{inode}")));
        words.into_iter().map(OsString::from).collect()
    }

    /// Parses the arguments after the verb. The error is text for people.
    pub(crate) fn parse(mut args: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let mut word = || args.next().and_then(|word| word.into_string().ok());
        let user = word().ok_or("a user is missing")?;
        let mode = word().and_then(|mode| u32::from_str_radix(&mode, 8).ok());
        let mode = mode.ok_or("a mode is missing")?;
        let keep = args.map(|word| {
            let (device, inode) = word.to_str()?.split_once(':')?;
            Some(FileId {
                device: device.parse().ok()?,
                inode: inode.parse().ok()?,
            })
        });
        let keep = keep
            .collect::<Option<Vec<_>>>()
            .ok_or("a file must be given as DEVICE:INODE")?;
        Ok(Self { user, mode, keep })
    }
}

/// The bytes to send through stdin.
pub fn message(target: &Path, content: &[u8]) -> Vec<u8> {
    let mut message = target.as_os_str().as_bytes().to_vec();
    message.push(0);
    message.extend((content.len() as u64).to_le_bytes());
    message.extend(content);
    message
}

fn read_message(mut from: impl Read) -> io::Result<(PathBuf, Vec<u8>)> {
    let mut message = Vec::new();
    from.read_to_end(&mut message)?;
    let whole = || {
        let end = message.iter().position(|byte| *byte == 0)?;
        let (target, rest) = (&message[..end], &message[end + 1..]);
        let (length, content) = rest.split_first_chunk()?;
        let complete = u64::from_le_bytes(*length) == content.len() as u64;
        complete.then(|| (OsStr::from_bytes(target).into(), content.to_vec()))
    };
    whole().ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "the sender of the file died"))
}

/// Writes the file, or prints on stderr why it cannot.
pub(crate) fn run(options: &Options) -> ExitCode {
    sys::close_from(3);
    match attempt(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = io::stderr().write_all(why.as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn attempt(options: &Options) -> Result<(), String> {
    let (target, bytes) = read_message(io::stdin().lock()).map_err(|error| error.to_string())?;
    let user = &options.user;
    let cannot_be = |error: io::Error| format!("cannot become user {user}: {error}");
    let account = Account::find(user).map_err(|error| match error.raw_os_error() {
        Some(libc::ENOENT) => words::unknown_user(user),
        _ => cannot_be(error),
    })?;
    let content = Content {
        bytes: &bytes,
        mode: options.mode,
        owner: None,
        keep: &options.keep,
    };
    let me = rustix::process::geteuid();
    if account.uid == me.as_raw() {
        let mine = Content {
            owner: me.is_root().then_some((account.uid, account.gid)),
            ..content
        };
        return harness_files::write(&target, &mine).map_err(|error| error.to_string());
    }
    if !me.is_root() {
        account.switch().map_err(cannot_be)?;
    }
    let given = Content {
        owner: Some((account.uid, account.gid)),
        ..content
    };
    let exposure = match harness_files::write_if_ours(&target, &given) {
        Err(FileError::Exposed(exposure) | FileError::Link { exposure, .. }) => exposure,
        written => return written.map_err(|error| error.to_string()),
    };
    account.switch().map_err(cannot_be)?;
    harness_files::write_as_user(&target, &content)
        .map_err(|error| format!("{error} (written as user {user}, because {exposure})"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn options_and_message_arrive_as_they_were_sent() {
        let options = Options {
            user: "web".to_owned(),
            mode: 0o600,
            keep: vec![FileId {
                device: 7,
                inode: u64::MAX,
            }],
        };
        let mut words = options.arguments().into_iter();
        assert_eq!(words.next().unwrap(), VERB);
        assert_eq!(Options::parse(words).unwrap(), options);
        for bad in [&["web"][..], &["web", "9"], &["web", "600", "7"], &[]] {
            assert!(Options::parse(bad.iter().map(OsString::from)).is_err(), "{bad:?}");
        }

        let target = PathBuf::from(OsString::from_vec(b"/srv/\xff\n".to_vec()));
        let sent = message(&target, b"a\0b");
        assert_eq!(read_message(&sent[..]).unwrap(), (target, b"a\0b".to_vec()));
        for length in 0..sent.len() {
            assert!(read_message(&sent[..length]).is_err(), "{length}");
        }
    }
}

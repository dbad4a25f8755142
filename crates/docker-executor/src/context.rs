//! A build context as a stream: a tar of its folder, made while it is sent.

use std::fs::{self, FileType};
use std::io::{self, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use async_channel::{Receiver, Sender};
use blocking::unblock;
use bytes::Bytes;
use futures_lite::Stream;

use crate::ignore::Ignore;

/// Bytes sent in one piece.
const PIECE: usize = 64 << 10;

/// Pieces on their way.
const PIECES: usize = 4;

/// Sends a folder. `dockerfile` goes with it whatever its rules say.
///
/// A failure is the last item.
pub(crate) fn stream(
    context: PathBuf,
    dockerfile: String,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (sender, pieces) = async_channel::bounded(PIECES);
    let packing = unblock(move || {
        let mut pieces = Pieces {
            sender: sender.clone(),
            piece: Vec::with_capacity(PIECE),
        };
        let packed = pack(&context, &dockerfile, &mut pieces).and_then(|()| pieces.flush());
        if let Err(error) = packed {
            // Nobody may be left who reads it.
            let _ = sender.send_blocking(Err(error));
        }
    });
    packing.detach();
    Receiver::clone(&pieces)
}

struct Pieces {
    sender: Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == PIECE {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        let sent = self.sender.send_blocking(Ok(piece.into()));
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

fn pack(context: &Path, dockerfile: &str, out: &mut Pieces) -> io::Result<()> {
    let ignore = Ignore::of(context)?;
    let mut tar = tar::Builder::new(out);
    tar.follow_symlinks(false);
    let always = [dockerfile.trim_start_matches("./"), ".dockerignore"];
    folder(context, "", &ignore, &always, &mut tar)?;
    tar.finish()
}

fn folder(
    context: &Path,
    within: &str,
    ignore: &Ignore,
    always: &[&str],
    tar: &mut tar::Builder<&mut Pieces>,
) -> io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(context.join(within))?.collect::<io::Result<_>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            let path = entry.path();
            return Err(io::Error::other(format!(
                "{} is not named in UTF-8",
                path.display()
            )));
        };
        let path = if within.is_empty() {
            name.to_owned()
        } else {
            format!("{within}/{name}")
        };
        let kind: FileType = entry.file_type()?;
        let always_in = always.iter().any(|file| file.starts_with(&format!("{path}/")));
        let left_out = ignore.leaves_out(&path) && !always.contains(&path.as_str());
        if kind.is_dir() {
            if left_out && !ignore.has_exceptions() && !always_in {
                continue;
            }
            if !left_out {
                tar.append_path_with_name(entry.path(), &path)?;
            }
            folder(context, &path, ignore, always, tar)?;
        } else if !left_out && !kind.is_socket() {
            let named = |error: io::Error| io::Error::new(error.kind(), format!("{path}: {error}"));
            tar.append_path_with_name(entry.path(), &path).map_err(named)?;
        }
    }
    Ok(())
}

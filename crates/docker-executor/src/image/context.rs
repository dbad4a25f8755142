//! A build context as a stream: a tar of its folder that is made while it is sent.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use async_channel::{Receiver, Sender};
use blocking::unblock;
use bytes::Bytes;
use futures_lite::Stream;
use rustix::fs::{Mode, OFlags};
use tar::Header;

use crate::image::ignore::Ignore;

/// How many bytes are sent in one piece.
const PIECE: usize = 64 << 10;

/// How many pieces are on their way at once.
const PIECES: usize = 4;

/// Sends a folder. The `dockerfile` is always sent, whatever the ignore rules say.
///
/// If it fails, the error is the last item.
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
            // There may be no reader left.
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

/// How to open the entries of a folder: without blocking, whatever they are, and without following links.
const ENTRY: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

fn pack(context: &Path, dockerfile: &str, out: &mut Pieces) -> io::Result<()> {
    let ignore = Ignore::of(context)?;
    let mut tar = tar::Builder::new(out);
    tar.follow_symlinks(false);
    let folder = harness_files::open_folder_guarded(context)?;
    let packing = Packing {
        ignore: &ignore,
        always: &[dockerfile.trim_start_matches("./"), ".dockerignore"],
        check_names: rustix::process::geteuid().is_root() && !harness_files::names_are_protected(),
    };
    packing.folder(&entry(&folder, ".", OFlags::DIRECTORY)?, "", &mut tar)?;
    tar.finish()
}

/// Sends the entries. It reads through descriptors: somebody who may write to the context must not be able to swap an
/// entry and have another file read.
struct Packing<'a> {
    ignore: &'a Ignore,
    always: &'a [&'a str],
    /// Whether to check that nobody could have made a name for a file which they may not read.
    check_names: bool,
}

impl Packing<'_> {
    fn folder(&self, folder: &File, within: &str, tar: &mut tar::Builder<&mut Pieces>) -> io::Result<()> {
        for name in names(folder)? {
            let path = match name.to_str() {
                Some(name) if within.is_empty() => name.to_owned(),
                Some(name) => format!("{within}/{name}"),
                None => {
                    let path = Path::new(within).join(&name);
                    return Err(io::Error::other(format!(
                        "the name of {} is not UTF-8",
                        path.display()
                    )));
                }
            };
            let named = |error: io::Error| io::Error::new(error.kind(), format!("{path}: {error}"));
            self.entry(folder, &name, &path, tar).map_err(named)?;
        }
        Ok(())
    }

    fn entry(
        &self,
        folder: &File,
        name: &OsStr,
        path: &str,
        tar: &mut tar::Builder<&mut Pieces>,
    ) -> io::Result<()> {
        let looked_at = entry(folder, name, OFlags::PATH)?;
        let meta = looked_at.metadata()?;
        let kind = meta.file_type();
        let always_in = self
            .always
            .iter()
            .any(|file| file.starts_with(&format!("{path}/")));
        let left_out = self.ignore.leaves_out(path) && !self.always.contains(&path);
        if kind.is_dir() {
            if left_out && !self.ignore.has_exceptions() && !always_in {
                return Ok(());
            }
            if !left_out {
                tar.append_data(&mut header(&meta), path, io::empty())?;
            }
            return self.folder(&entry(folder, name, OFlags::DIRECTORY)?, path, tar);
        }
        if left_out || kind.is_socket() {
            return Ok(());
        }
        if kind.is_symlink() {
            let target = rustix::fs::readlinkat(&looked_at, "", Vec::new())?;
            return tar.append_link(&mut header(&meta), path, OsStr::from_bytes(target.to_bytes()));
        }
        if !kind.is_file() {
            return special(&meta, path, tar);
        }
        let mut file = entry(folder, name, OFlags::empty())?;
        let now = file.metadata()?;
        if !now.is_file() {
            return Err(io::Error::other("it was replaced while it was being read"));
        }
        if self.check_names && now.nlink() > 1 && now.uid() == 0 && folder.metadata()?.uid() != 0 {
            return Err(io::Error::other(
                "it belongs to root and has more than one name, and others could have made this name",
            ));
        }
        tar.append_file(path, &mut file)
    }
}

/// Opens an entry of a folder.
fn entry(folder: impl AsFd, name: impl AsRef<OsStr>, flags: OFlags) -> io::Result<File> {
    let opened = rustix::fs::openat(folder, name.as_ref(), ENTRY | flags, Mode::empty())?;
    Ok(opened.into())
}

/// The names in a folder, sorted.
fn names(folder: &File) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(folder)? {
        let entry = entry?;
        match entry.file_name().to_bytes() {
            b"." | b".." => {}
            name => names.push(OsStr::from_bytes(name).to_owned()),
        }
    }
    names.sort();
    Ok(names)
}

fn header(meta: &Metadata) -> Header {
    let mut header = Header::new_gnu();
    header.set_metadata(meta);
    header
}

/// A device or a pipe.
fn special(meta: &Metadata, path: &str, tar: &mut tar::Builder<&mut Pieces>) -> io::Result<()> {
    let mut header = header(meta);
    header.set_device_major(rustix::fs::major(meta.rdev()))?;
    header.set_device_minor(rustix::fs::minor(meta.rdev()))?;
    tar.append_data(&mut header, path, io::empty())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures_lite::StreamExt;
    use futures_lite::future::block_on;

    use super::*;

    /// The tar of a context.
    fn packed(context: &Path) -> io::Result<Vec<u8>> {
        let mut pieces = std::pin::pin!(stream(context.to_owned(), "Dockerfile".to_owned()));
        let mut out = Vec::new();
        while let Some(piece) = block_on(pieces.next()) {
            out.extend_from_slice(&piece?);
        }
        Ok(out)
    }

    #[test]
    fn a_context_is_sent_with_its_links_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let long = "n".repeat(200);
        fs::create_dir_all(at("sub/deep")).unwrap();
        fs::write(at("Dockerfile"), "FROM x\n").unwrap();
        fs::write(at("sub/deep").join(&long), "long").unwrap();
        fs::write(at("sub/left.log"), "out").unwrap();
        fs::write(at(".dockerignore"), "**/*.log\nDockerfile\n").unwrap();
        symlink("/etc/shadow", at("link")).unwrap();
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let bytes = packed(dir.path()).unwrap();
        let mut archive = tar::Archive::new(&bytes[..]);
        let mut seen: Vec<(String, String, String)> = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let target = entry.link_name().unwrap().map(|path| path.display().to_string());
            let (path, kind) = (
                entry.path().unwrap().display().to_string(),
                entry.header().entry_type(),
            );
            let mut text = String::new();
            io::Read::read_to_string(&mut entry, &mut text).unwrap();
            seen.push((path, format!("{kind:?}"), target.unwrap_or(text)));
        }
        let file = |path: &str, kind: &str, text: &str| (path.to_owned(), kind.to_owned(), text.to_owned());
        assert_eq!(
            seen,
            [
                file(".dockerignore", "Regular", "**/*.log\nDockerfile\n"),
                file("Dockerfile", "Regular", "FROM x\n"),
                file("link", "Symlink", "/etc/shadow"),
                file("pipe", "Fifo", ""),
                file("sub", "Directory", ""),
                file("sub/deep", "Directory", ""),
                file(&format!("sub/deep/{long}"), "Regular", "long"),
            ]
        );
    }

    #[test]
    fn whoever_swaps_a_file_or_folder_for_a_link_has_nothing_sent() {
        let dir = tempfile::tempdir().unwrap();
        let (context, secret) = (dir.path().join("context"), dir.path().join("secret"));
        fs::create_dir_all(context.join("sub")).unwrap();
        fs::create_dir(&secret).unwrap();
        fs::write(secret.join("key"), "hunter2hunter2").unwrap();
        fs::write(context.join("sub/key"), "plain").unwrap();
        fs::write(context.join("file"), "plain").unwrap();
        symlink(&secret, context.join("to-folder")).unwrap();
        symlink(secret.join("key"), context.join("to-file")).unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let swapper = scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    for (one, other) in [("sub", "to-folder"), ("file", "to-file")] {
                        let (cwd, flags) = (rustix::fs::CWD, rustix::fs::RenameFlags::EXCHANGE);
                        let (one, other) = (context.join(one), context.join(other));
                        rustix::fs::renameat_with(cwd, one, cwd, other, flags).unwrap();
                    }
                }
            });
            for _ in 0..300 {
                // If it was swapped in time, the result is an error or a link.
                if let Ok(bytes) = packed(&context) {
                    let sent = bytes.windows(7).any(|window| window == b"hunter2");
                    assert!(!sent);
                }
            }
            stop.store(true, Ordering::Relaxed);
            swapper.join().unwrap();
        });
    }
}

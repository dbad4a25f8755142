//! Files that are there whole or not at all: written under another name beside their place, then renamed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;

use crate::error::{FileError, Kind};
use crate::walk::{End, Missing, Until, kind_of, walk};

/// How often another name is tried where somebody takes the names away.
const TRIES: usize = 16;

/// How a file is made that must not be there.
const NEW: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// As many links as the kernel follows.
const MAX_LINKS: usize = 40;

/// A file, whatever its name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    /// The device it is on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
}

impl FileId {
    /// The file at a path; `None` if none can be found there.
    pub fn of(path: &Path) -> Option<Self> {
        rustix::fs::stat(path).ok().map(|stat| Self::from(&stat))
    }
}

impl From<&Stat> for FileId {
    fn from(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
        }
    }
}

/// What is to stand in a file.
#[derive(Debug, Clone, Copy)]
pub struct Content<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Its mode, of which the umask takes away.
    pub mode: u32,
    /// User and group to give it to.
    pub owner: Option<(u32, u32)>,
    /// Files that it must not replace.
    pub keep: &'a [FileId],
}

/// Writes a file at an absolute path without following a link that others could have put there. Folders that are not
/// there are made; what is there is replaced whole, if it is a regular file.
///
/// # Errors
/// When it cannot be written, or something else is in its place. Then nothing is changed but for folders that were made.
pub fn write(path: &Path, content: &Content<'_>) -> Result<(), FileError> {
    let end = walk(named(path)?, Missing::Make, Until::End)?;
    Spot::of(end, content.keep)?.put(content).map(drop)
}

/// The same, only where nobody else can change anything on the way.
///
/// # Errors
/// As for [`write()`]; [`FileError::Exposed`] or [`FileError::Link`] when others can.
pub fn write_if_ours(path: &Path, content: &Content<'_>) -> Result<(), FileError> {
    let end = walk(named(path)?, Missing::Make, Until::Exposed)?;
    Spot::of(end, content.keep)?.put(content).map(drop)
}

/// The same as the user that this process has become: the kernel decides which links it may follow.
///
/// # Errors
/// When it cannot be written, or something that is no regular file is in its place.
pub fn write_as_user(path: &Path, content: &Content<'_>) -> Result<(), FileError> {
    let mut path = named(path)?.to_owned();
    for _ in 0..=MAX_LINKS {
        let no_file = || FileError::NoFile { path: path.clone() };
        let (parent, name) = (
            path.parent().ok_or_else(no_file)?,
            path.file_name().ok_or_else(no_file)?,
        );
        std::fs::create_dir_all(parent).map_err(FileError::system("create", parent))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(parent, flags, Mode::empty()).map_err(FileError::system("open", parent))?;
        let there = match rustix::fs::statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Some(stat),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(FileError::system("look at", &path)(error)),
        };
        if let Some(stat) = there
            && FileType::from_raw_mode(stat.st_mode) == FileType::Symlink
        {
            // The kernel has its say about links in folders like /tmp.
            match rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
                Ok(_) | Err(Errno::NOENT) => {}
                Err(error) => return Err(FileError::system("follow", &path)(error)),
            }
            let target = rustix::fs::readlinkat(&fd, name, Vec::new());
            let target = target.map_err(FileError::system("follow", &path))?;
            path = named(&parent.join(OsString::from_vec(target.into_bytes())))?.to_owned();
            continue;
        }
        if let Some(stat) = &there {
            replaceable(stat, content.keep)?;
        }
        let spot = Spot {
            folder: fd,
            path: path.clone(),
            name: name.to_owned(),
        };
        return spot.put(content).map(drop);
    }
    Err(FileError::system("follow", &path)(Errno::LOOP))
}

/// Makes an empty file in place of whatever regular file is at an absolute path, as [`write()`] does, and opens it.
///
/// # Errors
/// As for [`write()`].
pub fn fresh(path: &Path, mode: u32) -> Result<File, FileError> {
    let content = Content {
        bytes: &[],
        mode,
        owner: None,
        keep: &[],
    };
    let end = walk(named(path)?, Missing::Make, Until::End)?;
    Spot::of(end, &[])?.put(&content)
}

/// Makes a file at an absolute path where nothing is, without following a link that others could have put there, and opens
/// it.
///
/// # Errors
/// When it cannot be made, such a link is on the way, or something is there ([`std::io::ErrorKind::AlreadyExists`]).
pub fn create(path: &Path, mode: u32) -> Result<File, FileError> {
    let (folder, name) = match walk(named(path)?, Missing::Fail, Until::End)? {
        End::Nothing { folder, name } => (folder, name),
        End::Folder(_) | End::Entry { .. } => return Err(FileError::system("create", path)(Errno::EXIST)),
    };
    let opened = rustix::fs::openat(&folder.fd, &name, NEW, Mode::from_raw_mode(mode));
    opened
        .map(File::from)
        .map_err(FileError::system("create", &folder.path.join(&name)))
}

/// Makes a folder at an absolute path, and those above it, if nothing is there, without following a link that others could
/// have put there.
///
/// # Errors
/// When it cannot be made, or such a link is on the way.
pub fn make_folder(path: &Path) -> Result<(), FileError> {
    match walk(path, Missing::Make, Until::End)? {
        End::Folder(_) | End::Entry { .. } => Ok(()),
        End::Nothing { folder, name } => {
            match rustix::fs::mkdirat(&folder.fd, &name, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => Ok(()),
                Err(error) => Err(FileError::system("create", &folder.path.join(name))(error)),
            }
        }
    }
}

/// A path that names a file by its last component.
fn named(path: &Path) -> Result<&Path, FileError> {
    let last = path.as_os_str().as_bytes().rsplit(|byte| *byte == b'/').next();
    match last {
        None | Some(b"" | b"." | b"..") => Err(FileError::NoFile {
            path: path.to_owned(),
        }),
        Some(_) => Ok(path),
    }
}

/// Whether what is there may be replaced.
fn replaceable(stat: &Stat, keep: &[FileId]) -> Result<(), FileError> {
    if let Some(kind) = kind_of(stat) {
        return Err(FileError::Kind(kind));
    }
    match keep.contains(&FileId::from(stat)) {
        true => Err(FileError::Kept),
        false => Ok(()),
    }
}

/// Where a file is to be.
struct Spot {
    folder: OwnedFd,
    path: PathBuf,
    name: OsString,
}

impl Spot {
    fn of(end: End, keep: &[FileId]) -> Result<Self, FileError> {
        let (folder, name) = match end {
            End::Folder(_) => return Err(FileError::Kind(Kind::Folder)),
            End::Entry {
                folder, name, stat, ..
            } => {
                replaceable(&stat, keep)?;
                (folder, name)
            }
            End::Nothing { folder, name } => (folder, name),
        };
        Ok(Self {
            path: folder.path.join(&name),
            folder: folder.fd,
            name,
        })
    }

    fn put(&self, content: &Content<'_>) -> Result<File, FileError> {
        let (mut file, temporary) = self.create(content.mode)?;
        let written = self.fill(&mut file, &temporary, content);
        if written.is_err() {
            // The error that counts is the first one.
            let _ = rustix::fs::unlinkat(&self.folder, &temporary, AtFlags::empty());
        }
        written.map(|()| file)
    }

    /// A new file beside the place.
    fn create(&self, mode: u32) -> Result<(File, OsString), FileError> {
        static WRITTEN: AtomicU64 = AtomicU64::new(0);
        let mut tries = 0;
        loop {
            let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
            let name = OsString::from(format!(".harness-{}-{number}", std::process::id()));
            match rustix::fs::openat(&self.folder, &name, NEW, Mode::from_raw_mode(mode)) {
                Ok(fd) => return Ok((File::from(fd), name)),
                Err(Errno::EXIST) if tries < TRIES => {
                    tries += 1;
                    // What a former process with this pid left.
                    let _ = rustix::fs::unlinkat(&self.folder, &name, AtFlags::empty());
                }
                Err(error) => return Err(self.failed("write")(error)),
            }
        }
    }

    fn fill(&self, file: &mut File, temporary: &OsStr, content: &Content<'_>) -> Result<(), FileError> {
        file.write_all(content.bytes).map_err(self.failed("write"))?;
        if let Some((uid, gid)) = content.owner {
            rustix::fs::fchown(&*file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
                .map_err(self.failed("give away"))?;
        }
        rustix::fs::renameat(&self.folder, temporary, &self.folder, &self.name).map_err(self.failed("write"))
    }

    fn failed<E: Into<std::io::Error>>(&self, operation: &'static str) -> impl FnOnce(E) -> FileError {
        FileError::system(operation, &self.path)
    }
}

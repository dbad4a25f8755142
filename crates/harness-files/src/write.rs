//! Files that exist completely or not at all: each is written under another name in the same folder and then renamed.

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

/// How many other names to try if somebody takes the names.
const TRIES: usize = 16;

/// How to create a file that must not exist yet.
const NEW: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// The kernel follows this many links.
const MAX_LINKS: usize = 40;

/// Identifies a file, whatever its name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    /// The device it is on.
    pub device: u64,
    /// Its number on the device.
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

/// The content to write.
#[derive(Debug, Clone, Copy)]
pub struct Content<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Its mode. The umask is applied to it.
    pub mode: u32,
    /// The user and group to give it to.
    pub owner: Option<(u32, u32)>,
    /// Files that it must not replace.
    pub keep: &'a [FileId],
}

/// Writes a file at an absolute path, without following a link that others could have put there. Missing folders are
/// made. An existing regular file is replaced as a whole.
///
/// # Errors
/// When it cannot be written, or something other than a regular file is there. Then nothing was changed, except that
/// folders may have been made.
pub fn write(path: &Path, content: &Content<'_>) -> Result<(), FileError> {
    let end = walk(named(path)?, Missing::Make, Until::End)?;
    Spot::of(end, content.keep)?.put(content).map(drop)
}

/// The same, but only if nobody else can change anything on the path.
///
/// # Errors
/// The same as [`write()`], and [`FileError::Exposed`] or [`FileError::Link`] if others can.
pub fn write_if_ours(path: &Path, content: &Content<'_>) -> Result<(), FileError> {
    let end = walk(named(path)?, Missing::Make, Until::Exposed)?;
    Spot::of(end, content.keep)?.put(content).map(drop)
}

/// The same, as the user that this process has become. The kernel decides which links this user may follow.
///
/// # Errors
/// When it cannot be written, or something is there that is not a regular file.
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
            // The kernel may refuse links in folders like /tmp.
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

/// Replaces the regular file at an absolute path, if there is one, with an empty file as [`write()`] does, and opens
/// it.
///
/// # Errors
/// The same as [`write()`].
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

/// Makes a file at an absolute path where nothing exists, without following a link that others could have put there,
/// and opens it.
///
/// # Errors
/// When it cannot be made, the path leads through such a link, or something exists there
/// ([`std::io::ErrorKind::AlreadyExists`]).
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

/// Makes a folder at an absolute path, with its missing parents, without following a link that others could have put
/// there. Does nothing if something exists there.
///
/// # Errors
/// When it cannot be made, or the path leads through such a link.
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

/// Accepts a path only if its last component names a file.
fn named(path: &Path) -> Result<&Path, FileError> {
    let last = path.as_os_str().as_bytes().rsplit(|byte| *byte == b'/').next();
    match last {
        None | Some(b"" | b"." | b"..") => Err(FileError::NoFile {
            path: path.to_owned(),
        }),
        Some(_) => Ok(path),
    }
}

/// Whether the existing file may be replaced.
fn replaceable(stat: &Stat, keep: &[FileId]) -> Result<(), FileError> {
    if let Some(kind) = kind_of(stat) {
        return Err(FileError::Kind(kind));
    }
    match keep.contains(&FileId::from(stat)) {
        true => Err(FileError::Kept),
        false => Ok(()),
    }
}

/// The place for a file.
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
            // The first error is the one that counts.
            let _ = rustix::fs::unlinkat(&self.folder, &temporary, AtFlags::empty());
        }
        written.map(|()| file)
    }

    /// A new file next to the place.
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
                    // A former process with the same pid may have left it.
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

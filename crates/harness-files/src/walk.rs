//! Follows a path through descriptors, component by component, so that no name is looked up twice.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::error::{FileError, Kind};
use crate::trust::{Exposure, Reach, Us};

/// The kernel follows this many links.
const MAX_LINKS: usize = 40;

/// Looks at something without opening it.
const LOOK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What to do about missing folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Make them.
    Make,
    /// Fail.
    Fail,
}

/// How far to follow a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// To its end.
    End,
    /// To the first place that others may have changed, or may change.
    Exposed,
}

/// A folder on the path.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) fd: OwnedFd,
    /// Its real path, without links.
    pub(crate) path: PathBuf,
    pub(crate) reach: Reach,
}

/// What is at the end of a path.
#[derive(Debug)]
pub(crate) enum End {
    /// A folder.
    Folder(Folder),
    /// Something else.
    Entry {
        folder: Folder,
        name: OsString,
        fd: OwnedFd,
        stat: Stat,
    },
    /// Nothing, but its folder exists.
    Nothing { folder: Folder, name: OsString },
}

/// Follows an absolute path.
pub(crate) fn walk(path: &Path, missing: Missing, until: Until) -> Result<End, FileError> {
    let no_file = || FileError::NoFile {
        path: path.to_owned(),
    };
    if !path.is_absolute() || path.as_os_str().as_bytes().contains(&0) {
        return Err(no_file());
    }
    let mut walk = Walk {
        us: Us::now(),
        folders: Vec::new(),
        names: components(path),
        links: 0,
        missing,
        until,
    };
    walk.begin()?;
    while let Some(name) = walk.names.pop_front() {
        if let Some(end) = walk.step(name)? {
            return Ok(end);
        }
    }
    walk.folders.pop().map(End::Folder).ok_or_else(no_file)
}

struct Walk {
    us: Us,
    /// The folders from the root to the current place. `..` goes back through them, even if they were moved
    /// meanwhile.
    folders: Vec<Folder>,
    names: VecDeque<OsString>,
    links: usize,
    missing: Missing,
    until: Until,
}

/// The names in a path. If it begins at the root, the first one is `/`.
fn components(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter(|component| *component != Component::CurDir)
        .map(|component| component.as_os_str().to_owned())
        .collect()
}

impl Walk {
    fn begin(&mut self) -> Result<(), FileError> {
        let path = Path::new("/");
        let fail = |errno| FileError::system("open", path)(errno);
        let fd = rustix::fs::openat(CWD, path, LOOK | OFlags::DIRECTORY, Mode::empty()).map_err(fail)?;
        let stat = rustix::fs::fstat(&fd).map_err(fail)?;
        let reach = Reach::within(None, path, fd.as_fd(), &stat, &self.us);
        self.folders = vec![Folder {
            fd,
            path: path.to_owned(),
            reach,
        }];
        Ok(())
    }

    fn top(&self) -> Result<&Folder, FileError> {
        let gone = || FileError::NoFile {
            path: PathBuf::from("/"),
        };
        self.folders.last().ok_or_else(gone)
    }

    /// Follows a component. Returns the end if it is not a folder.
    fn step(&mut self, name: OsString) -> Result<Option<End>, FileError> {
        match name.as_bytes() {
            b"/" => {
                self.folders.truncate(1);
                return Ok(None);
            }
            b".." => {
                if self.folders.len() > 1 {
                    self.folders.pop();
                }
                return Ok(None);
            }
            _ => {}
        }
        let is_last = self.names.is_empty();
        let path = self.top()?.path.join(&name);
        let found = self.look(&name, &path, is_last)?;
        let is_folder = |(_, stat): &(_, Stat)| FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        // Our own folders inside one like `/tmp` stay ours.
        if !found.as_ref().is_some_and(is_folder) {
            self.stop_if_exposed()?;
        }
        let Some((fd, stat)) = found else {
            let folder = self.folders.pop().ok_or(FileError::NoFile { path })?;
            return Ok(Some(End::Nothing { folder, name }));
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                self.expand(&fd, &stat, &path)?;
                Ok(None)
            }
            FileType::Directory => {
                let parent = &self.top()?.reach;
                let reach = Reach::within(Some(parent), &path, fd.as_fd(), &stat, &self.us);
                self.folders.push(Folder { fd, path, reach });
                if matches!(self.top()?.reach, Reach::Theirs(_)) {
                    self.stop_if_exposed()?;
                }
                Ok(None)
            }
            _ if is_last => {
                let folder = self.folders.pop().ok_or(FileError::NoFile { path })?;
                Ok(Some(End::Entry {
                    folder,
                    name,
                    fd,
                    stat,
                }))
            }
            _ => Err(FileError::system("open", &path)(Errno::NOTDIR)),
        }
    }

    fn stop_if_exposed(&self) -> Result<(), FileError> {
        match self.top()?.reach.exposure() {
            Some(exposure) if self.until == Until::Exposed => Err(FileError::Exposed(exposure.clone())),
            _ => Ok(()),
        }
    }

    /// The kind of an entry; `None` if the last component does not exist.
    fn look(&self, name: &OsStr, path: &Path, is_last: bool) -> Result<Option<(OwnedFd, Stat)>, FileError> {
        let folder = &self.top()?.fd;
        let mut made = false;
        loop {
            match rustix::fs::openat(folder, name, LOOK, Mode::empty()) {
                Ok(fd) => {
                    let stat = rustix::fs::fstat(&fd).map_err(FileError::system("look at", path))?;
                    return Ok(Some((fd, stat)));
                }
                Err(Errno::NOENT) if is_last => return Ok(None),
                Err(Errno::NOENT) if self.missing == Missing::Make && !made => {
                    self.stop_if_exposed()?;
                    made = true;
                    match rustix::fs::mkdirat(folder, name, Mode::from_raw_mode(0o777)) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(error) => return Err(FileError::system("create", path)(error)),
                    }
                }
                Err(error) => return Err(FileError::system("open", path)(error)),
            }
        }
    }

    /// Follows a link, if nobody else could have put it there.
    fn expand(&mut self, fd: &OwnedFd, stat: &Stat, path: &Path) -> Result<(), FileError> {
        let folder = self.top()?;
        let owner = || Exposure {
            folder: path.to_owned(),
            who: crate::trust::Who::Owner(stat.st_uid),
        };
        let exposure = folder
            .reach
            .exposure()
            .cloned()
            .or_else(|| (!self.us.owns(stat.st_uid)).then(owner));
        if let Some(exposure) = exposure {
            return Err(FileError::Link {
                link: path.to_owned(),
                exposure,
            });
        }
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(FileError::system("follow", path)(Errno::LOOP));
        }
        let target = rustix::fs::readlinkat(fd, "", Vec::new()).map_err(FileError::system("follow", path))?;
        let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
        for name in components(&target).into_iter().rev() {
            self.names.push_front(name);
        }
        Ok(())
    }
}

/// What is at a path, found without following a link that others could have put there.
#[derive(Debug)]
pub struct Place {
    /// Its real path, without links.
    pub path: PathBuf,
    /// Whether something is there, and if so, whether it is a folder.
    pub is_folder: Option<bool>,
    /// The place where others may change what this path leads to; `None` if there is none.
    pub exposure: Option<Exposure>,
}

/// Finds what an absolute path leads to.
///
/// # Errors
/// When a folder on the path does not exist, or is a link that others could have put there.
pub fn place(path: &Path) -> Result<Place, FileError> {
    let theirs = |folder: &Folder| folder.reach.exposure().cloned();
    Ok(match walk(path, Missing::Fail, Until::End)? {
        End::Folder(folder) => Place {
            exposure: theirs(&folder),
            path: folder.path,
            is_folder: Some(true),
        },
        End::Entry { folder, name, .. } => Place {
            exposure: theirs(&folder),
            path: folder.path.join(name),
            is_folder: Some(false),
        },
        End::Nothing { folder, name } => Place {
            exposure: theirs(&folder),
            path: folder.path.join(name),
            is_folder: None,
        },
    })
}

/// Opens a folder (only for its path), without following a link that others could have put there.
///
/// # Errors
/// When there is none.
pub fn open_folder(path: &Path) -> Result<OwnedFd, FileError> {
    match walk(path, Missing::Fail, Until::End)? {
        End::Folder(folder) => Ok(folder.fd),
        End::Entry { .. } => Err(FileError::system("open", path)(Errno::NOTDIR)),
        End::Nothing { .. } => Err(FileError::system("open", path)(Errno::NOENT)),
    }
}

/// The kind of something that is not a regular file; `None` for a regular file.
pub(crate) fn kind_of(stat: &Stat) -> Option<Kind> {
    Some(match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => return None,
        FileType::Directory => Kind::Folder,
        FileType::Fifo => Kind::Pipe,
        FileType::CharacterDevice | FileType::BlockDevice => Kind::Device,
        FileType::Socket => Kind::Socket,
        _ => Kind::Other,
    })
}

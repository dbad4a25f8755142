//! Reads only regular files of limited size. Anything else is noticed before it is opened: opening a FIFO waits for a
//! writer, and opening a device has an effect.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::error::{FileError, Kind};
use crate::trust::{Reach, Us};
use crate::walk::{End, Missing, Until, kind_of, open_folder, walk};

/// Says whether the kernel prevents users from making hard links to files that they may not write.
const PROTECTED_HARDLINKS: &str = "/proc/sys/fs/protected_hardlinks";

/// Opens a regular file for reading.
///
/// # Errors
/// When there is none.
pub fn open(path: &Path) -> Result<File, FileError> {
    let fail = |errno| FileError::system("open", path)(errno);
    let fd = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(fail)?;
    let stat = rustix::fs::fstat(&fd).map_err(fail)?;
    opened(path, &fd, &stat)
}

/// The same, but root follows no link that others could have put there: what root reads for a service may be shown to
/// the service's user. For root, only absolute paths are allowed.
///
/// # Errors
/// When there is none, or the path leads through such a link.
pub fn open_guarded(path: &Path) -> Result<File, FileError> {
    let us = Us::now();
    if !us.is_root() {
        return open(path);
    }
    match walk(path, Missing::Fail, Until::End)? {
        End::Folder(_) => Err(FileError::Kind(Kind::Folder)),
        End::Nothing { .. } => Err(FileError::system("open", path)(Errno::NOENT)),
        End::Entry { folder, fd, stat, .. } => {
            check_names(&folder.reach, &stat, &us, PROTECTED_HARDLINKS)?;
            opened(path, &fd, &stat)
        }
    }
}

/// Opens a folder only for its path. Root follows no link to it that others could have made.
///
/// # Errors
/// When there is none, or the path leads through such a link.
pub fn open_folder_guarded(path: &Path) -> Result<OwnedFd, FileError> {
    if rustix::process::geteuid().is_root() {
        let absolute = std::path::absolute(path).map_err(FileError::system("open", path))?;
        return open_folder(&absolute);
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(FileError::system("open", path))
}

/// Whether the kernel prevents users from making hard links to files that they may not write.
pub fn names_are_protected() -> bool {
    is_set(PROTECTED_HARDLINKS)
}

fn is_set(setting: &str) -> bool {
    fs::read_to_string(setting).is_ok_and(|setting| setting.trim() == "1")
}

/// If others have made a new name for a file of root, that is as dangerous as a link to it.
fn check_names(reach: &Reach, stat: &Stat, us: &Us, setting: &str) -> Result<(), FileError> {
    let Some(exposure) = reach.exposure() else {
        return Ok(());
    };
    if stat.st_nlink < 2 || !us.owns(stat.st_uid) {
        return Ok(());
    }
    match is_set(setting) {
        true => Ok(()),
        false => Err(FileError::Names {
            exposure: exposure.clone(),
        }),
    }
}

/// Opens the file that was found.
fn opened(path: &Path, fd: &OwnedFd, stat: &Stat) -> Result<File, FileError> {
    if let Some(kind) = kind_of(stat) {
        return Err(FileError::Kind(kind));
    }
    let again = format!("/proc/self/fd/{}", fd.as_raw_fd());
    // Some of the kernel's own files look regular but make their readers wait.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(again, flags, Mode::empty()).map_err(FileError::system("open", path))?;
    Ok(File::from(file))
}

/// The bytes of a regular file of at most `max` bytes.
///
/// # Errors
/// When it cannot be read, or is larger.
pub fn read(path: &Path, max: u64) -> Result<Vec<u8>, FileError> {
    contents(path, open(path)?, max)
}

/// The same, but opened like [`open_guarded`] does.
///
/// # Errors
/// When it cannot be read, or is larger.
pub fn read_guarded(path: &Path, max: u64) -> Result<Vec<u8>, FileError> {
    contents(path, open_guarded(path)?, max)
}

/// The text of a regular file, of at most `max` bytes.
///
/// # Errors
/// When it cannot be read, is larger, or is not UTF-8.
pub fn read_text(path: &Path, max: u64) -> Result<String, FileError> {
    String::from_utf8(read(path, max)?).map_err(|_| FileError::NotText)
}

/// The same, but opened like [`open_guarded`] does.
///
/// # Errors
/// When it cannot be read, is larger, or is not UTF-8.
pub fn read_text_guarded(path: &Path, max: u64) -> Result<String, FileError> {
    String::from_utf8(read_guarded(path, max)?).map_err(|_| FileError::NotText)
}

fn contents(path: &Path, file: File, max: u64) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    let read = file.take(max.saturating_add(1)).read_to_end(&mut bytes);
    match read {
        Ok(_) if bytes.len() as u64 > max => Err(FileError::TooLarge { max }),
        Ok(_) => Ok(bytes),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(FileError::NothingToRead),
        Err(error) => Err(FileError::system("read", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::{Exposure, Who};

    #[test]
    fn a_second_name_in_a_folder_of_others_is_refused_where_the_kernel_allows_them() {
        let folder = tempfile::tempdir().unwrap();
        let (file, setting) = (folder.path().join("file"), folder.path().join("setting"));
        fs::write(&file, "x").unwrap();
        let stat = || rustix::fs::stat(&file).unwrap();
        let theirs = Reach::Theirs(Exposure {
            folder: folder.path().to_owned(),
            who: Who::Everybody,
        });
        let check = |reach: &Reach, value: &str| {
            fs::write(&setting, value).unwrap();
            check_names(reach, &stat(), &Us::now(), setting.to_str().unwrap())
        };
        assert!(check(&theirs, "0\n").is_ok());
        fs::hard_link(&file, folder.path().join("other")).unwrap();
        assert!(matches!(check(&theirs, "0\n"), Err(FileError::Names { .. })));
        assert!(check(&theirs, "1\n").is_ok());
        assert!(check(&Reach::Ours, "0\n").is_ok());
    }
}

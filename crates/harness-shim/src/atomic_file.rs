//! Files that exist completely or not at all: they are written under another name and then renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::text::MAX_FILE;

/// Writes a file of mode 0600. Readers see the old content or the new content, never a part.
pub(crate) fn write(path: &Path, contents: &[u8]) -> io::Result<()> {
    let temporary = temporary(path);
    let result = open(&temporary)
        .and_then(|mut file| file.write_all(contents))
        .and_then(|()| fs::rename(&temporary, path));
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result
}

/// Reads a file of the run directory; `None` if it does not exist.
pub(crate) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match harness_files::open(path).map_err(io::Error::from) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut contents = Vec::new();
    // Read one byte more than allowed, so that the parser notices a file that is too large.
    file.take(MAX_FILE + 1).read_to_end(&mut contents)?;
    Ok(Some(contents))
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

/// A file with disk space that was reserved in advance, so that it can still be written when the disk is full.
pub(crate) struct Reserved {
    path: PathBuf,
    file: File,
}

impl Reserved {
    const SPACE: usize = 1024;

    /// Reserves the space for `path`. The file does not exist until [`Reserved::write`].
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        let mut file = open(&temporary(path))?;
        file.write_all(&[b' '; Self::SPACE])?;
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }

    /// Makes the file appear with this content.
    pub(crate) fn write(mut self, contents: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(contents)?;
        self.file.set_len(contents.len() as u64)?;
        fs::rename(temporary(&self.path), &self.path)
    }
}

//! Enters the folder that a program runs in.

use std::io;
use std::path::Path;

use harness_files::FileError;

/// Makes a folder the working directory, as the current user of this process. As root, it follows no link to the
/// folder that others could have made.
pub(crate) fn enter(path: &Path) -> io::Result<()> {
    let folder = harness_files::open_folder_guarded(path).map_err(|error| match error {
        // Only a number is reported.
        FileError::Link { .. } => io::Error::from_raw_os_error(libc::ELOOP),
        other => other.into(),
    })?;
    Ok(rustix::process::fchdir(folder)?)
}

//! Entering the folder that a program runs in.

use std::io;
use std::path::Path;

use harness_files::FileError;

/// Makes a folder the working directory, as the user that this process is by now. Root follows no link to it that others
/// could have made.
pub(crate) fn enter(path: &Path) -> io::Result<()> {
    let folder = harness_files::open_folder_guarded(path).map_err(|error| match error {
        // It is a number that is reported.
        FileError::Link { .. } => io::Error::from_raw_os_error(libc::ELOOP),
        other => other.into(),
    })?;
    Ok(rustix::process::fchdir(folder)?)
}

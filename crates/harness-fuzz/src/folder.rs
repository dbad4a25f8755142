//! A folder that belongs to the calling thread, for checks that read files.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

thread_local! {
    static FOLDER: OnceCell<(TempDir, PathBuf)> = const { OnceCell::new() };
}

/// Calls with the folder. It may contain what an earlier input left there.
pub(crate) fn with<R>(use_it: impl FnOnce(&Path) -> R) -> R {
    FOLDER.with(|cell| {
        let (_, path) = cell.get_or_init(|| {
            let dir = tempfile::tempdir().unwrap();
            // Its real path, which the loader uses in its messages.
            let path = dir.path().canonicalize().unwrap();
            (dir, path)
        });
        use_it(path)
    })
}

/// Calls with an empty folder inside it.
pub(crate) fn with_empty<R>(name: &str, use_it: impl FnOnce(&Path) -> R) -> R {
    with(|folder| {
        let path = folder.join(name);
        if path.exists() {
            std::fs::remove_dir_all(&path).unwrap();
        }
        std::fs::create_dir(&path).unwrap();
        use_it(&path)
    })
}

//! A folder of the calling thread's own, for what reads files.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

thread_local! {
    static FOLDER: OnceCell<(TempDir, PathBuf)> = const { OnceCell::new() };
}

/// Calls with the folder, which may hold what an earlier input left there.
pub(crate) fn with<R>(use_it: impl FnOnce(&Path) -> R) -> R {
    FOLDER.with(|cell| {
        let (_, path) = cell.get_or_init(|| {
            let dir = tempfile::tempdir().unwrap();
            // Its one true name, which is what the loader calls it by.
            let path = dir.path().canonicalize().unwrap();
            (dir, path)
        });
        use_it(path)
    })
}

/// Calls with an empty folder below it.
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

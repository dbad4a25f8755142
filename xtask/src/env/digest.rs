//! Digests of what images are made from, which show whether an image must be made again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::error::EnvError;
use crate::error::TaskError;

/// The digest of the base: its release and processor, its packages, and what is left out of them.
pub(crate) fn of_base(suite: &str, packages: &[String], left_out: &[String]) -> String {
    let mut sum = Sha256::new();
    let place = [suite.to_owned(), std::env::consts::ARCH.to_owned()];
    for part in place.iter().chain(packages).chain(left_out) {
        put(&mut sum, part.as_bytes());
    }
    short(sum)
}

/// The digest of what an image is made from: the base, and the names, contents and modes of the files in its folder.
pub(crate) fn of_image(base: &str, folder: &Path) -> Result<String, EnvError> {
    let mut sum = Sha256::new();
    put(&mut sum, base.as_bytes());
    let entries = fs::read_dir(folder).map_err(TaskError::file("read", folder))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    for file in files {
        let content = fs::read(&file).map_err(TaskError::file("read", &file))?;
        let mode = fs::metadata(&file)
            .map_err(TaskError::file("read", &file))?
            .permissions()
            .mode();
        put(&mut sum, file.file_name().unwrap_or_default().as_encoded_bytes());
        put(&mut sum, if mode & 0o100 == 0 { b"plain" } else { b"program" });
        put(&mut sum, &content);
    }
    Ok(short(sum))
}

/// Includes the length, so that the sum changes if something moves from one part to the next.
fn put(sum: &mut Sha256, part: &[u8]) {
    sum.update(part.len().to_le_bytes());
    sum.update(part);
}

fn short(sum: Sha256) -> String {
    sum.finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_changes_with_all_that_an_image_is_made_of() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("Dockerfile");
        fs::write(&file, "FROM x\n").unwrap();
        let first = of_image("base", folder.path()).unwrap();
        assert_eq!(of_image("base", folder.path()).unwrap(), first);
        let mut seen = vec![first, of_image("other", folder.path()).unwrap()];
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        seen.push(of_image("base", folder.path()).unwrap());
        fs::write(&file, "FROM y\n").unwrap();
        seen.push(of_image("base", folder.path()).unwrap());
        fs::write(folder.path().join("entrypoint"), "").unwrap();
        seen.push(of_image("base", folder.path()).unwrap());
        let count = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), count);
    }
}

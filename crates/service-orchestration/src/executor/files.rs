//! Rendering the `files` of a service before it starts.

use std::fs::{self, OpenOptions};
use std::io;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use harness_model::spec::FileSpec;

use super::LaunchError;
use super::program::{shown, text};

/// Writes each rendered file beside its target and renames it over, so that no reader sees half a file. A file
/// with a secret in it is readable by its owner alone.
///
/// # Errors
/// When a target cannot be written.
pub(super) fn render(files: &[FileSpec], base: &Path, owner: Option<(u32, u32)>) -> Result<(), LaunchError> {
    for file in files {
        let Some(content) = &file.content else { continue };
        let target = base.join(text(&file.target)?);
        let mode = if content.has_secret() { 0o600 } else { 0o644 };
        write(&target, text(content)?.as_bytes(), mode, owner).map_err(|source| LaunchError::Path {
            what: "file target",
            path: shown(&file.target, target),
            source,
        })?;
    }
    Ok(())
}

fn write(target: &Path, content: &[u8], mode: u32, owner: Option<(u32, u32)>) -> std::io::Result<()> {
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut name = target.file_name().unwrap_or_default().to_owned();
    // Two services may render the same file at once.
    static RENDERED: AtomicU64 = AtomicU64::new(0);
    let number = RENDERED.fetch_add(1, Ordering::Relaxed);
    name.push(format!(".harness-{}-{number}", std::process::id()));
    let temporary: PathBuf = target.with_file_name(name);
    let result = (|| {
        // What a former daemon with this pid left would bring its own mode, and a link would lead elsewhere.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&temporary)?;
        file.write_all(content)?;
        if let Some((uid, gid)) = owner {
            std::os::unix::fs::fchown(&file, Some(uid), Some(gid))?;
        }
        fs::rename(&temporary, target)
    })();
    if result.is_err() {
        // The error that counts is the first one.
        let _ = fs::remove_file(&temporary);
    }
    result
}

/// The ids of a user, for giving a rendered file to the one who reads it; `None` if there is no such user here.
pub(super) fn owner(user: &str) -> Option<(u32, u32)> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, ..] = fields.as_slice() else {
            return None;
        };
        (*name == user || *uid == user)
            .then(|| Some((uid.parse().ok()?, gid.parse().ok()?)))
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (target, elsewhere) = (dir.path().join("conf/app.toml"), dir.path().join("elsewhere"));
        fs::write(&elsewhere, "untouched").unwrap();
        fs::create_dir(dir.path().join("conf")).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &target).unwrap();
        // What a former daemon of this pid may have left, or somebody laid out, under the names to come.
        for number in 0..64 {
            let left = format!("conf/app.toml.harness-{}-{number}", std::process::id());
            std::os::unix::fs::symlink(&elsewhere, dir.path().join(left)).unwrap();
        }
        write(&target, b"secret", 0o600, None).unwrap();
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "untouched");
        assert_eq!(fs::read_to_string(&target).unwrap(), "secret");
        let meta = fs::symlink_metadata(&target).unwrap();
        assert!(meta.is_file() && meta.permissions().mode() & 0o777 == 0o600);
    }
}

//! Finds a program and looks at paths on this machine. Everything here blocks on the disk.

use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::host::{FileKind, FindError, Search, Stat};

/// Checks the folder of a search, and finds the program.
pub(super) fn search(search: &Search) -> Result<PathBuf, FindError> {
    let folder = &search.folder;
    let error = |source| FindError::Folder {
        path: folder.clone(),
        source,
    };
    match std::fs::metadata(folder) {
        Ok(meta) if meta.is_dir() => {}
        Ok(_) => return Err(error(io::ErrorKind::NotADirectory.into())),
        Err(source) => return Err(error(source)),
    }
    if search.is_guarded {
        // The shim makes sure of that. This check only gives a clear message.
        harness_files::open_folder_guarded(folder)
            .map_err(|refused| error(io::Error::new(refused.kind(), refused)))?;
    }
    find(&search.program, &search.path, folder)
}

/// Looks at a path.
pub(super) fn stat(path: &Path) -> io::Result<Stat> {
    let meta = std::fs::metadata(path)?;
    Ok(Stat {
        kind: match (meta.is_file(), meta.is_dir()) {
            (true, _) => FileKind::File,
            (_, true) => FileKind::Folder,
            _ => FileKind::Other,
        },
        mode: meta.mode() & 0o7777,
        owner: meta.uid(),
        size: meta.size(),
    })
}

/// The path of a program on this machine. A name with a slash is taken as it is, relative to `base`; a name without one is looked up
/// in `path`.
///
/// # Errors
/// When there is no such program, or it is not an executable file.
pub fn find(program: &str, path: &str, base: &Path) -> Result<PathBuf, FindError> {
    if program.contains('/') {
        let file = base.join(program);
        let error = |source| FindError::Program {
            path: file.clone(),
            source,
        };
        let meta = std::fs::metadata(&file).map_err(error)?;
        if meta.is_dir() {
            return Err(error(io::ErrorKind::IsADirectory.into()));
        }
        if !meta.is_file() {
            return Err(error(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it is not a regular file",
            )));
        }
        if meta.permissions().mode() & 0o111 == 0 {
            return Err(error(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "it is not executable (chmod +x)",
            )));
        }
        check_interpreter(&file)?;
        return Ok(file);
    }
    let found = path
        .split(':')
        .filter(|dir| !dir.is_empty())
        .map(|dir| base.join(dir).join(program))
        .find(|file| {
            std::fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        })
        .ok_or_else(|| FindError::NotInPath {
            program: program.to_owned(),
            path: path.to_owned(),
        })?;
    check_interpreter(&found)?;
    Ok(found)
}

/// Checks that the interpreter that a script names after `#!` exists. The system would report it as if the script
/// were missing.
///
/// # Errors
/// When it does not exist.
fn check_interpreter(program: &Path) -> Result<(), FindError> {
    let Some((interpreter, has_windows_end)) = interpreter(program) else {
        return Ok(());
    };
    if has_windows_end {
        return Err(FindError::LineEnds {
            script: program.to_owned(),
        });
    }
    if Path::new(&interpreter).exists() {
        return Ok(());
    }
    Err(FindError::NoInterpreter {
        script: program.to_owned(),
        interpreter,
    })
}

/// The absolute path after `#!`, and whether that line ends as those of Windows do; `None` for anything else, and for
/// what cannot be read.
fn interpreter(program: &Path) -> Option<(String, bool)> {
    // As much of the line as the kernel looks at.
    let mut start = Vec::new();
    let file = harness_files::open_guarded(program).ok()?;
    file.take(256).read_to_end(&mut start).ok()?;
    let line = start.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?;
    let word = std::str::from_utf8(line).ok()?.split_ascii_whitespace().next()?;
    word.starts_with('/')
        .then(|| (word.to_owned(), line.ends_with(b"\r")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_in_path_or_named() {
        let base = Path::new("/");
        assert!(find("sh", "/nowhere:/bin", base).is_ok());
        assert!(matches!(
            find("sh", "/nowhere", base),
            Err(FindError::NotInPath { .. })
        ));
        assert_eq!(find("./bin/sh", "", base).unwrap(), Path::new("/./bin/sh"));
        let error = find("/etc/passwd", "", base).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot run /etc/passwd: it is not executable (chmod +x)"
        );
        let error = find("/no/such", "", base).unwrap_err();
        assert!(
            error.to_string().starts_with("cannot run /no/such: No such file"),
            "{error}"
        );
    }

    #[test]
    fn a_script_without_its_interpreter_is_told_from_a_missing_one() {
        let folder = tempfile::tempdir().unwrap();
        let script = |text: &str| {
            let path = folder.path().join("script");
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let error = find("./script", "", script("#! /no/such -x\n").parent().unwrap()).unwrap_err();
        let text = error.to_string();
        assert!(
            text.ends_with("script is a script for /no/such, which does not exist"),
            "{text}"
        );
        for ends in [
            "#!/bin/sh\r\n",
            "#!/usr/bin/env python3\r\n",
            "#! /bin/sh -e\r\necho\r\n",
        ] {
            let error = find("./script", "", script(ends).parent().unwrap()).unwrap_err();
            assert!(
                error.to_string().contains("has Windows line ends (CRLF)"),
                "{error}"
            );
        }
        for good in ["#!/bin/sh\n", "#!/bin/sh", "", "#!\n", "#!relative\n", "ELF"] {
            assert!(
                find("./script", "", script(good).parent().unwrap()).is_ok(),
                "{good}"
            );
        }
    }
}

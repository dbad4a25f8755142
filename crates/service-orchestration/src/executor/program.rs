//! Finds the program of a service and the folder it runs in.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use harness_model::Template;

use super::LaunchError;

/// The text of a resolved template.
pub(super) fn text(template: &Template) -> Result<String, LaunchError> {
    template.expose().ok_or_else(|| LaunchError::Unresolved {
        text: template.to_string(),
    })
}

/// How a path that came from a template appears in an error. If the template has secrets, it appears as the template
/// shows itself.
pub(super) fn shown(template: &Template, path: PathBuf) -> PathBuf {
    if template.has_secret() {
        PathBuf::from(template.to_string())
    } else {
        path
    }
}

/// Hides the secrets in an error about a path that came from a template.
pub(super) fn redacted(template: &Template, error: LaunchError) -> LaunchError {
    match error {
        LaunchError::Path { what, path, source } => LaunchError::Path {
            what,
            path: shown(template, path),
            source,
        },
        LaunchError::NoInterpreter { script, interpreter } => LaunchError::NoInterpreter {
            script: shown(template, script),
            interpreter,
        },
        LaunchError::LineEnds { script } => LaunchError::LineEnds {
            script: shown(template, script),
        },
        LaunchError::NotInPath { path, .. } if template.has_secret() => LaunchError::NotInPath {
            program: template.to_string(),
            path,
        },
        other => other,
    }
}

/// The path of a program. A name with a slash is taken as it is, relative to `base`; a name without one is looked up
/// in `path`.
///
/// # Errors
/// When there is no such program, or it is not an executable file.
pub fn find(program: &str, path: &str, base: &Path) -> Result<PathBuf, LaunchError> {
    if program.contains('/') {
        let file = base.join(program);
        let error = |source| LaunchError::Path {
            what: "binary",
            path: file.clone(),
            source,
        };
        let meta = std::fs::metadata(&file).map_err(error)?;
        if meta.is_dir() {
            return Err(error(std::io::ErrorKind::IsADirectory.into()));
        }
        if !meta.is_file() {
            return Err(error(std::io::Error::new(
                std::io::ErrorKind::InvalidInput,
                "it is not a regular file",
            )));
        }
        if meta.permissions().mode() & 0o111 == 0 {
            return Err(error(std::io::Error::new(
                std::io::ErrorKind::PermissionDenied,
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
        .ok_or_else(|| LaunchError::NotInPath {
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
fn check_interpreter(program: &Path) -> Result<(), LaunchError> {
    let Some((interpreter, has_windows_end)) = interpreter(program) else {
        return Ok(());
    };
    if has_windows_end {
        return Err(LaunchError::LineEnds {
            script: program.to_owned(),
        });
    }
    if Path::new(&interpreter).exists() {
        return Ok(());
    }
    Err(LaunchError::NoInterpreter {
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

/// Checks that a folder exists.
///
/// # Errors
/// When it does not exist, or is not a folder.
pub(super) fn check_folder(path: &Path) -> Result<(), LaunchError> {
    let error = |source| LaunchError::Path {
        what: "working_dir",
        path: path.to_owned(),
        source,
    };
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(_) => Err(error(std::io::ErrorKind::NotADirectory.into())),
        Err(source) => Err(error(source)),
    }
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
            Err(LaunchError::NotInPath { .. })
        ));
        assert_eq!(find("./bin/sh", "", base).unwrap(), Path::new("/./bin/sh"));
        let error = find("/etc/passwd", "", base).unwrap_err();
        assert_eq!(
            error.to_string(),
            "binary /etc/passwd: it is not executable (chmod +x)"
        );
        let error = find("sleep 5", "/nowhere::/none:/nowhere", base).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`sleep 5` was not found in PATH (/nowhere:/none); arguments belong in `args`"
        );
        let error = find("/no/such", "", base).unwrap_err();
        assert!(
            error.to_string().starts_with("binary /no/such: No such file"),
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

    #[test]
    fn errors_about_paths_do_not_show_the_secrets_in_them() {
        let base = Path::new("/");
        for secret in ["/no/hunter2", "hunter2"] {
            let template = Template::secret(secret);
            let error = redacted(&template, find(secret, "/nowhere", base).unwrap_err());
            let (words, debug) = (error.to_string(), format!("{error:?}"));
            assert!(
                !words.contains("hunter2") && !debug.contains("hunter2"),
                "{debug}"
            );
        }
        let plain = Template::from("/no/such");
        let error = redacted(&plain, find("/no/such", "", base).unwrap_err());
        assert!(error.to_string().contains("/no/such"));
    }
}

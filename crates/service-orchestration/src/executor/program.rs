//! The program of a service in the words of the file, and without its secrets.

use std::path::{Path, PathBuf};

use command_executor::host::FindError;
use command_executor::local;
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

/// The path of a program on this machine. A name with a slash is taken as it is, relative to `base`; a name without
/// one is looked up in `path`.
///
/// # Errors
/// When there is no such program, or it is not an executable file.
pub fn find(program: &str, path: &str, base: &Path) -> Result<PathBuf, LaunchError> {
    Ok(local::find(program, path, base)?)
}

impl From<FindError> for LaunchError {
    fn from(error: FindError) -> Self {
        match error {
            FindError::Folder { path, source } => Self::Path {
                what: "working_dir",
                path,
                source,
            },
            FindError::Program { path, source } => Self::Path {
                what: "binary",
                path,
                source,
            },
            FindError::NotInPath { program, path } => Self::NotInPath { program, path },
            FindError::NoInterpreter { script, interpreter } => Self::NoInterpreter { script, interpreter },
            FindError::LineEnds { script } => Self::LineEnds { script },
            other => Self::Place(Box::new(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_missing_is_told_in_the_words_of_the_file() {
        let base = Path::new("/");
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

//! The trampoline: sets up this process and becomes the program. A daemon is started with it, because a daemon must
//! not stay in the session of whoever starts it.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::launch::{Failure, Launch, Step};
use crate::run_dir::{Resource, parse_umask};
use crate::{sys, words};

/// The command line after `exec` or `command`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    user: Option<String>,
    cwd: Option<PathBuf>,
    tty: bool,
    umask: Option<u32>,
    limits: Vec<(Resource, u64)>,
    soft_limits: Vec<(Resource, u64)>,
    program: PathBuf,
    args: Vec<OsString>,
}

impl Options {
    /// Parses the arguments after the verb. The error is text for people.
    pub(crate) fn parse(mut args: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let mut options = Self::default();
        loop {
            let Some(word) = args.next() else {
                return Err("`--` and a program are missing".to_owned());
            };
            let mut value = || {
                args.next()
                    .ok_or_else(|| format!("{} needs a value", word.display()))
            };
            match word.to_str() {
                Some("--user") => {
                    let user = value()?;
                    options.user = Some(user.into_string().map_err(|_| "--user is not UTF-8".to_owned())?);
                }
                Some("--cwd") => options.cwd = Some(value()?.into()),
                Some("--tty") => options.tty = true,
                Some("--umask") => {
                    let text = value()?;
                    let umask = text.to_str().and_then(parse_umask);
                    let umask = umask.ok_or_else(|| format!("--umask {} is not octal", text.display()))?;
                    options.umask = Some(umask);
                }
                Some(flag @ ("--limit" | "--soft-limit")) => {
                    let limit = value()?;
                    let parsed = limit.to_str().and_then(|limit| {
                        let (name, number) = limit.split_once('=')?;
                        Some((Resource::from_name(name)?, number.parse().ok()?))
                    });
                    let parsed = parsed.ok_or_else(|| format!("{flag} {} is not NAME=N", limit.display()))?;
                    match flag {
                        "--limit" => options.limits.push(parsed),
                        _ => options.soft_limits.push(parsed),
                    }
                }
                Some("--") => {
                    options.program = args.next().ok_or("a program is missing after `--`")?.into();
                    options.args = args.collect();
                    return Ok(options);
                }
                _ => return Err(format!("unknown option {}", word.display())),
            }
        }
    }
}

impl Options {
    /// The program.
    pub(crate) fn program(&self) -> &std::path::Path {
        &self.program
    }
}

/// Becomes the program, or prints why it cannot: exits with 127 if the program was not found, and with 126 otherwise.
pub(crate) fn run(options: &Options) -> ExitCode {
    sys::close_from(3);
    ExitCode::from(become_it(options))
}

/// Becomes the program. If that fails, prints the reason on stderr and returns the exit code.
pub(crate) fn become_it(options: &Options) -> u8 {
    let launch = Launch {
        program: &options.program,
        args: &options.args,
        env: std::env::vars_os().collect(),
        cwd: options.cwd.as_deref(),
        user: options.user.as_deref(),
        umask: options.umask,
        limits: &options.limits,
        soft_limits: &options.soft_limits,
        tty: options.tty,
    };
    let Failure { step, errno } = launch.run();
    let reason = io::Error::from_raw_os_error(errno);
    let program = options.program.display();
    let message = match (step, &options.user, &options.cwd) {
        (Step::User, Some(user), _) if errno == libc::ENOENT => words::unknown_user(user),
        (Step::User, Some(user), _) => format!("cannot become user `{user}`: {reason}"),
        (Step::Cwd, _, Some(cwd)) => format!("cannot enter {}: {reason}", cwd.display()),
        (Step::Exec, ..) if errno == libc::ENOEXEC => {
            format!("{program}: {}", words::NO_PROGRAM)
        }
        _ => format!("{} {program}: {reason}", step.word()),
    };
    let message = format!("harness-shim: {message}\n");
    let _ = io::stderr().write_all(message.as_bytes());
    let not_found = step == Step::Exec && errno == libc::ENOENT;
    if not_found { 127 } else { 126 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Options, String> {
        Options::parse(words.iter().map(OsString::from))
    }

    #[test]
    fn options_end_at_the_dashes() {
        let options = parse(&[
            "--user",
            "u",
            "--limit",
            "core=0",
            "--soft-limit",
            "open_files=64",
            "--tty",
            "--",
            "sh",
            "--tty",
        ])
        .unwrap();
        assert_eq!(options.user.as_deref(), Some("u"));
        assert_eq!(options.limits, [(Resource::Core, 0)]);
        assert_eq!(options.soft_limits, [(Resource::OpenFiles, 64)]);
        assert_eq!(options.args, ["--tty"]);
        for bad in [
            &["sh"][..],
            &["--"],
            &["--user"],
            &["--limit", "x=1", "--", "a"],
            &[],
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}

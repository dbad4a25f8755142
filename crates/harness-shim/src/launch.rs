//! Turns this process into the requested program. The shim's child and the trampoline share this.
//!
//! The order matters: first the limits, while they may still be raised; then the user; then the directory, which that
//! user must be able to enter; signals last.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::Mode;
use rustix::process::Rlimit;

use crate::account::Account;
use crate::run_dir::Resource;
use crate::{sys, working_dir};

/// The file system that pipes without a name are on: PIPEFS_MAGIC of linux/magic.h.
const PIPEFS: u64 = 0x5049_5045;

const DEFAULT_PATH: &[u8] = b"/usr/local/bin:/usr/bin:/bin";

/// The umask of supervisors, and of programs for which none is given.
pub(crate) const DEFAULT_UMASK: u32 = 0o022;

/// A step in starting a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Lock,
    Spec,
    Log,
    Control,
    Tty,
    Pipe,
    Fork,
    Identity,
    Session,
    Limits,
    User,
    Cwd,
    Exec,
}

impl Step {
    const ALL: [Self; 13] = [
        Self::Lock,
        Self::Spec,
        Self::Log,
        Self::Control,
        Self::Tty,
        Self::Pipe,
        Self::Fork,
        Self::Identity,
        Self::Session,
        Self::Limits,
        Self::User,
        Self::Cwd,
        Self::Exec,
    ];

    /// The word for it in the handshake and the exit record.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Lock => "lock",
            Self::Spec => "spec",
            Self::Log => "log",
            Self::Control => "control",
            Self::Tty => "tty",
            Self::Pipe => "pipe",
            Self::Fork => "fork",
            Self::Identity => "identity",
            Self::Session => "session",
            Self::Limits => "limits",
            Self::User => "user",
            Self::Cwd => "cwd",
            Self::Exec => "exec",
        }
    }
}

/// The step that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) step: Step,
    /// The errno; 0 if the operating system was not involved.
    pub(crate) errno: i32,
}

impl Failure {
    /// For `map_err`.
    pub(crate) fn at<E: Into<io::Error>>(step: Step) -> impl FnOnce(E) -> Self {
        move |error| Self {
            step,
            errno: error.into().raw_os_error().unwrap_or(0),
        }
    }

    /// The bytes that a child sends to its parent. They fit into one atomic write to a pipe.
    pub(crate) fn to_bytes(self) -> [u8; 5] {
        let [a, b, c, d] = self.errno.to_le_bytes();
        [self.step as u8, a, b, c, d]
    }

    pub(crate) fn from_bytes([step, errno @ ..]: [u8; 5]) -> Option<Self> {
        Some(Self {
            step: *Step::ALL.get(usize::from(step))?,
            errno: i32::from_le_bytes(errno),
        })
    }
}

/// What to become.
pub(crate) struct Launch<'a> {
    pub(crate) program: &'a Path,
    pub(crate) args: &'a [OsString],
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) cwd: Option<&'a Path>,
    pub(crate) user: Option<&'a str>,
    /// Its umask, instead of [`DEFAULT_UMASK`].
    pub(crate) umask: Option<u32>,
    pub(crate) limits: &'a [(Resource, u64)],
    pub(crate) soft_limits: &'a [(Resource, u64)],
    /// Whether fd 0 is a terminal that should become the controlling one.
    pub(crate) tty: bool,
}

impl Launch<'_> {
    /// Becomes the program. Returns only if that fails, with the reason.
    pub(crate) fn run(mut self) -> Failure {
        match self.prepare() {
            Ok(()) => self.exec(),
            Err(failure) => failure,
        }
    }

    fn prepare(&mut self) -> Result<(), Failure> {
        sys::leave_session().map_err(Failure::at(Step::Session))?;
        rustix::process::umask(Mode::from_raw_mode(self.umask.unwrap_or(DEFAULT_UMASK)));
        let account = match self.user {
            Some(user) => Some(Account::find(user).map_err(Failure::at(Step::User))?),
            None => None,
        };
        if self.tty {
            let terminal = rustix::stdio::stdin();
            rustix::process::ioctl_tiocsctty(terminal).map_err(Failure::at(Step::Tty))?;
            if let Some(account) = account.as_ref().filter(|account| !account.is_me()) {
                let owner = rustix::fs::Uid::from_raw(account.uid);
                rustix::fs::fchown(terminal, Some(owner), None).map_err(Failure::at(Step::Tty))?;
            }
        }
        for (resource, soft) in self.soft_limits {
            let resource = kernel_resource(*resource);
            let maximum = rustix::process::getrlimit(resource).maximum;
            let current = Some(maximum.map_or(*soft, |hard| hard.min(*soft)));
            rustix::process::setrlimit(resource, Rlimit { current, maximum })
                .map_err(Failure::at(Step::Limits))?;
        }
        for (resource, limit) in self.limits {
            let limit = Rlimit {
                current: Some(*limit),
                maximum: Some(*limit),
            };
            rustix::process::setrlimit(kernel_resource(*resource), limit)
                .map_err(Failure::at(Step::Limits))?;
        }
        if let Some(account) = account {
            if !account.is_me() {
                give_pipes(account.uid).map_err(Failure::at(Step::User))?;
                account.switch().map_err(Failure::at(Step::User))?;
            }
            set(&mut self.env, "HOME", account.home);
            set(&mut self.env, "USER", account.name.clone());
            set(&mut self.env, "LOGNAME", account.name);
            set(&mut self.env, "SHELL", account.shell);
        }
        if let Some(cwd) = self.cwd {
            working_dir::enter(cwd).map_err(Failure::at(Step::Cwd))?;
        }
        sys::reset_signals();
        Ok(())
    }

    fn exec(&self) -> Failure {
        let program = self.program.as_os_str();
        let strings = || -> Result<_, std::ffi::NulError> {
            let argv: Vec<CString> = std::iter::once(program)
                .chain(self.args.iter().map(OsString::as_os_str))
                .map(|arg| CString::new(arg.as_bytes()))
                .collect::<Result<_, _>>()?;
            let envp: Vec<CString> = self
                .env
                .iter()
                .map(|(name, value)| CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()))
                .collect::<Result<_, _>>()?;
            Ok((argv, envp))
        };
        let Ok((argv, envp)) = strings() else {
            return Failure {
                step: Step::Exec,
                errno: libc::EINVAL,
            };
        };
        let mut error = io::Error::from_raw_os_error(libc::ENOENT);
        for candidate in candidates(program, &self.env) {
            let next = match CString::new(candidate) {
                Ok(path) => sys::execve(&path, &argv, &envp),
                Err(_) => io::Error::from_raw_os_error(libc::EINVAL),
            };
            match next.raw_os_error() {
                // As execvp does: try the next one, and in the end report a program that was found but not allowed.
                Some(libc::ENOENT | libc::ENOTDIR) => {}
                Some(libc::EACCES) => error = next,
                _ => return Failure::at(Step::Exec)(next),
            }
        }
        Failure::at(Step::Exec)(error)
    }
}

/// Makes the pipes among the standard streams the user's, who could not open `/dev/stdout` otherwise: that is a permission
/// of the pipe, like that of a file.
fn give_pipes(uid: u32) -> rustix::io::Result<()> {
    let owner = rustix::fs::Uid::from_raw(uid);
    for stream in [
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    ] {
        // A named one belongs to whoever made it.
        let is_pipe =
            rustix::fs::fstatfs(stream).is_ok_and(|place| u64::try_from(place.f_type) == Ok(PIPEFS));
        if is_pipe {
            rustix::fs::fchown(stream, Some(owner), None)?;
        }
    }
    Ok(())
}

/// Sets a variable, and removes all others with the same name.
pub(crate) fn set(env: &mut Vec<(OsString, OsString)>, name: &str, value: impl Into<OsString>) {
    env.retain(|(n, _)| n != name);
    env.push((name.into(), value.into()));
}

/// The paths to try: the program itself if it contains a slash, or else the program in every directory of PATH.
fn candidates(program: &OsStr, env: &[(OsString, OsString)]) -> Vec<Vec<u8>> {
    let program = program.as_bytes();
    if program.contains(&b'/') {
        return vec![program.to_vec()];
    }
    let path = env.iter().rev().find(|(name, _)| name == "PATH");
    let path = path.map_or(DEFAULT_PATH, |(_, value)| value.as_bytes());
    path.split(|&b| b == b':')
        .map(|dir| match dir {
            b"" => program.to_vec(),
            dir => [dir, b"/", program].concat(),
        })
        .collect()
}

fn kernel_resource(resource: Resource) -> rustix::process::Resource {
    match resource {
        Resource::OpenFiles => rustix::process::Resource::Nofile,
        Resource::Processes => rustix::process::Resource::Nproc,
        Resource::Memory => rustix::process::Resource::As,
        Resource::Core => rustix::process::Resource::Core,
        Resource::FileSize => rustix::process::Resource::Fsize,
        Resource::CpuSeconds => rustix::process::Resource::Cpu,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_survive_the_pipe() {
        for (index, step) in Step::ALL.into_iter().enumerate() {
            assert_eq!(step as usize, index);
            let failure = Failure { step, errno: 13 };
            assert_eq!(Failure::from_bytes(failure.to_bytes()), Some(failure));
        }
        assert_eq!(Failure::from_bytes([99, 0, 0, 0, 0]), None);
    }

    #[test]
    fn programs_are_looked_up_like_a_shell_does() {
        let env = [("PATH".into(), "/a::/b".into())];
        assert_eq!(
            candidates(OsStr::new("x"), &env),
            [b"/a/x".to_vec(), b"x".to_vec(), b"/b/x".to_vec()]
        );
        assert_eq!(candidates(OsStr::new("./x"), &env), [b"./x".to_vec()]);
    }
}

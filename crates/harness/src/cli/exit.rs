//! Exit codes: the only place where results and errors become numbers.

use harness_wire::message::{ErrorBody, ErrorCode, Failure};

use super::backend::{ClientError, ConnectError, LoadError};
use super::error::CliError;

/// How the process ends. Scripts rely on the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: done.
    Ok,
    /// 1: an error that has no number of its own.
    Error,
    /// 2: wrong usage, or an invalid file.
    Usage,
    /// 3: the daemon, the project or the service does not run.
    NotRunning,
    /// 4: there is no such service.
    NoSuchService,
    /// 17: `--timeout` passed.
    TimedOut,
    /// 18: a service failed.
    ServiceFailed,
    /// 19: a place was not reached.
    NotReached,
    /// 130: interrupted.
    Interrupted,
    /// The exit code of the user's own command (`run`, `exec`, `attach`).
    Command(u8),
}

impl Exit {
    /// The exit code as a number.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Error => 1,
            Self::Usage => 2,
            Self::NotRunning => 3,
            Self::NoSuchService => 4,
            Self::TimedOut => 17,
            Self::ServiceFailed => 18,
            Self::NotReached => 19,
            Self::Interrupted => 130,
            Self::Command(code) => code,
        }
    }

    /// What failures mean for the exit code: `failed`, unless all of them are places that were not reached.
    pub(crate) fn of_failures(failures: &[Failure], failed: Self) -> Self {
        match failures {
            [] => Self::Ok,
            _ if failures.iter().all(|failure| failure.not_reached) => Self::NotReached,
            _ => failed,
        }
    }

    /// How a shell reports the end of a command: its exit code, or 128 plus the signal.
    pub(crate) fn of_command(status: harness_model::ExitStatus) -> Self {
        let number = match status {
            harness_model::ExitStatus::Code(code) => code & 0xff,
            harness_model::ExitStatus::Signal(signal) => 128 + signal,
        };
        Self::Command(u8::try_from(number).unwrap_or(u8::MAX))
    }
}

impl From<&CliError> for Exit {
    fn from(error: &CliError) -> Self {
        match error {
            CliError::Config(error) => error.into(),
            CliError::Connect(error) => error.as_ref().into(),
            CliError::Client(error) => error.into(),
            CliError::DaemonNotRunning { .. } => Self::NotRunning,
            CliError::StopWhat | CliError::Usage { .. } | CliError::Exists { .. } => Self::Usage,
            CliError::Nameless { .. } | CliError::PathNotText { .. } => Self::Usage,
            CliError::Import { .. } | CliError::DetachKeys { .. } => Self::Usage,
            CliError::Interrupted { .. } => Self::Interrupted,
            CliError::TimedOut { .. } | CliError::RunNotUp { .. } | CliError::RunTooLong { .. } => {
                Self::TimedOut
            }
            CliError::CommandNotFound { .. } | CliError::NoInterpreter { .. } => Self::Command(127),
            CliError::CommandNotRunnable { .. } => Self::Command(126),
            CliError::OutputClosed => Self::Ok,
            CliError::Start(_)
            | CliError::RunLost
            | CliError::RunLeft
            | CliError::Stop(_)
            | CliError::NoAnswer { .. }
            | CliError::Home(_)
            | CliError::Output(_)
            | CliError::Io { .. }
            | CliError::Unexpected { .. }
            | CliError::UnreadableLog(_)
            | CliError::NoTerminal => Self::Error,
        }
    }
}

impl From<&LoadError> for Exit {
    fn from(error: &LoadError) -> Self {
        match error {
            LoadError::Read { .. }
            | LoadError::NotFound { .. }
            | LoadError::NotText { .. }
            | LoadError::Invalid(_) => Self::Usage,
        }
    }
}

impl From<&ConnectError> for Exit {
    fn from(error: &ConnectError) -> Self {
        match error {
            ConnectError::NotRunning { .. } => Self::NotRunning,
            ConnectError::NotAnswering { .. }
            | ConnectError::Stopped { .. }
            | ConnectError::Home(_)
            | ConnectError::Info(_)
            | ConnectError::Lock { .. }
            | ConnectError::Start(_)
            | ConnectError::Client { .. } => Self::Error,
        }
    }
}

impl From<&ClientError> for Exit {
    fn from(error: &ClientError) -> Self {
        match error {
            ClientError::Refused(body) => body.into(),
            ClientError::Disconnected(_)
            | ClientError::TooLarge { .. }
            | ClientError::Unencodable
            | ClientError::Answered => Self::Error,
        }
    }
}

impl From<&ErrorBody> for Exit {
    fn from(error: &ErrorBody) -> Self {
        match &error.code {
            ErrorCode::Invalid | ErrorCode::Unsupported => Self::Usage,
            ErrorCode::NoSuchProject(_) | ErrorCode::ProjectUnclear(_) | ErrorCode::NotRunning => {
                Self::NotRunning
            }
            ErrorCode::NoSuchService { .. } => Self::NoSuchService,
            ErrorCode::CommandNotFound => Self::Command(127),
            ErrorCode::CommandNotRunnable => Self::Command(126),
            ErrorCode::Version
            | ErrorCode::NameTaken
            | ErrorCode::ProjectRenamed(_)
            | ErrorCode::StillRunning
            | ErrorCode::PortsTaken(_)
            | ErrorCode::NoRoom
            | ErrorCode::Cancelled
            | ErrorCode::ShuttingDown
            | ErrorCode::Internal => Self::Error,
            ErrorCode::NotReached => Self::NotReached,
        }
    }
}

#[cfg(test)]
mod tests {
    use harness_model::ExitStatus;

    use super::*;

    fn refused(code: ErrorCode) -> u8 {
        let body = ErrorBody {
            code,
            message: "no".into(),
            hint: None,
        };
        Exit::from(&CliError::Client(ClientError::Refused(body))).code()
    }

    #[test]
    fn refusals_have_the_promised_numbers() {
        assert_eq!(refused(ErrorCode::Invalid), 2);
        assert_eq!(refused(ErrorCode::Unsupported), 2);
        assert_eq!(refused(ErrorCode::NotRunning), 3);
        assert_eq!(refused(ErrorCode::NoSuchProject(vec![])), 3);
        assert_eq!(refused(ErrorCode::ProjectUnclear(vec![])), 3);
        let name = "dv".into();
        assert_eq!(
            refused(ErrorCode::NoSuchService {
                name,
                suggestion: None
            }),
            4
        );
        for code in [
            ErrorCode::Version,
            ErrorCode::NameTaken,
            ErrorCode::ProjectRenamed(vec![]),
            ErrorCode::StillRunning,
            ErrorCode::PortsTaken(vec![]),
            ErrorCode::Cancelled,
            ErrorCode::ShuttingDown,
            ErrorCode::Internal,
        ] {
            assert_eq!(refused(code.clone()), 1, "{code:?}");
        }
    }

    #[test]
    fn our_own_errors_have_the_promised_numbers() {
        let code = |error: CliError| Exit::from(&error).code();
        let missing = LoadError::NotFound { from: "/x".into() };
        assert_eq!(code(CliError::Config(missing)), 2);
        assert_eq!(code(CliError::StopWhat), 2);
        assert_eq!(code(CliError::DaemonNotRunning { home: "/x".into() }), 3);
        assert_eq!(
            code(CliError::TimedOut {
                what: "wait".into(),
                after: std::time::Duration::ZERO,
                waiting: vec![],
                nothing_started: false,
                plan: vec![],
            }),
            17
        );
        assert_eq!(code(CliError::Interrupted { hint: None }), 130);
        assert_eq!(code(CliError::OutputClosed), 0);
        assert_eq!(Exit::ServiceFailed.code(), 18);
        assert_eq!(Exit::NotReached.code(), 19);
    }

    #[test]
    fn commands_end_as_a_shell_says() {
        assert_eq!(Exit::of_command(ExitStatus::Code(5)).code(), 5);
        assert_eq!(Exit::of_command(ExitStatus::Signal(9)).code(), 137);
        assert_eq!(Exit::of_command(ExitStatus::Code(0)).code(), 0);
    }
}

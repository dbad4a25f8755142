//! The states of services, in the words that users, scripts and every crate use.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a service is doing.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ServiceState {
    /// Wanted, but not begun, because the conditions on its dependencies do not hold yet.
    Pending,
    /// Its process is being launched, or runs and is not ready yet.
    Starting,
    /// Up: running, and ready if it has a probe.
    Running,
    /// It ended and the restart policy will start it again.
    Restarting,
    /// It was asked to stop and is not gone yet.
    Stopping,
    /// It was stopped on request, or a reboot ended it.
    #[default]
    Stopped,
    /// It ended by itself with exit status 0.
    Completed,
    /// It ended in another way, and will not be restarted.
    Failed,
    /// Not known, for example because the engine does not answer.
    Unknown,
}

impl ServiceState {
    /// The word as written everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }

    /// Whether a process (or container) may exist in this state.
    pub fn is_live(self) -> bool {
        matches!(
            self,
            Self::Starting | Self::Running | Self::Stopping | Self::Unknown
        )
    }
}

impl fmt::Display for ServiceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The result of a service's probe. Without a probe, a service is never "healthy".
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// It has no probe, or does not run.
    #[default]
    None,
    /// Its probe has not succeeded yet.
    Starting,
    /// Its last probe succeeded (or fewer than `retries` have failed since one did).
    Healthy,
    /// `retries` probes in a row have failed.
    Unhealthy,
    /// It has a probe, but no answer yet (for example, because it was just adopted).
    Unknown,
}

impl Health {
    /// The word as written everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatus {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

impl ExitStatus {
    /// Whether it exited with 0.
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }

    /// The exit code, if it exited.
    pub fn code(self) -> Option<i32> {
        match self {
            Self::Code(code) => Some(code),
            Self::Signal(_) => None,
        }
    }

    /// The signal number, if one ended it.
    pub fn signal(self) -> Option<i32> {
        match self {
            Self::Code(_) => None,
            Self::Signal(signal) => Some(signal),
        }
    }
}

impl fmt::Display for ExitStatus {
    /// `exited 3`, `killed by SIGKILL`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited {code}"),
            Self::Signal(signal) => match signal_name(*signal) {
                Some(name) => write!(f, "killed by {name}"),
                None => write!(f, "killed by signal {signal}"),
            },
        }
    }
}

/// Linux signal numbers (x86 and ARM) and their names, `signal(7)`.
const SIGNALS: [(i32, &str); 31] = [
    (1, "SIGHUP"),
    (2, "SIGINT"),
    (3, "SIGQUIT"),
    (4, "SIGILL"),
    (5, "SIGTRAP"),
    (6, "SIGABRT"),
    (7, "SIGBUS"),
    (8, "SIGFPE"),
    (9, "SIGKILL"),
    (10, "SIGUSR1"),
    (11, "SIGSEGV"),
    (12, "SIGUSR2"),
    (13, "SIGPIPE"),
    (14, "SIGALRM"),
    (15, "SIGTERM"),
    (16, "SIGSTKFLT"),
    (17, "SIGCHLD"),
    (18, "SIGCONT"),
    (19, "SIGSTOP"),
    (20, "SIGTSTP"),
    (21, "SIGTTIN"),
    (22, "SIGTTOU"),
    (23, "SIGURG"),
    (24, "SIGXCPU"),
    (25, "SIGXFSZ"),
    (26, "SIGVTALRM"),
    (27, "SIGPROF"),
    (28, "SIGWINCH"),
    (29, "SIGIO"),
    (30, "SIGPWR"),
    (31, "SIGSYS"),
];

/// The name of a signal number, `SIGTERM` for 15.
pub fn signal_name(number: i32) -> Option<&'static str> {
    SIGNALS.iter().find(|(n, _)| *n == number).map(|(_, name)| *name)
}

/// The real-time signals that programs may use. The C library reserves the lower ones.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// The number of a signal given as `SIGTERM`, `TERM`, `term`, `15`, `SIGRTMIN+3` or `RTMAX-1`.
///
/// ```
/// use harness_model::state::signal_number;
/// assert_eq!(signal_number("SIGINT"), Some(2));
/// assert_eq!(signal_number("usr1"), Some(10));
/// assert_eq!(signal_number("15"), Some(15));
/// assert_eq!(signal_number("SIGRTMIN+3"), Some(37));
/// assert_eq!(signal_number("SIGBREAKFAST"), None);
/// ```
pub fn signal_number(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let upper = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(number) = real_time_signal(upper) {
        return Some(number);
    }
    SIGNALS
        .iter()
        .find(|(_, name)| &name[3..] == upper)
        .map(|(number, _)| *number)
}

fn real_time_signal(name: &str) -> Option<i32> {
    let (from, sign, distance) = if let Some(rest) = name.strip_prefix("RTMIN") {
        (
            RTMIN,
            1,
            rest.strip_prefix('+').or(rest.is_empty().then_some("0"))?,
        )
    } else {
        let rest = name.strip_prefix("RTMAX")?;
        (
            RTMAX,
            -1,
            rest.strip_prefix('-').or(rest.is_empty().then_some("0"))?,
        )
    };
    let number = from + sign * i32::from(distance.parse::<u8>().ok()?);
    (RTMIN..=RTMAX).contains(&number).then_some(number)
}

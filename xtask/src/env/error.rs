//! Why the surroundings of the container tests could not be had.

use std::path::PathBuf;

use crate::error::TaskError;

/// Why the surroundings of the container tests could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnvError {
    /// Root is needed, and this is somebody else.
    #[error("{purpose} needs root; run it as root, or start an engine and set DOCKER_HOST")]
    NeedsRoot {
        /// What for.
        purpose: &'static str,
    },
    /// Packages are missing on a machine that they cannot be installed on.
    #[error("missing: {programs} (Debian's packages: {packages}), and this is not Debian: install them")]
    NeedsDebian {
        /// The programs.
        programs: String,
        /// The packages that have them.
        packages: String,
    },
    /// No source of Debian's packages is known to the machine.
    #[error("no line of apt's sources has Debian's `{suite} main`, which the base image is made from")]
    NoSource {
        /// The release that runs here.
        suite: String,
    },
    /// The kernel has no packet filter that the engine could use.
    #[error(
        "no iptables works here: containers and the host reach each other by address, not by name, and nothing beyond"
    )]
    NoFirewall,
    /// The engine ended while it was starting.
    #[error("dockerd ended while it was starting; the end of {}:\n{last}", log.display())]
    EngineEnded {
        /// Its log.
        log: PathBuf,
        /// The log's last lines.
        last: String,
    },
    /// The engine did not answer, or did not end, in time.
    #[error("dockerd (pid {pid}) did not {what} in {seconds} s; see {}", log.display())]
    EngineSlow {
        /// The engine.
        pid: i32,
        /// What was waited for.
        what: &'static str,
        /// How long.
        seconds: u64,
        /// Its log.
        log: PathBuf,
    },
    /// A process of an engine that was killed does not die.
    #[error("process {pid} of the engine that was killed does not die")]
    Stuck {
        /// Which.
        pid: i32,
    },
    /// A step did not succeed.
    #[error("cannot {what}; the end of {}:\n{last}", log.display())]
    Step {
        /// What was tried.
        what: String,
        /// What it said.
        log: PathBuf,
        /// The log's last lines.
        last: String,
    },
    /// Tests run on the engine.
    #[error("tests use the engine now; nothing was ended")]
    InUse,
    /// Tests did not clean up.
    #[error("left on the engine (and it was removed now):\n  {0}")]
    Left(String),
    /// A program or a file.
    #[error(transparent)]
    Task(#[from] Box<TaskError>),
}

impl From<TaskError> for EnvError {
    fn from(error: TaskError) -> Self {
        Self::Task(Box::new(error))
    }
}

//! Why the environment for the container tests could not be set up.

use std::path::PathBuf;

use crate::error::TaskError;

/// Why the environment for the container tests could not be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnvError {
    /// Root is needed, but this is another user.
    #[error("{purpose} needs root; run it as root, or start an engine and set DOCKER_HOST")]
    NeedsRoot {
        /// The purpose.
        purpose: &'static str,
    },
    /// Packages are missing, and cannot be installed on this machine.
    #[error("these programs are missing: {programs}; install them (the Debian packages are {packages})")]
    NeedsDebian {
        /// The programs.
        programs: String,
        /// The packages that contain them.
        packages: String,
    },
    /// The machine has no source of Debian's packages.
    #[error("apt's sources do not contain Debian's `{suite} main`, which is needed to make the base image")]
    NoSource {
        /// The Debian release of this machine.
        suite: String,
    },
    /// The kernel has no packet filter that the engine could use.
    #[error(
        "iptables does not work here: containers and the host can reach each other only by address, and nothing else"
    )]
    NoFirewall,
    /// The engine ended during its start.
    #[error("dockerd ended during its start; the end of {}:\n{last}", log.display())]
    EngineEnded {
        /// Its log.
        log: PathBuf,
        /// The log's last lines.
        last: String,
    },
    /// The engine did not answer, or did not end, in time.
    #[error("dockerd (pid {pid}) did not {what} in {seconds} s; see {}", log.display())]
    EngineSlow {
        /// The pid of the engine.
        pid: i32,
        /// What it should have done.
        what: &'static str,
        /// How long it was waited for.
        seconds: u64,
        /// Its log.
        log: PathBuf,
    },
    /// A process of a killed engine does not end.
    #[error("process {pid} of the killed engine does not end")]
    Stuck {
        /// The process.
        pid: i32,
    },
    /// A step failed.
    #[error("cannot {what}; the end of {}:\n{last}", log.display())]
    Step {
        /// The step.
        what: String,
        /// Its log.
        log: PathBuf,
        /// The log's last lines.
        last: String,
    },
    /// Tests run on the engine.
    #[error("tests use the engine now; nothing was ended")]
    InUse,
    /// Tests did not clean up.
    #[error("tests left this on the engine (it has been removed now):\n  {0}")]
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

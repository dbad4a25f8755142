//! Starts a daemon in the background, and reads the one line with which the daemon reports that it is ready.
//!
//! The starter runs the daemon with `--background` and reads its stdout: one JSON line, [`Announced`]. The daemon has
//! by then left the starter's session and closed every descriptor it inherited. Otherwise a script's
//! `$(harness start)` would wait for it forever.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use command_executor::process::{ProcessEvent, SpawnError};
use command_executor::supervised::RUN_ID_VARIABLE;
use command_executor::{Command, Running};
use futures_lite::FutureExt;
use harness_model::spec::InheritEnv;
use harness_wire::message::Successor;
use serde::{Deserialize, Serialize};

use crate::daemon_info::DaemonInfo;
use crate::home::Home;
use crate::inside::service_around;

/// How long a daemon may take to get ready, including recovery.
const READY: Duration = Duration::from_secs(30);

/// The name of the daemon's binary, in the folder of the CLI's binary.
const DAEMON: &str = "harness-executor-daemon";

/// The name of the shim's binary, in the same folder.
const SHIM: &str = "harness-shim";

/// Whether the daemon inherits this variable. It gets nothing else from the starter's shell, except the variables
/// that choose the engine.
fn is_inherited(name: &str) -> bool {
    let of_docker = [
        "DOCKER_HOST",
        "DOCKER_CONTEXT",
        "DOCKER_CONFIG",
        "DOCKER_TLS",
        "DOCKER_TLS_VERIFY",
    ];
    matches!(name, "HARNESS_PORT" | "HARNESS_LOG")
        || of_docker.contains(&name)
        || InheritEnv::Minimal.takes(name)
}

/// What a daemon that was started in the background reports about its start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Announced {
    /// The daemon is ready.
    Ready(DaemonInfo),
    /// The daemon could not start.
    Failed {
        /// Why.
        why: String,
        /// What to do about it, if that is known.
        hint: Option<String>,
    },
}

/// Why a daemon could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The binary does not exist.
    #[error("cannot find {DAEMON} next to this program ({}): install both in the same folder", beside.display())]
    NoBinary {
        /// The program next to which it should be.
        beside: PathBuf,
    },
    /// This process is part of a service of the same home. When that service is stopped, the daemon would end too.
    #[error(
        "a daemon that is started inside the service {service} would end together with it: start one \
            outside, with `harness daemon start`"
    )]
    Inside {
        /// The service, as PROJECT/SERVICE.
        service: String,
    },
    /// The path of this program is unknown.
    #[error("cannot find the path of this program: {0}")]
    OwnPath(#[source] io::Error),
    /// It could not be started.
    #[error("cannot start the daemon: {0}")]
    Spawn(#[from] SpawnError),
    /// Its report could not be read.
    #[error("cannot read the daemon's report: {0}")]
    Read(#[source] io::Error),
    /// The daemon reported why it could not start.
    #[error("the daemon could not start: {why}")]
    Failed {
        /// The reason.
        why: String,
        /// What to do about it, if the daemon knows.
        hint: Option<String>,
    },
    /// The daemon ended without a report.
    #[error("the daemon ended without saying why; see {}", log.display())]
    Silent {
        /// Its log.
        log: PathBuf,
    },
    /// The daemon took too long.
    #[error("the daemon was not ready within {}s; see {}", READY.as_secs(), log.display())]
    Late {
        /// Its log.
        log: PathBuf,
    },
}

/// How to start a daemon.
#[derive(Debug, Clone, Copy, Default)]
pub struct StartOptions {
    /// The port to listen on. `None`: the one from its environment, or the default.
    pub port: Option<u16>,
    /// Whether the daemon only stops what an earlier one left running, and starts nothing first.
    pub stop_services: bool,
}

/// Starts a daemon for this home and waits until it is ready. If another one is just starting, uses that one.
///
/// # Errors
/// When the daemon cannot be started or does not get ready. The error says why.
pub async fn start(home: &Home, options: StartOptions) -> Result<DaemonInfo, StartError> {
    if let Some(service) = service_around(home) {
        return Err(StartError::Inside { service });
    }
    let binary = program()?;
    let mut command = command(home, &binary, None).envs(environment());
    if let Some(port) = options.port {
        command = command.arg("--port").arg(port.to_string());
    }
    if options.stop_services {
        command = command.arg("--stop-services");
    }
    ready(home, command).await
}

/// Describes the daemon next to this program as the successor of one that runs on this port. It gets this process's
/// environment, unless that is the environment of a service: then it gets the one of the running daemon.
///
/// # Errors
/// When the program does not exist.
pub fn successor(port: u16) -> Result<Successor, StartError> {
    let of_a_service = std::env::var_os(RUN_ID_VARIABLE).is_some();
    let readable =
        |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    Ok(Successor {
        program: program()?,
        port,
        environment: (!of_a_service).then(|| environment().filter_map(readable).collect()),
    })
}

/// Checks whether this successor can be started.
///
/// # Errors
/// When the program does not exist.
pub(crate) fn check(successor: &Successor) -> Result<(), StartError> {
    let program = &successor.program;
    if program.is_absolute() && program.is_file() && program.with_file_name(SHIM).is_file() {
        return Ok(());
    }
    Err(StartError::NoBinary {
        beside: program.clone(),
    })
}

/// Starts the daemon that takes over from this one, and does not wait for it. This daemon must have released the
/// home. The successor gets the limit of open files that this daemon was started with.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn start_successor(
    home: &Home,
    successor: &Successor,
    open_files: Option<u64>,
) -> Result<(), StartError> {
    check(successor)?;
    let command = command(home, &successor.program, open_files)
        .arg("--port")
        .arg(successor.port.to_string());
    let command = match &successor.environment {
        Some(given) => command.envs(given.iter().filter(|(name, _)| is_inherited(name))),
        None => command.envs(environment()),
    };
    // Its messages are in its log.
    Running::spawn(command)?.detach();
    Ok(())
}

/// The path of the daemon's program, in the folder of this program.
fn program() -> Result<PathBuf, StartError> {
    let own = std::env::current_exe().map_err(StartError::OwnPath)?;
    let binary = own.with_file_name(DAEMON);
    if !binary.is_file() {
        return Err(StartError::NoBinary { beside: own });
    }
    Ok(binary)
}

/// The variables of this process that a daemon inherits.
fn environment() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_inherited))
}

/// The command that becomes a daemon in the background. Its environment has only the home.
fn command(home: &Home, binary: &Path, open_files: Option<u64>) -> Command {
    // Starts through `harness-shim exec`, which leaves the session and its terminal, and closes every descriptor that
    // this process inherited.
    let limit = open_files.map(|soft| ["--soft-limit".to_owned(), format!("open_files={soft}")]);
    Command::new(binary.with_file_name(SHIM))
        .args(["exec", "--cwd", "/"])
        .args(limit.into_iter().flatten())
        .arg("--")
        .arg(binary)
        .arg("--background")
        .clear_env()
        .env("HARNESS_HOME", home.path())
        .cwd("/")
        .begins_session()
}

/// Runs the command of a daemon, and waits until the daemon is ready.
async fn ready(home: &Home, command: Command) -> Result<DaemonInfo, StartError> {
    let mut daemon = Running::spawn(command)?;
    let mut said = Vec::new();
    let hear = async {
        loop {
            match daemon.next_event().await.map_err(StartError::Read)? {
                Some(ProcessEvent::Stdout(bytes)) => {
                    said.extend_from_slice(&bytes);
                    if said.contains(&b'\n') {
                        return Ok(());
                    }
                }
                Some(ProcessEvent::Exited(_)) | None => return Ok(()),
                Some(_) => {}
            }
        }
    };
    let late = async {
        async_io::Timer::after(READY).await;
        Err(StartError::Late {
            log: home.daemon_log(),
        })
    };
    hear.or(late).await?;
    match serde_json::from_slice(&said) {
        Ok(Announced::Ready(info)) => {
            daemon.detach();
            Ok(info)
        }
        Ok(Announced::Failed { why, hint }) => Err(StartError::Failed { why, hint }),
        Err(_) => Err(StartError::Silent {
            log: home.daemon_log(),
        }),
    }
}

/// The daemon's side: whether a starter waits for the report.
pub(crate) struct Announcement {
    awaited: bool,
}

impl Announcement {
    /// A starter reads our stdout.
    pub(crate) fn to_starter() -> Self {
        Self { awaited: true }
    }

    /// No starter waits.
    pub(crate) fn none() -> Self {
        Self { awaited: false }
    }

    pub(crate) fn is_awaited(&self) -> bool {
        self.awaited
    }

    pub(crate) fn ready(&self, info: &DaemonInfo) {
        self.say(&Announced::Ready(info.clone()));
    }

    pub(crate) fn failed(&self, why: String, hint: Option<String>) {
        self.say(&Announced::Failed { why, hint });
    }

    fn say(&self, announced: &Announced) {
        if !self.awaited {
            return;
        }
        if let Ok(mut line) = serde_json::to_vec(announced) {
            line.push(b'\n');
            // If the starter is gone, nobody needs the report.
            let _ = io::stdout().write_all(&line).and_then(|()| io::stdout().flush());
        }
        silence();
    }
}

/// Disconnects from the starter: stdin, stdout and stderr become /dev/null.
fn silence() {
    if let Ok(null) = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
    {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}

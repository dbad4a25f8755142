//! Processes under the shim, at a host.

mod capacity;
mod files;
mod instance;
mod order;
mod recovery;
mod refusal;
mod unreached;

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use command_executor::host::{ConnectError, Connection, Endpoint};
use command_executor::process::SpawnError;
use command_executor::run::TailBytes;
use command_executor::{Command, Host, HostError, run_until};
use harness_model::ServiceSpec;
use service_registry::address::Wants;

use super::session::{CommandSession, exit_status};
use super::{
    CommandAnswer, Description, Executor, Expiry, Fate, KindOf, Known, LaunchError, Order, PlaceCommand,
    Rest, RunTrace, Session, Stray,
};
use capacity::Capacity;
use instance::ProcessInstance;
use recovery::Survivor;

/// Lines of a command's output that are kept for its answer.
const TAIL_LINES: usize = 20;

/// Runs `type: process`.
pub struct ProcessExecutor {
    host: Arc<dyn Host>,
    /// The home as it was given to the daemon.
    home: PathBuf,
    /// What former daemons left running and nobody has adopted so far.
    found: Arc<Mutex<Vec<Survivor>>>,
    capacity: Capacity,
}

impl ProcessExecutor {
    /// Runs processes at this host, for the daemon of this home.
    pub fn new(host: Arc<dyn Host>, home: &Path) -> Self {
        Self {
            host,
            home: home.components().collect(),
            found: Arc::default(),
            capacity: Capacity::of_this_process(),
        }
    }

    /// The command as it runs in the service's place.
    async fn command(&self, order: &Order, command: &PlaceCommand) -> Result<Command, LaunchError> {
        let home = self.host.is_here().then_some(self.home.as_path());
        order::command(&*self.host, order, command, home).await
    }

    async fn launched(&self, order: &Order) -> Result<Fate, LaunchError> {
        let place = self.capacity.take()?;
        let _launching = self.capacity.launching().await;
        let launch = order::prepare(&*self.host, order).await?;
        files::render(&*self.host, order, launch.user.as_deref(), &launch.cwd).await?;
        match self.host.launch(order.run_dir.clone(), launch.clone()).await {
            Ok(generation) => {
                let is_here = self.host.is_here();
                let instance = ProcessInstance::new(generation, is_here, order, place);
                Ok(Fate::running(Arc::new(instance)))
            }
            Err(HostError::NotReached(error)) if error.sent => {
                Ok(self.not_known_yet(order, place, error.to_string()))
            }
            Err(error) => Err(refusal::explained(error, &launch)),
        }
    }
}

#[async_trait]
impl KindOf for ProcessExecutor {
    fn types(&self) -> &'static [&'static str] {
        &["process"]
    }

    fn wants(&self, _spec: &ServiceSpec) -> Wants {
        Wants::Local
    }

    fn describe(&self, spec: &ServiceSpec) -> Description {
        match order::process(spec) {
            Ok(process) => Description::of(
                std::iter::once(&process.binary).chain(&process.args),
                process.working_dir.as_ref(),
            ),
            Err(_) => Description::default(),
        }
    }
}

#[async_trait]
impl Executor for ProcessExecutor {
    async fn end_leftover_commands(&self) {
        if let Err(error) = self.host.end_leftovers().await {
            tracing::error!(%error, "cannot end the commands of a former daemon");
        }
    }

    async fn launch(&self, order: &Order) -> Fate {
        self.launched(order).await.unwrap_or_else(Fate::never)
    }

    async fn survey(&self) {
        match self.host.survey().await {
            Ok(found) => self.remember(found),
            Err(error) => {
                tracing::error!(%error, "cannot search for supervisors that lost their run directories")
            }
        }
    }

    async fn adopt(&self, order: &Order, trace: Option<&RunTrace>) -> Fate {
        let fate = self.adopted(order, trace).await;
        match fate {
            Fate::Known(Known::Ended { .. } | Known::Never(_)) => {
                self.lost_instance(order).await.map_or(fate, Fate::Known)
            }
            // Its own supervisor is no stray.
            _ => {
                self.account_for(order, None);
                fate
            }
        }
    }

    async fn strays(&self) -> Vec<Stray> {
        let strays = self.end_strays();
        if let Err(error) = self.host.sweep().await {
            tracing::error!(%error, "cannot remove what former daemons left");
        }
        strays
    }

    async fn connect(&self, to: Endpoint) -> Result<Box<dyn Connection>, HostError<ConnectError>> {
        self.host.connect(to).await
    }

    async fn exec(&self, order: &Order, command: &PlaceCommand) -> Result<Box<dyn Session>, LaunchError> {
        let program = command.words.first().cloned().unwrap_or_default();
        let command = self.command(order, command).await?;
        let running = self.host.exec(command).await;
        let running = running.map_err(|error| not_started(program, error))?;
        Ok(Box::new(CommandSession::new(running)))
    }

    async fn run(
        &self,
        order: &Order,
        command: &PlaceCommand,
        expiry: Expiry<'_>,
    ) -> Result<CommandAnswer, LaunchError> {
        let program = command.words.first().cloned().unwrap_or_default();
        let command = self.command(order, command).await?;
        let running = match self.host.exec(command).await {
            Ok(running) => running,
            Err(error) => return Err(not_started(program, error)),
        };
        let ran = run_until(running, expiry).await;
        let ran = ran.map_err(|source| LaunchError::Run { program, source })?;
        let tail = format!("{}{}", whole_lines(&ran.stdout), whole_lines(&ran.stderr));
        Ok(CommandAnswer {
            exit: ran.status.map(exit_status),
            // Whoever shows the text shortens it, and half a secret would not be recognized any more.
            tail: order.secrets.hide(&last_lines(&tail)),
            rest: Rest::of(ran.rest),
        })
    }
}

fn not_started(program: String, error: HostError<SpawnError>) -> LaunchError {
    match error {
        HostError::NotReached(error) => error.into(),
        HostError::Failed(source) => LaunchError::Command { program, source },
    }
}

/// The output, from the first line that was kept whole.
fn whole_lines(output: &TailBytes) -> Cow<'_, str> {
    let whole = if output.dropped == 0 {
        &output.bytes[..]
    } else {
        let cut = output.bytes.iter().position(|byte| *byte == b'\n');
        cut.map_or(&[][..], |end| &output.bytes[end + 1..])
    };
    String::from_utf8_lossy(whole)
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

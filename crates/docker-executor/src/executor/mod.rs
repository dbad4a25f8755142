//! Launches containers, finds them again and enters them.

mod adopt;
pub(crate) mod docker;
mod error;
mod hide;
mod launch;

use std::sync::Arc;

use async_trait::async_trait;
use blocking::unblock;
use futures_lite::FutureExt;
use harness_model::{ProjectName, ServiceName, ServiceSpec};
use service_orchestration::executor::{
    CommandAnswer, Description, Executor, Expiry, Fate, HookPlace, Instance, KindOf, Known, LaunchError,
    LaunchLink, LeftOpen, Order, PlaceCommand, Rest, RunTrace, Session, SessionEvent,
};
use service_orchestration::machine::Hook;
use service_orchestration::secrets::Secrets;
use service_registry::address::Wants;

use crate::container::record::ContainerRecord;
use crate::container::{body, volumes};
use crate::engine::Engine;
use crate::exec::{self, ContainerSession};
use crate::executor::adopt::lost;
use crate::executor::docker::DockerExecutor;
use crate::executor::error::ContainerError;
use crate::executor::hide::hide;
use crate::executor::launch::prepare;
use crate::image::wanted::Wanted;
use crate::image::{self, config};
use crate::network::membership;
use crate::spec::docker;

/// How many bytes of a command's output are kept for its answer.
const TAIL_BYTES: usize = 16 << 10;

/// How many lines of the output are kept.
const TAIL_LINES: usize = 20;

impl DockerExecutor {
    /// Starts a command in the container of an order.
    async fn session(&self, order: &Order, command: &PlaceCommand) -> Result<ContainerSession, LaunchError> {
        let (engine, id) = self.running(order).await?;
        let env = body::environment(order)?;
        Ok(exec::start(&engine, &id, command, &env).await?)
    }

    /// The container that runs for an order: its engine and its id.
    async fn running(&self, order: &Order) -> Result<(Arc<Engine>, String), LaunchError> {
        let run_dir = order.run_dir.clone();
        let record = unblock(move || ContainerRecord::read(&run_dir)).await;
        match record {
            Ok(Some(record)) if record.ended.is_none() => Ok((self.engine_of(&record).await, record.id)),
            _ => Err(ContainerError::NotRunning.into()),
        }
    }
}

#[async_trait]
impl KindOf for DockerExecutor {
    fn types(&self) -> &'static [&'static str] {
        &["docker"]
    }

    fn check(&self, spec: &ServiceSpec) -> Result<(), LaunchError> {
        body::check(spec)
    }

    fn wants(&self, spec: &ServiceSpec) -> Wants {
        let attachments = docker(spec).map_or(&[][..], |docker| &docker.networks);
        Wants::container(&spec.network, attachments)
    }

    fn describe(&self, spec: &ServiceSpec) -> Description {
        match docker(spec) {
            Ok(docker) => Description::of(
                docker.image.iter().chain(docker.command.iter().flatten()),
                docker.working_dir.as_ref(),
            ),
            Err(_) => Description::default(),
        }
    }

    fn left_open(&self, spec: &ServiceSpec) -> LeftOpen {
        LeftOpen {
            ports: true,
            startup: docker(spec).is_ok_and(|docker| docker.startup_by_image),
        }
    }

    async fn declared_ports(
        &self,
        project: &ProjectName,
        service: &ServiceName,
        spec: &ServiceSpec,
        secrets: &Secrets,
        fetch: Option<&LaunchLink>,
    ) -> Result<Vec<u16>, LaunchError> {
        let written = &docker(spec)?.expose;
        if !written.is_empty() {
            return Ok(config::numbers(written));
        }
        let wanted = Wanted {
            project,
            service,
            spec,
            secrets,
            run_dir: None,
            link: fetch,
        };
        let found = match fetch {
            Some(_) => image::ensure(&self.engine, wanted)
                .await
                .map(|image| image.config),
            None => image::find(&self.engine, wanted).await,
        };
        let config = found.map_err(|error| hide(secrets, error))?;
        Ok(config::exposed(&config))
    }

    async fn remove_kept(&self, project: &ProjectName) -> Result<Vec<String>, LaunchError> {
        Ok(volumes::remove(&self.engine, &self.owner, project).await?)
    }
}

#[async_trait]
impl Executor for DockerExecutor {
    async fn launch(&self, order: &Order) -> Fate {
        // Check this before anything is made: without an engine there is nothing more to say.
        if let Err(error) = self.engine.docker().await {
            return Fate::never(error.into());
        }
        let owned = order.clone();
        let lock = match unblock(move || prepare(&owned)).await {
            Ok(lock) => lock,
            Err(error) => return Fate::never(error),
        };
        let launched = async {
            // Dropping the request also ends the pull or build in the engine.
            let given_up = async {
                order.link.given_up().await;
                Err(ContainerError::GivenUp.into())
            };
            let image = image::ensure(&self.engine, Wanted::by(order))
                .or(given_up)
                .await?;
            let networks = self.networks.ensure(&self.engine, &self.owner, order).await?;
            let name = body::name(order)?;
            let memberships = &networks.memberships;
            let id = self.create(order, &name, &memberships[0], &image).await?;
            membership::join_others(&self.engine, &id, memberships).await?;
            self.start(order, &id, &name, &image.config, lock).await
        };
        let launched: Result<Arc<dyn Instance>, LaunchError> = launched.await;
        match launched {
            Ok(instance) => Fate::running(instance),
            Err(error) => self.undone(order, error).await,
        }
    }

    async fn adopt(&self, order: &Order, _trace: Option<&RunTrace>) -> Fate {
        let run_dir = order.run_dir.clone();
        let record = match unblock(move || ContainerRecord::read(&run_dir)).await {
            Ok(Some(record)) => record,
            Ok(None) => {
                // Whatever exists was never started.
                self.remove_leftovers(order, None).await;
                return Fate::never(LaunchError::NeverStarted);
            }
            Err(error) => return lost(format!("cannot read its record: {error}")),
        };
        if let Some((ended, at)) = record.ended {
            self.remove_leftovers(order, None).await;
            return Fate::Known(Known::Ended { ended, at });
        }
        let found = self.find(order, &record).await;
        let runs = matches!(found, Fate::Known(Known::Running(_)));
        self.remove_leftovers(order, runs.then_some(record.id.as_str()))
            .await;
        found
    }

    fn hook_place(&self, hook: Hook) -> HookPlace {
        match hook {
            Hook::BeforeStart | Hook::AfterStop => HookPlace::Host,
            Hook::AfterHealthy | Hook::BeforeStop => HookPlace::Service,
        }
    }

    async fn exec(&self, order: &Order, command: &PlaceCommand) -> Result<Box<dyn Session>, LaunchError> {
        let session = self.session(order, command).await;
        Ok(Box::new(session.map_err(|error| hide(&order.secrets, error))?))
    }

    async fn run(
        &self,
        order: &Order,
        command: &PlaceCommand,
        expiry: Expiry<'_>,
    ) -> Result<CommandAnswer, LaunchError> {
        let session = self.session(order, command).await;
        let mut session = session.map_err(|error| hide(&order.secrets, error))?;
        let mut tail = Vec::new();
        let said = async {
            while let Some(event) = session.next().await {
                match event {
                    SessionEvent::Stdout(bytes) | SessionEvent::Stderr(bytes) => {
                        tail.extend_from_slice(&bytes);
                        let excess = tail.len().saturating_sub(TAIL_BYTES);
                        tail.drain(..excess);
                    }
                    SessionEvent::Exited(exit) => return Some(Some(exit)),
                }
            }
            Some(None)
        };
        let late = async {
            expiry.await;
            None
        };
        match said.or(late).await {
            Some(None) => Err(ContainerError::NotRunning.into()),
            Some(Some(exit)) => {
                let text = String::from_utf8_lossy(&tail);
                let lines: Vec<&str> = text.lines().collect();
                let last = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
                Ok(CommandAnswer {
                    exit: Some(exit),
                    tail: order.secrets.hide(&last),
                    rest: Rest::none(),
                })
            }
            None => {
                session.end().await;
                Ok(CommandAnswer {
                    exit: None,
                    tail: String::new(),
                    rest: Rest::none(),
                })
            }
        }
    }
}

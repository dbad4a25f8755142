//! Launches containers, finds them again and enters them.

pub(crate) mod adopt;
pub(crate) mod hide;

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_lock::OnceCell;
use async_trait::async_trait;
use blocking::unblock;
use bollard::models::{ContainerInspectResponse, ImageConfig};
use bollard::query_parameters::{CreateContainerOptions, StartContainerOptions};
use futures_lite::FutureExt;
use harness_model::{ProjectName, ServiceName, ServiceSpec, WallTime};
use harness_shim::run_dir::{LogLimits, RunDir, RunDirError};
use service_orchestration::executor::{
    CommandAnswer, Description, Executor, Expiry, Fate, HookPlace, Instance, KindOf, Known, LaunchError,
    LaunchLink, LeftOpen, Order, PlaceCommand, Rest, RunTrace, Session, SessionEvent,
};
use service_orchestration::machine::Hook;
use service_orchestration::secrets::Secrets;
use service_registry::address::Wants;

use crate::container::body;
use crate::container::contact::Contact;
use crate::container::follow::follow;
use crate::container::instance::{self, Container, ContainerInstance};
use crate::container::record::ContainerRecord;
use crate::container::stop::StopPolicy;
use crate::container::volumes;
use crate::engine::address::{Address, Environment};
use crate::engine::bridge::Task;
use crate::engine::stamp;
use crate::engine::{Engine, EngineError};
use crate::exec::{self, ContainerSession};
use crate::executor::adopt::lost;
use crate::executor::hide::hide;
use crate::files;
use crate::image::config;
use crate::image::{self, Image, Wanted};
use crate::labels::{self, Owner};
use crate::network::membership::{self, Membership};
use crate::network::{NetworkError, Networks};
use crate::output::prompt::{self, Attached};

/// How many bytes of a command's output are kept for its answer.
const TAIL_BYTES: usize = 16 << 10;

/// How many lines of the output are kept.
const TAIL_LINES: usize = 20;

/// The size of a terminal when nobody is attached.
const COLUMNS: u16 = 80;
const ROWS: u16 = 24;

/// Runs `type: docker`.
pub struct DockerExecutor {
    pub(crate) engine: Arc<Engine>,
    pub(crate) networks: Arc<Networks>,
    pub(crate) owner: Owner,
}

/// Why a container could not be launched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContainerError {
    /// A container that does not belong to us has the name.
    #[error(
        "container `{name}` exists and does not belong to this project ({whose}): remove it (docker rm {name}), or \
         give the project another name"
    )]
    NameTaken { name: String, whose: String },
    /// The run directory cannot be used.
    #[error("cannot prepare its run directory: {source}")]
    RunDir { source: RunDirError },
    /// The container cannot be recorded.
    #[error("cannot record container {name}: {source}")]
    Record { name: String, source: std::io::Error },
    /// The engine refuses the request.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// It was stopped before its image arrived.
    #[error("it was stopped before its image arrived")]
    GivenUp,
    /// It is not running, so nothing can run in it.
    #[error("its container is not running")]
    NotRunning,
}

impl From<ContainerError> for LaunchError {
    fn from(error: ContainerError) -> Self {
        Self::Place(Box::new(error))
    }
}

impl From<EngineError> for LaunchError {
    fn from(error: EngineError) -> Self {
        Self::Place(Box::new(error))
    }
}

impl From<NetworkError> for LaunchError {
    fn from(error: NetworkError) -> Self {
        Self::Place(Box::new(error))
    }
}

impl DockerExecutor {
    /// For the daemon of this home, on the engine that the environment names (`DOCKER_HOST`), or else on this
    /// machine's engine. It does not connect until there is a container to run or to find.
    pub fn new(home: &Path) -> Self {
        Self {
            engine: Arc::new(Engine::of(Environment::of_process())),
            networks: Arc::default(),
            owner: Owner::new(home),
        }
    }

    /// Creates the container of an order. If one of ours already has its name, that is a leftover.
    async fn create(
        &self,
        order: &Order,
        name: &str,
        network: &Membership,
        image: &Image,
    ) -> Result<String, LaunchError> {
        let mounts = body::mounts(order)?;
        volumes::prepare(&self.engine, &self.owner, order, &mounts).await?;
        let owned = self.owner.of_container(order, &run_id());
        let request = body::create(order, image, &mounts, network, owned)?;
        let mut retried = false;
        loop {
            let (body, options) = (
                request.clone(),
                CreateContainerOptions {
                    name: Some(name.to_owned()),
                    platform: Wanted::by(order).platform().unwrap_or_default().to_owned(),
                },
            );
            let created = self
                .engine
                .ask("create", &format!("container {name}"), |docker| async move {
                    docker.create_container(Some(options), body).await
                })
                .await;
            match created {
                Ok(created) => return Ok(created.id),
                Err(error) if error.is_conflict() && !std::mem::replace(&mut retried, true) => {
                    self.make_room(order, name).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Removes whatever has the name of a container that is to be created, if it is ours.
    async fn make_room(&self, order: &Order, name: &str) -> Result<(), LaunchError> {
        let found = match instance::inspect(&self.engine, name, name).await {
            Ok(found) => found,
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let labels = found.config.and_then(|config| config.labels);
        let ours = self.owner.of_service(&order.project, &order.service);
        if !labels::has(labels.as_ref(), &ours) {
            let home = labels.as_ref().and_then(|labels| labels.get(labels::HOME));
            let whose = home.map_or_else(
                || "not made by harness".to_owned(),
                |home| format!("of the harness at {home}"),
            );
            let name = name.to_owned();
            return Err(ContainerError::NameTaken { name, whose }.into());
        }
        instance::remove(&self.engine, found.id.as_deref().unwrap_or(name), name).await?;
        Ok(())
    }

    /// Starts a created container and begins to follow it.
    async fn start(
        &self,
        order: &Order,
        id: &str,
        name: &str,
        image: &ImageConfig,
        lock: File,
    ) -> Result<Arc<dyn Instance>, LaunchError> {
        let engine = self.engine.known_address();
        let mut record = ContainerRecord::new(id.to_owned(), name.to_owned(), engine);
        record.image_health = config::health(image).filter(|_| body::may_have_health(order));
        record.image_stop_signal = config::stop_signal(image);
        let kept = record.clone();
        let folder = files::folder(order, image)?;
        let run_dir = order.run_dir.clone();
        unblock(move || record.write(&run_dir))
            .await
            .map_err(|source| ContainerError::Record {
                name: name.to_owned(),
                source,
            })?;
        files::put(&self.engine, order, &kept, &folder).await?;
        let attached = self.attached(order, id).await?;
        // Listen before the start, so that nothing that happens to it is missed.
        let container = self.container(&self.engine, order, &kept, attached);
        self.engine
            .ask("start", &format!("container {name}"), |docker| async move {
                docker.start_container(id, None::<StartContainerOptions>).await
            })
            .await?;
        let found = instance::inspect(&self.engine, id, name).await?;
        container.resize(COLUMNS, ROWS).await;
        Ok(managed(container, &found, lock))
    }

    /// The output of a service from its start on, if its prompts are wanted.
    async fn attached(&self, order: &Order, id: &str) -> Result<Option<Attached>, EngineError> {
        if prompts(order).is_none() {
            return Ok(None);
        }
        let attached = self.engine.ask("attach to", "a container", |docker| async move {
            prompt::attach(&docker, id).await
        });
        attached.await.map(Some)
    }

    /// A running container, which is followed from now on.
    pub(crate) fn adopted(
        &self,
        engine: &Arc<Engine>,
        order: &Order,
        record: &ContainerRecord,
        found: &ContainerInspectResponse,
        lock: File,
    ) -> Arc<dyn Instance> {
        let container = self.container(engine, order, record, None);
        container.engine.look_at(&container.id);
        managed(container, found, lock)
    }

    pub(crate) fn container(
        &self,
        engine: &Arc<Engine>,
        order: &Order,
        record: &ContainerRecord,
        attached: Option<Attached>,
    ) -> Arc<Container> {
        Arc::new(Container {
            engine: Arc::clone(engine),
            networks: Arc::clone(&self.networks),
            owner: self.owner.clone(),
            project: order.project.clone(),
            id: record.id.clone(),
            name: record.name.clone(),
            run_dir: order.run_dir.clone(),
            log_limits: LogLimits {
                max_size: order.spec.logs.max_size,
                max_files: order.spec.logs.max_files,
            },
            stop: StopPolicy::of(&order.spec, record.image_stop_signal),
            terminal: order.spec.tty,
            prompts: prompts(order),
            attached: Mutex::new(attached),
            image_health: record.image_health.clone(),
            contact: Contact::new(),
            is_stopping: AtomicBool::new(false),
            news: engine.news_of(&record.id),
            ended: OnceCell::new(),
        })
    }

    /// The engine that a container was launched on. The environment of that daemon may have named another engine.
    pub(crate) async fn engine_of(&self, record: &ContainerRecord) -> Arc<Engine> {
        let own = self.engine.address().await.map(Address::to_string);
        match &record.engine {
            Some(at) if !own.is_ok_and(|own| own == *at) => match Address::parse(at, "its record", false) {
                Ok(address) => Arc::new(Engine::at(address)),
                Err(_) => Arc::clone(&self.engine),
            },
            _ => Arc::clone(&self.engine),
        }
    }

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

/// For how long unfinished lines of a container (prompts) are shown. Always if somebody can type to it. Otherwise
/// only while it starts, if somebody waits for a line: an engine blocks a program with an attached reader that does
/// not read.
fn prompts(order: &Order) -> Option<Duration> {
    if order.spec.tty || order.spec.stdin {
        return Some(Duration::MAX);
    }
    order.output_is_awaited.then_some(order.spec.startup_timeout)
}

/// Follows a running container.
fn managed(container: Arc<Container>, found: &ContainerInspectResponse, lock: File) -> Arc<dyn Instance> {
    let state = found.state.as_ref();
    let pid = state
        .and_then(|state| u32::try_from(state.pid?).ok())
        .filter(|pid| *pid != 0);
    let started = state.and_then(|state| stamp::parse(state.started_at.as_deref()?));
    Task::spawn(follow(Arc::clone(&container), lock));
    let started_at = started.map_or_else(WallTime::now, WallTime);
    Arc::new(ContainerInstance::new(container, pid, started_at))
}

/// A text that no other launch has.
fn run_id() -> String {
    static LAUNCHES: AtomicU64 = AtomicU64::new(0);
    let (time, number) = (WallTime::now().0, LAUNCHES.fetch_add(1, Ordering::Relaxed));
    format!("{time:x}-{}-{number}", std::process::id())
}

/// Makes the run directory.
fn prepare(order: &Order) -> Result<File, LaunchError> {
    let failed = |source| ContainerError::RunDir { source };
    let lock = RunDir::create(&order.run_dir)
        .and_then(|run_dir| run_dir.take_lock())
        .map_err(failed)?;
    Ok(lock)
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
        let attachments = body::docker(spec).map_or(&[][..], |docker| &docker.networks);
        Wants::container(&spec.network, attachments)
    }

    fn describe(&self, spec: &ServiceSpec) -> Description {
        match body::docker(spec) {
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
            startup: body::docker(spec).is_ok_and(|docker| docker.startup_by_image),
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
        let written = &body::docker(spec)?.expose;
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

//! What the executor holds, and the containers that it follows.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_lock::OnceCell;
use bollard::models::ContainerInspectResponse;
use harness_model::WallTime;
use service_orchestration::executor::{Instance, Order};

use crate::container::contact::Contact;
use crate::container::follow::follow;
use crate::container::instance::ContainerInstance;
use crate::container::record::ContainerRecord;
use crate::container::running::Container;
use crate::container::stop_policy::StopPolicy;
use crate::engine::Engine;
use crate::engine::address::{Address, Environment};
use crate::engine::bridge::Task;
use crate::engine::stamp;
use crate::labels::Owner;
use crate::network::Networks;
use crate::output::prompt::Attached;

/// Runs `type: docker`.
pub struct DockerExecutor {
    pub(crate) engine: Arc<Engine>,
    pub(crate) networks: Arc<Networks>,
    pub(crate) owner: Owner,
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
            output: order.output(),
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
}

/// For how long unfinished lines of a container (prompts) are shown. Always if somebody can type to it. Otherwise
/// only while it starts, if somebody waits for a line: an engine blocks a program with an attached reader that does
/// not read.
pub(super) fn prompts(order: &Order) -> Option<Duration> {
    if order.spec.tty || order.spec.stdin {
        return Some(Duration::MAX);
    }
    order.output_is_awaited.then_some(order.spec.startup_timeout)
}

/// Follows a running container.
pub(crate) fn managed(
    container: Arc<Container>,
    found: &ContainerInspectResponse,
    lock: File,
) -> Arc<dyn Instance> {
    let state = found.state.as_ref();
    let pid = state
        .and_then(|state| u32::try_from(state.pid?).ok())
        .filter(|pid| *pid != 0);
    let started = state.and_then(|state| stamp::parse(state.started_at.as_deref()?));
    Task::spawn(follow(Arc::clone(&container), lock));
    let started_at = started.map_or_else(WallTime::now, WallTime);
    Arc::new(ContainerInstance::new(container, pid, started_at))
}

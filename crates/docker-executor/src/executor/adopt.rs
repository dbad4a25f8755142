//! What became of containers that this daemon or a former one launched, and how to remove what is left of them.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use blocking::unblock;
use bollard::models::{ContainerInspectResponse, ContainerSummary};
use bollard::query_parameters::ListContainersOptions;
use futures_lite::FutureExt;
use harness_model::WallTime;
use harness_shim::run_dir::{RunDir, RunDirError};
use service_orchestration::executor::{Fate, Known, LaunchError, Order};
use service_orchestration::machine::Ended;
use service_orchestration::words::chain;

use crate::container::follow::{follow, is_created, is_running};
use crate::container::record::ContainerRecord;
use crate::container::running;
use crate::engine::bridge::Task;
use crate::engine::stamp;
use crate::engine::{Engine, EngineError};
use crate::exec::processes;
use crate::executor::docker::DockerExecutor;
use crate::executor::hide::hide;
use crate::labels;
use crate::network::NetworkError;

/// How long it may take to get the remaining output of a container that ended without a daemon.
const FOUND: Duration = Duration::from_secs(30);

/// The pause before asking again while the engine is away.
const AGAIN: Duration = Duration::from_millis(300);

/// How many times to look for the result of a request with a lost answer: this takes half a minute.
const LATE_LOOKS: u32 = 100;

impl DockerExecutor {
    /// The containers of a service, of all generations.
    async fn containers_of(&self, order: &Order) -> Result<Vec<ContainerSummary>, EngineError> {
        list(
            &self.engine,
            &self.owner.of_service(&order.project, &order.service),
        )
        .await
    }

    /// Removes what is left of a service.
    pub(crate) async fn remove_leftovers(&self, order: &Order, but: Option<&str>) {
        let left = match self.containers_of(order).await {
            Ok(left) => left,
            Err(error) => {
                tracing::warn!(service = %order.service, %error, "cannot look for what is left of a service");
                return;
            }
        };
        for container in left {
            let Some(id) = container.id.filter(|id| Some(id.as_str()) != but) else {
                continue;
            };
            tracing::warn!(service = %order.service, container = id, "removing a leftover container");
            if let Err(error) = running::remove(&self.engine, &id, &id).await {
                tracing::warn!(container = id, %error, "cannot remove a leftover container");
            }
        }
        if but.is_none() {
            self.networks
                .remove_unused(&self.engine, &self.owner, &order.project)
                .await;
        }
    }

    /// Removes, by its labels, what a failed launch may have made, and says what became of the launch. The engine may
    /// have done something without being able to answer, or may still be doing it. Then this is not known until the
    /// engine is back and has removed it, and the search goes on in the background until a request with a lost answer
    /// has certainly ended.
    pub(crate) async fn undone(&self, order: &Order, error: LaunchError) -> Fate {
        let mut labels = self.owner.of_service(&order.project, &order.service);
        labels.insert(labels::GENERATION.to_owned(), order.generation.to_string());
        let answered = was_answered(&error);
        let undone = undo(&self.engine, &labels).await.is_ok();
        if undone {
            self.networks
                .remove_unused(&self.engine, &self.owner, &order.project)
                .await;
            if answered {
                return Fate::never(hide(&order.secrets, error));
            }
        }
        let (engine, networks) = (Arc::clone(&self.engine), Arc::clone(&self.networks));
        let (owner, project) = (self.owner.clone(), order.project.clone());
        let error = hide(&order.secrets, error);
        let why = chain(&error);
        let (gone, is_gone) = async_channel::bounded::<()>(1);
        Task::spawn(async move {
            let mut looks = if answered { 1 } else { LATE_LOOKS };
            while looks > 0 {
                Timer::after(AGAIN).await;
                match undo(&engine, &labels).await {
                    Ok(()) => {
                        looks -= 1;
                        gone.close();
                        networks.remove_unused(&engine, &owner, &project).await;
                    }
                    Err(error) => tracing::debug!(%error, "cannot clean up after a failed launch"),
                }
            }
        });
        Fate::NotKnownYet {
            why,
            later: Box::pin(async move {
                // Nothing is ever sent; it is closed.
                let _ = is_gone.recv().await;
                Known::Never(Box::new(error))
            }),
        }
    }

    /// What has become of a container that a former daemon launched.
    pub(crate) async fn find(&self, order: &Order, record: &ContainerRecord) -> Fate {
        let (id, name) = (record.id.as_str(), record.name.as_str());
        let lock = match locked(&order.run_dir).await {
            Ok(lock) => lock,
            Err(error) => {
                let why = error.to_string();
                return lost(why);
            }
        };
        let engine = self.engine_of(record).await;
        let found = match running::inspect(&engine, id, name).await {
            Ok(found) => found,
            Err(error) if error.is_not_found() => {
                return lost("its container was removed while no daemon ran".to_owned());
            }
            // It may run. Following it finds that out as soon as the engine answers.
            Err(error) => {
                tracing::error!(container = name, %error, "cannot find out whether a container runs");
                let unknown = ContainerInspectResponse::default();
                return Fate::running(self.adopted(&engine, order, record, &unknown, lock));
            }
        };
        let state = found.state.clone().unwrap_or_default();
        if is_created(&state) {
            return Fate::never(LaunchError::NeverStarted);
        }
        if is_running(&state) {
            let of = id.to_owned();
            unblock(move || processes::kill_commands(&of)).await;
            return Fate::running(self.adopted(&engine, order, record, &found, lock));
        }
        let container = self.container(&engine, order, record, None);
        let following = Arc::clone(&container);
        Task::spawn(follow(following, lock));
        let told = async { container.ended.wait().await.clone() };
        let late = async {
            Timer::after(FOUND).await;
            Ended::Lost("the engine does not say how its container ended".to_owned())
        };
        let ended = told.or(late).await;
        if record.is_of_former_boot() {
            return Fate::ended(Ended::Rebooted);
        }
        let at = state.finished_at.as_deref().and_then(stamp::parse).map(WallTime);
        Fate::Known(Known::Ended { ended, at })
    }
}

/// Removes every container with these labels.
async fn undo(engine: &Engine, labels: &HashMap<String, String>) -> Result<(), EngineError> {
    for container in list(engine, labels).await? {
        if let Some(id) = &container.id {
            running::remove(engine, id, id).await?;
        }
    }
    Ok(())
}

/// Whether the engine itself said why a launch failed. Otherwise it may still carry out the request.
fn was_answered(error: &LaunchError) -> bool {
    let LaunchError::Place(error) = error else {
        return true;
    };
    match (
        error.downcast_ref::<EngineError>(),
        error.downcast_ref::<NetworkError>(),
    ) {
        (Some(error), _) | (_, Some(NetworkError::Engine(error))) => error.is_answer(),
        _ => true,
    }
}

async fn list(
    engine: &Engine,
    labels: &HashMap<String, String>,
) -> Result<Vec<ContainerSummary>, EngineError> {
    let options = ListContainersOptions {
        all: true,
        filters: Some(labels::filter(labels)),
        ..ListContainersOptions::default()
    };
    engine
        .ask("list", "containers", |docker| async move {
            docker.list_containers(Some(options)).await
        })
        .await
}

pub(crate) fn lost(why: String) -> Fate {
    Fate::ended(Ended::Lost(why))
}

/// Takes the lock of an existing run directory, which means that its output is being written.
async fn locked(run_dir: &Path) -> Result<File, RunDirError> {
    let run_dir = run_dir.to_owned();
    unblock(move || RunDir::open(run_dir)?.take_lock()).await
}

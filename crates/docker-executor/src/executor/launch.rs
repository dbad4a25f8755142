//! Creates and starts the container of an order.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use blocking::unblock;
use bollard::models::ImageConfig;
use bollard::query_parameters::{CreateContainerOptions, StartContainerOptions};
use harness_model::WallTime;
use harness_shim::run_dir::RunDir;
use service_orchestration::executor::{Instance, LaunchError, Order};

use crate::container::record::ContainerRecord;
use crate::container::running;
use crate::container::{body, volumes};
use crate::engine::EngineError;
use crate::executor::docker::{DockerExecutor, managed, prompts};
use crate::executor::error::ContainerError;
use crate::files;
use crate::image::wanted::Wanted;
use crate::image::{Image, config};
use crate::labels;
use crate::network::membership::Membership;
use crate::output::prompt::{self, Attached};

/// The size of a terminal when nobody is attached.
const COLUMNS: u16 = 80;
const ROWS: u16 = 24;

impl DockerExecutor {
    /// Creates the container of an order. If one of ours already has its name, that is a leftover.
    pub(super) async fn create(
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
        let found = match running::inspect(&self.engine, name, name).await {
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
        running::remove(&self.engine, found.id.as_deref().unwrap_or(name), name).await?;
        Ok(())
    }

    /// Starts a created container and begins to follow it.
    pub(super) async fn start(
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
        let found = running::inspect(&self.engine, id, name).await?;
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
}

/// A text that no other launch has.
fn run_id() -> String {
    static LAUNCHES: AtomicU64 = AtomicU64::new(0);
    let (time, number) = (WallTime::now().0, LAUNCHES.fetch_add(1, Ordering::Relaxed));
    format!("{time:x}-{}-{number}", std::process::id())
}

/// Makes the run directory.
pub(super) fn prepare(order: &Order) -> Result<File, LaunchError> {
    let failed = |source| ContainerError::RunDir { source };
    let lock = RunDir::create(&order.run_dir)
        .and_then(|run_dir| run_dir.take_lock())
        .map_err(failed)?;
    Ok(lock)
}

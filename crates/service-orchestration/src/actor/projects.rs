//! What is done to whole projects: bind them to another file, and forget them.

use std::path::{Path, PathBuf};

use async_channel::Sender;
use blocking::unblock;
use harness_model::spec::ProjectFile;
use harness_model::{ProjectName, ServiceName};
use service_registry::record::ProjectRecord;

use super::driver::Driver;
use super::orders::{Forgotten, MoveOrder, OrderError};
use crate::layout::remove_discarded;
use crate::words::chain;

impl Driver {
    /// Binds a project to the file's new place. Its services keep running as they are. The next start compares the
    /// file with what they were started with.
    pub(super) fn move_project(&self, order: MoveOrder) {
        let Some(known) = self.registry.project(&order.project) else {
            return;
        };
        if known.source != order.from {
            return;
        }
        let mut record = ProjectRecord::clone(&known);
        let files = record.spec.files.iter_mut().chain(&mut record.earlier_files);
        files.for_each(|file| follow(file, &known.spec.base_dir, &order.base_dir));
        if let Some(first) = record.spec.files.first_mut() {
            first.path.clone_from(&order.to);
        }
        record.spec.source.clone_from(&order.to);
        record.spec.base_dir = order.base_dir;
        (record.source, record.folder) = (order.to, order.folder);
        let message = format!("moved from {}", order.from.display());
        super::rebuild::keep_project(&self.layout, &record);
        self.registry.upsert_project(record, message);
    }

    /// Forgets a project with no running services, and removes the folder of its run directories. It answers once
    /// both are done.
    pub(super) fn forget_project(
        &mut self,
        project: &ProjectName,
        reply: Sender<Result<Forgotten, OrderError>>,
    ) {
        let forgotten = match self.take_out(project) {
            Ok(forgotten) => forgotten,
            Err(error) => {
                // The asker may have gone away and needs no answer then.
                let _ = reply.try_send(Err(error));
                return;
            }
        };
        let (registry, (answer, discarded)) = (self.registry.clone(), forgotten);
        self.spawn(async move {
            if let Some(discarded) = discarded {
                unblock(move || remove_discarded(&discarded)).await;
            }
            if let Err(error) = registry.flush().await {
                tracing::error!(
                    error = chain(&error),
                    "cannot remove a forgotten project from the store"
                );
            }
            // The asker may have gone away and needs no answer then.
            let _ = reply.send(Ok(answer)).await;
        });
    }

    /// Removes a project from everything that is known, and returns where its folder is now, if it had one. The
    /// folder goes first: if the daemon dies in between, the next one finds a project without a folder, which can be
    /// forgotten again.
    fn take_out(&mut self, project: &ProjectName) -> Result<(Forgotten, Option<PathBuf>), OrderError> {
        let known = self.registry.project(project);
        if known.is_none() {
            return Err(OrderError::NoSuchProject(project.clone()));
        }
        let services: Vec<ServiceName> = self
            .registry
            .services(project)
            .iter()
            .map(|r| r.name.clone())
            .collect();
        let up = self.up(project);
        if !up.is_empty() {
            return Err(OrderError::StillUp {
                project: project.clone(),
                up,
            });
        }
        let folder = self.layout.project(project);
        let discarded = self
            .layout
            .discard_project(project)
            .map_err(|source| OrderError::NotForgotten {
                folder: folder.clone(),
                source,
            })?;
        self.projects.remove(project);
        self.registry.remove_project(project, "forgotten");
        Ok((Forgotten { services, folder }, discarded))
    }

    /// The services of a project that run, or are about to.
    fn up(&self, project: &ProjectName) -> Vec<ServiceName> {
        let preparing = self.preparing.iter().filter(|order| order.project == *project);
        let mut up: Vec<ServiceName> = preparing
            .flat_map(|order| order.services.iter().cloned())
            .collect();
        if let Some(state) = self.projects.get(project) {
            let live = state
                .services
                .iter()
                .filter(|(_, service)| service.live.is_some());
            up.extend(live.map(|(name, _)| name.clone()));
            up.extend(state.machine.not_at_rest().cloned());
        }
        up.sort();
        up.dedup();
        up
    }
}

/// If the file was in or below the folder that was moved, it moved with the folder.
fn follow(file: &mut ProjectFile, from: &Path, to: &Path) {
    if let Ok(inner) = file.path.strip_prefix(from) {
        file.path = to.join(inner);
    }
}

//! Projects as a whole: bound to another file, and forgotten.

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
    /// Binds a project to the file that it was moved to. Its services run on as they are: what they were started with is
    /// compared with the file when it is started again.
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

    /// Forgets a project of which nothing runs, and removes the folder of its run directories. Answers once both are
    /// done.
    pub(super) fn forget_project(
        &mut self,
        project: &ProjectName,
        reply: Sender<Result<Forgotten, OrderError>>,
    ) {
        let forgotten = match self.take_out(project) {
            Ok(forgotten) => forgotten,
            Err(error) => {
                // An asker that went away needs no answer.
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
                    "a forgotten project could not be taken out of the store"
                );
            }
            // An asker that went away needs no answer.
            let _ = reply.send(Ok(answer)).await;
        });
    }

    /// Takes a project out of everything that is known; where its folder is now, if it had one. The folder goes first: a
    /// daemon that dies in between finds a project without one, which can be forgotten again.
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

    /// What runs of a project, or is going to.
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

/// A file that was in a folder that was moved, or below it, has moved with it.
fn follow(file: &mut ProjectFile, from: &Path, to: &Path) {
    if let Ok(inner) = file.path.strip_prefix(from) {
        file.path = to.join(inner);
    }
}

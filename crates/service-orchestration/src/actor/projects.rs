//! What is done to whole projects: bind them to another file, and forget them.

use std::path::{Path, PathBuf};

use async_channel::Sender;
use blocking::unblock;
use command_executor::patience::pass;
use futures_lite::FutureExt;
use harness_model::spec::ProjectFile;
use harness_model::{ProjectName, ServiceName};
use service_registry::record::ProjectRecord;

use super::Message;
use super::driver::Driver;
use super::order_queue::DISK_ANSWERS;
use super::orders::{Forgotten, MoveOrder, OrderError};
use crate::layout::remove_discarded;
use crate::words::chain;

impl Driver {
    /// Keeps a copy of a project beside its services, after everything that was written before.
    pub(super) fn keep_project(&self, record: &ProjectRecord) {
        let (layout, record) = (self.layout.clone(), record.clone());
        self.disk.does(move || {
            super::rebuild::keep_project(&layout, &record);
            None
        });
    }

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
        self.keep_project(&record);
        self.registry.upsert_project(record, message);
    }

    /// Forgets a project with no running services, and removes the folder of its run directories. It answers once
    /// both are done.
    ///
    /// The folder goes first: if the daemon dies in between, the next one finds a project without a folder, which can
    /// be forgotten again.
    pub(super) fn forget_project(
        &mut self,
        project: ProjectName,
        reply: Sender<Result<Forgotten, OrderError>>,
    ) {
        if let Err(error) = self.may_forget(&project) {
            self.admission.is_over();
            // The asker may have gone away and needs no answer then.
            let _ = reply.try_send(Err(error));
            return;
        }
        let (layout, written) = (self.layout.clone(), self.disk.is_done());
        self.spawn_message(async move {
            let (of, folder) = (project.clone(), layout.project(&project));
            let discarded = async {
                written.await;
                unblock(move || layout.discard_project(&of)).await
            };
            let late = async {
                pass(DISK_ANSWERS).await;
                Err(std::io::ErrorKind::TimedOut.into())
            };
            let discarded = discarded.or(late).await;
            Some(Message::Discarded {
                project,
                discarded: discarded.map_err(|source| OrderError::NotForgotten { folder, source }),
                reply,
            })
        });
    }

    fn may_forget(&self, project: &ProjectName) -> Result<(), OrderError> {
        if self.registry.project(project).is_none() {
            return Err(OrderError::NoSuchProject(project.clone()));
        }
        let (project, up) = (project.clone(), self.up(project));
        match up.is_empty() {
            true => Ok(()),
            false => Err(OrderError::StillUp { project, up }),
        }
    }

    /// The folder of a project that is to be forgotten has been set aside. No other order had a turn meanwhile.
    pub(super) fn discarded(
        &mut self,
        project: &ProjectName,
        discarded: Result<Option<PathBuf>, OrderError>,
        reply: Sender<Result<Forgotten, OrderError>>,
    ) {
        self.admission.is_over();
        match discarded {
            Ok(discarded) => self.take_out(project, discarded, reply),
            Err(error) => {
                // The asker may have gone away and needs no answer then.
                let _ = reply.try_send(Err(error));
            }
        }
        self.next_orders();
    }

    /// Removes a project from everything that is known, and the folder that it had.
    fn take_out(
        &mut self,
        project: &ProjectName,
        discarded: Option<PathBuf>,
        reply: Sender<Result<Forgotten, OrderError>>,
    ) {
        let services: Vec<ServiceName> = self
            .registry
            .services(project)
            .iter()
            .map(|r| r.name.clone())
            .collect();
        let folder = self.layout.project(project);
        self.projects.remove(project);
        self.registry.remove_project(project, "forgotten");
        let registry = self.registry.clone();
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
            let _ = reply.send(Ok(Forgotten { services, folder })).await;
        });
    }

    /// The services of a project that run, or are about to.
    fn up(&self, project: &ProjectName) -> Vec<ServiceName> {
        let mut up: Vec<ServiceName> = self.admission.asking_for(project).cloned().collect();
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

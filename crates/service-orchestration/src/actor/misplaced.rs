//! Services with a run directory that was removed while they run. Their output and their end cannot be written
//! anywhere, and only this daemon could find them again. They are stopped, and the restart policy decides what
//! follows.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use blocking::unblock;
use command_executor::patience::pass;
use futures_lite::FutureExt;
use harness_model::{ProjectName, ServiceName};

use super::Message;
use super::driver::Driver;
use crate::executor::Instance;

/// Why such a service ended.
const REASON: &str = "its run directory was removed, so it was stopped";

/// How long a run directory must be missing before it counts, so that whoever removes more than that can finish.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long the supervisor may take to kill what is left after the grace period.
const MARGIN: Duration = Duration::from_secs(2);

impl Driver {
    /// Checks that the run directory of everything that runs is in its place.
    pub(super) fn look_at_places(&self) {
        let mut running = Vec::new();
        for (project, state) in &self.projects {
            for (service, entry) in &state.services {
                let Some(live) = entry.live.as_ref().filter(|live| live.lost.get().is_none()) else {
                    continue;
                };
                if let Some(instance) = &live.instance {
                    let of = (project.clone(), service.clone(), live.order.generation);
                    running.push((of, Arc::clone(instance)));
                }
            }
        }
        if running.is_empty() {
            return;
        }
        let (layout, inbox) = (self.layout.clone(), self.inbox.clone());
        self.spawn(async move {
            let running = misplaced(running).await;
            if running.is_empty() {
                return;
            }
            pass(PATIENCE).await;
            let running = misplaced(running).await;
            // If the home itself is gone, all of it is stopped anyway.
            let is_home = unblock(move || layout.check_home().is_ok()).await;
            for ((project, service, generation), _) in running.into_iter().filter(|_| is_home) {
                let Some(inbox) = inbox.upgrade() else { return };
                // The inbox is closed when the daemon ends.
                let _ = inbox
                    .send(Message::Misplaced {
                        project,
                        service,
                        generation,
                    })
                    .await;
            }
        });
    }

    /// Whether a generation that lost its run directory still exists.
    pub(super) fn is_losing(&self) -> bool {
        let services = self
            .projects
            .values()
            .flat_map(|project| project.services.values());
        let mut live = services.filter_map(|service| service.live.as_ref());
        live.any(|live| live.lost.get().is_some())
    }

    /// Stops a generation that lost its run directory. It counts as lost, whatever its own end says.
    pub(super) fn lose(&mut self, project: &ProjectName, service: &ServiceName, generation: u64) {
        let entry = self.projects.get(project).and_then(|p| p.services.get(service));
        let live = entry.and_then(|entry| entry.live.as_ref());
        let Some(live) = live.filter(|live| live.order.generation == generation) else {
            return;
        };
        let Some(instance) = live.instance.clone() else {
            return;
        };
        if live.lost.set(REASON.to_owned()).is_err() {
            return;
        }
        let run_dir = live.order.run_dir.display();
        tracing::error!(%project, %service, %run_dir, "stopping a service that lost its run directory");
        let grace = live.order.spec.shutdown_timeout + MARGIN;
        self.spawn(async move {
            instance.stop().await;
            let gone = async {
                instance.wait().await;
                true
            };
            let late = async {
                pass(grace).await;
                false
            };
            if !gone.or(late).await {
                instance.kill().await;
            }
        });
    }
}

type Running = ((ProjectName, ServiceName, u64), Arc<dyn Instance>);

async fn misplaced(running: Vec<Running>) -> Vec<Running> {
    unblock(move || {
        let away = running
            .into_iter()
            .filter(|(_, instance)| !instance.is_in_place());
        away.collect()
    })
    .await
}

/// How a generation ended, taking into account whether it was lost before.
pub(super) fn end_of(lost: &OnceLock<String>, ended: crate::machine::Ended) -> crate::machine::Ended {
    match lost.get() {
        Some(reason) => crate::machine::Ended::Lost(reason.clone()),
        None => ended,
    }
}

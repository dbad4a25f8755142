//! Turns a machine's snapshot into the record that the registry keeps and publishes.

use std::sync::Arc;

use harness_model::{ProjectName, ServiceName, ServiceState};
use service_registry::record::{ServiceRecord, Waiting};

use super::driver::Driver;
use crate::machine::Ended;

impl Driver {
    /// The record of a service as it is now.
    pub(super) fn record(&self, project: &ProjectName, service: &ServiceName) -> Option<ServiceRecord> {
        let state = self.projects.get(project)?;
        let entry = state.services.get(service)?;
        let snapshot = state.machine.snapshot(service, self.now())?;
        let prepared = &entry.prepared;
        let before = self
            .registry
            .service(project, service)
            .filter(|r| r.generation == snapshot.generation);
        Some(ServiceRecord {
            project: project.clone(),
            name: service.clone(),
            spec: prepared.spec.clone(),
            digest: prepared.digest.clone(),
            environment: Arc::clone(&prepared.inherited),
            umask: prepared.umask,
            dependency_addresses: prepared.dependency_addresses.clone(),
            addresses: prepared.addresses.clone(),
            retired_secrets: Arc::clone(&prepared.retired_secrets),
            wanted: snapshot.wanted,
            in_file: snapshot.defined,
            state: snapshot.state,
            health: snapshot.health,
            ready: snapshot.ready,
            was_ready: snapshot.ready || before.as_ref().is_some_and(|before| before.was_ready),
            boot_id: None,
            image_health: match &entry.live {
                Some(live) => live.image_health.clone(),
                None => before.as_ref().and_then(|before| before.image_health.clone()),
            },
            generation: snapshot.generation,
            launched_digest: snapshot.digest,
            restarts: snapshot.restarts,
            retry_at: snapshot.retry_at.map(|at| self.wall(at)),
            startup_deadline: snapshot.startup_deadline.map(|at| self.wall(at)),
            doing: snapshot.doing,
            exit: match &snapshot.ended {
                Some(
                    Ended::Exit(exit)
                    | Ended::OutOfMemory(exit)
                    | Ended::Unsupervised(exit)
                    | Ended::Background { exit, .. },
                ) => Some(*exit),
                _ => None,
            },
            ended: snapshot
                .ended
                .as_ref()
                .and_then(|ended| serde_json::to_value(ended).ok()),
            // The last answer still explains why a generation that is gone had to go.
            last_probe: match snapshot.state {
                ServiceState::Stopping | ServiceState::Failed | ServiceState::Restarting => snapshot
                    .last_probe
                    .or_else(|| before.as_ref()?.last_probe.clone()),
                _ => snapshot.last_probe,
            },
            failure: snapshot
                .failure
                .as_ref()
                .and_then(|failure| serde_json::to_value(failure).ok()),
            ended_well: snapshot.ended_well,
            is_masked: true,
            is_unreached: snapshot.unreached,
            error: snapshot.error,
            trace: match entry.live.as_ref().map(|live| &live.instance) {
                Some(Some(instance)) => instance.trace().map(Arc::new),
                _ => None,
            },
            waiting: snapshot
                .waiting
                .into_iter()
                .map(|reason| Waiting {
                    service: reason.service,
                    condition: reason.condition,
                })
                .collect(),
            pid: entry.last.pid,
            started_at: entry.last.started_at,
            up_since_ns: entry.last.up_since_ns,
            ended_at: entry.last.ended_at,
        })
    }
}

//! From a machine's snapshot to the record that the registry keeps and publishes.

use std::sync::Arc;

use harness_model::{ProjectName, ServiceName};
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
        Some(ServiceRecord {
            project: project.clone(),
            name: service.clone(),
            spec: prepared.spec.clone(),
            digest: prepared.digest.clone(),
            environment: Arc::clone(&prepared.inherited),
            dependency_addresses: prepared.dependency_addresses.clone(),
            addresses: prepared.addresses.clone(),
            wanted: snapshot.wanted,
            in_file: snapshot.defined,
            state: snapshot.state,
            health: snapshot.health,
            ready: snapshot.ready,
            was_ready: snapshot.ready || self.was_ready(project, service, snapshot.generation),
            boot_id: None,
            generation: snapshot.generation,
            launched_digest: snapshot.digest,
            restarts: snapshot.restarts,
            retry_at: snapshot.retry_at.map(|at| self.wall(at)),
            startup_deadline: snapshot.startup_deadline.map(|at| self.wall(at)),
            exit: match &snapshot.ended {
                Some(Ended::Exit(exit)) => Some(*exit),
                _ => None,
            },
            last_probe: snapshot.last_probe,
            error: snapshot.error,
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
            ended_at: entry.last.ended_at,
        })
    }

    /// Whether the record of this generation says that it has been ready before.
    fn was_ready(&self, project: &ProjectName, service: &ServiceName, generation: u64) -> bool {
        self.registry
            .service(project, service)
            .is_some_and(|r| r.generation == generation && r.was_ready)
    }
}

//! Performs the machine's effects. Each effect that takes time becomes a task that reports back.

use std::sync::Arc;
use std::time::Duration;

use command_executor::patience::pass;
use futures_lite::FutureExt;
use harness_model::{ProjectName, ServiceName, WallTime};
use service_registry::{ChangeKind, Registry};

use super::driver::{Driver, Live};
use super::order_queue::DISK_ANSWERS;
use super::watch::watch_output;
use super::{Message, OperationEvent};
use crate::executor::Instance;
use crate::machine::{Deed, Effect, Event, Happened, LogPattern};

/// How long a stop waits for its record.
const RECORDING: Duration = Duration::from_secs(1);

impl Driver {
    pub(super) fn perform(&mut self, project: &ProjectName, effect: Effect) {
        match effect {
            Effect::Generation {
                service,
                generation,
                deed,
            } => self.perform_deed(project, service, generation, deed),
            Effect::Changed { service, message } => self.changed(project, &service, message),
            Effect::Forgotten { service } => self.forget(project, &service),
            Effect::Planned { .. } => {}
            Effect::Finished { operation, outcome } => {
                let watcher = self
                    .projects
                    .get_mut(project)
                    .and_then(|p| p.watchers.remove(&operation));
                if let Some(watcher) = watcher {
                    // What was forgotten is then gone from the disk as well.
                    let written = self.disk.is_done();
                    self.spawn(async move {
                        written.or(pass(DISK_ANSWERS)).await;
                        // Whoever ordered it may have gone away.
                        let _ = watcher.try_send(OperationEvent::Finished(outcome));
                    });
                }
            }
        }
    }

    fn perform_deed(&mut self, project: &ProjectName, service: ServiceName, generation: u64, deed: Deed) {
        match deed {
            Deed::Launch(_) => self.launch(project, service, generation),
            Deed::Stop => self.stop_instance(project, &service, generation),
            Deed::Kill => {
                if let Some(instance) = self.instance(project, &service, generation) {
                    self.spawn(async move { instance.kill().await });
                }
            }
            Deed::Probe => self.probe(project, service, generation),
            Deed::WatchLog(pattern) => self.watch(project, service, generation, pattern),
            Deed::RunHook(hook) => self.run_hook(project, service, generation, hook),
            Deed::EndHook(hook) => self.end_hook(project, &service, generation, hook),
            Deed::EndHooks => self.end_hooks(project, service, generation),
        }
    }

    /// Updates what the actor itself remembers, before the machine is told of the event.
    pub(super) fn note(&mut self, project: &ProjectName, event: &Event) {
        let Event::Generation {
            service,
            generation,
            happened: Happened::Exited(_),
        } = event
        else {
            return;
        };
        let entry = self
            .projects
            .get_mut(project)
            .and_then(|p| p.services.get_mut(service));
        if let Some(entry) = entry
            && entry
                .live
                .as_ref()
                .is_some_and(|live| live.order.generation == *generation)
        {
            entry.live = None;
            entry.last.pid = None;
            entry.last.up_since_ns = None;
            entry.last.ended_at = Some(WallTime::now());
        }
    }

    fn stop_instance(&mut self, project: &ProjectName, service: &ServiceName, generation: u64) {
        if let Some(instance) = self.instance(project, service, generation) {
            let registry = self.registry.clone();
            self.spawn(async move {
                recorded(&registry).await;
                instance.stop().await;
            });
        } else if let Some(live) = self.live(project, service, generation) {
            live.stop_when_launched = true;
            live.order.link.give_up();
        }
    }

    fn live(&mut self, project: &ProjectName, service: &ServiceName, generation: u64) -> Option<&mut Live> {
        let entry = self.projects.get_mut(project)?.services.get_mut(service)?;
        entry
            .live
            .as_mut()
            .filter(|live| live.order.generation == generation)
    }

    fn instance(
        &mut self,
        project: &ProjectName,
        service: &ServiceName,
        generation: u64,
    ) -> Option<Arc<dyn Instance>> {
        self.live(project, service, generation)?.instance.clone()
    }

    fn probe(&mut self, project: &ProjectName, service: ServiceName, generation: u64) {
        let prober = self
            .live(project, &service, generation)
            .and_then(|live| live.prober.clone());
        let Some(prober) = prober else { return };
        let (project, limiter) = (project.clone(), self.limiter.clone());
        let of = (project.clone(), service.clone());
        let task = self.message_task(async move {
            let outcome = prober.probe(&limiter).await;
            Some(Message::Machine {
                project,
                event: Event::Generation {
                    service,
                    generation,
                    happened: Happened::Probed(outcome),
                },
            })
        });
        if let Some(live) = self.live(&of.0, &of.1, generation) {
            live.probing = Some(task);
        }
    }

    fn watch(&mut self, project: &ProjectName, service: ServiceName, generation: u64, pattern: LogPattern) {
        let Some(live) = self.live(project, &service, generation) else {
            return;
        };
        let (project, run_dir) = (project.clone(), live.order.run_dir.clone());
        self.spawn_message(async move {
            watch_output(&run_dir, &pattern.0)
                .await
                .then_some(Message::Machine {
                    project,
                    event: Event::Generation {
                        service,
                        generation,
                        happened: Happened::LogMatched(pattern),
                    },
                })
        });
    }

    pub(super) fn changed(&mut self, project: &ProjectName, service: &ServiceName, message: String) {
        let Some(record) = self.record(project, service) else {
            return;
        };
        let before = self.registry.service(project, service);
        let kind = match &before {
            None => ChangeKind::Registered,
            Some(before) if before.state != record.state => ChangeKind::State,
            Some(before) if before.health != record.health => ChangeKind::Health,
            Some(_) => ChangeKind::State,
        };
        self.registry.upsert_service(record, kind, message);
        self.tell_watchers(project, service);
    }

    fn tell_watchers(&self, project: &ProjectName, service: &ServiceName) {
        let Some(state) = self.projects.get(project) else {
            return;
        };
        for watcher in state.watchers.values() {
            // The channel is unbounded, but it lives only as long as its operation.
            let _ = watcher.try_send(OperationEvent::Changed(service.clone()));
        }
    }

    fn forget(&mut self, project: &ProjectName, service: &ServiceName) {
        if let Some(state) = self.projects.get_mut(project) {
            state.services.remove(service);
        }
        self.registry
            .remove_service(project, service, "stopped, and no longer in the file");
        let (layout, project, service) = (self.layout.clone(), project.clone(), service.clone());
        self.disk.does(move || layout.discard_service(&project, &service));
    }
}

/// Waits until the decision to stop is on disk. Otherwise the daemon could die after it sent the signal, and the next
/// one would think that the service ended by itself. A disk that fails or does not answer does not delay the stop.
async fn recorded(registry: &Registry) {
    let flush = async {
        let _ = registry.flush().await;
    };
    flush.or(pass(RECORDING)).await;
}

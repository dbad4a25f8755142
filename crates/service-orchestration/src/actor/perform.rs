//! Performing the machine's effects: each that takes time becomes a task that reports back.

use std::sync::Arc;
use std::time::Duration;

use async_channel::{Receiver, WeakSender};
use blocking::unblock;
use command_executor::patience::pass;
use futures_lite::FutureExt;
use futures_lite::future::zip;
use harness_model::{ProjectName, ServiceName, WallTime};
use service_registry::record::ServiceRecord;
use service_registry::{ChangeKind, Registry};

use super::driver::{Driver, Live};
use super::probes::{Prober, watch_log};
use super::rebuild::keep_service;
use super::start::health_policy;
use super::{Launch, Message, OperationEvent};
use crate::executor::{Instance, LaunchLink, Order, PlaceCommand};
use crate::layout::remove_discarded;
use crate::machine::{Effect, Event, Hook, LogPattern};
use crate::words::chain;

/// Run directories kept of a service, the present one included.
const GENERATIONS_KEPT: usize = 10;

/// How long a stop waits for its record.
const RECORDING: Duration = Duration::from_secs(1);

/// The longest a hook may take where the service's own timeouts do not say less.
const HOOK_LIMIT: Duration = Duration::from_secs(300);

impl Driver {
    pub(super) fn perform(&mut self, project: &ProjectName, effect: Effect) {
        match effect {
            Effect::Launch {
                service, generation, ..
            } => self.launch(project, service, generation),
            Effect::Stop { service, generation } => self.stop_instance(project, &service, generation),
            Effect::Kill { service, generation } => {
                if let Some(instance) = self.instance(project, &service, generation) {
                    self.spawn(async move { instance.kill().await });
                }
            }
            Effect::Probe { service, generation } => self.probe(project, service, generation),
            Effect::WatchLog {
                service,
                generation,
                pattern,
            } => {
                self.watch(project, service, generation, pattern);
            }
            Effect::RunHook {
                service,
                generation,
                hook,
            } => self.hook(project, service, generation, hook),
            Effect::Changed { service, message } => self.changed(project, &service, message),
            Effect::Forgotten { service } => self.forget(project, &service),
            Effect::Planned { .. } => {}
            Effect::Finished { operation, outcome } => {
                let watcher = self
                    .projects
                    .get_mut(project)
                    .and_then(|p| p.watchers.remove(&operation));
                if let Some(watcher) = watcher {
                    // Whoever ordered it may have gone away.
                    let _ = watcher.try_send(OperationEvent::Finished(outcome));
                }
            }
        }
    }

    fn launch(&mut self, project: &ProjectName, service: ServiceName, generation: u64) {
        let Some(entry) = self.projects.get(project).and_then(|p| p.services.get(&service)) else {
            return;
        };
        let (link, said) = LaunchLink::new();
        let order = Arc::new(Order {
            link,
            ..self.order(project, &service, &entry.prepared, generation)
        });
        let telling = tell_progress(
            self.inbox.clone(),
            said,
            (project.clone(), service.clone()),
            generation,
        );
        let telling = self.tasks.spawn(telling);
        let prober = Prober::new(&order, &self.executors, false).map(Arc::new);
        let executor = self.executors.of(&order.spec).map(Arc::clone);
        let live = Live {
            order: Arc::clone(&order),
            instance: None,
            unsettled: false,
            stop_when_launched: false,
            image_health: None,
            prober,
            probing: None,
        };
        if let Some(entry) = self
            .projects
            .get_mut(project)
            .and_then(|p| p.services.get_mut(&service))
        {
            entry.live = Some(live);
        }
        let record = self
            .record(project, &service)
            .map(|record| ServiceRecord { generation, ..record });
        let (layout, project, folders) = (self.layout.clone(), project.clone(), Arc::clone(&self.folders));
        self.spawn_message(async move {
            let beside = layout.clone();
            // Before there is anything to be found.
            let turn = folders.acquire().await;
            unblock(move || record.iter().for_each(|record| keep_service(&beside, record))).await;
            drop(turn);
            let (pruned, of) = (project.clone(), service.clone());
            // Many files may have to go, which the launch does not wait for; its answer does, so that no later
            // generation is there yet.
            let prune = async {
                // So few launches have left no more.
                if generation <= GENERATIONS_KEPT as u64 {
                    return;
                }
                let _turn = folders.acquire().await;
                unblock(move || layout.prune(&pruned, &of, GENERATIONS_KEPT - 1, generation)).await;
            };
            let launch = async {
                match executor {
                    Ok(executor) => executor.launch(&order).await.map_err(Box::new),
                    Err(error) => Err(Box::new(error)),
                }
            };
            let ((), result) = zip(prune, launch).await;
            drop(telling);
            Some(Message::Launched {
                project,
                service,
                generation,
                result,
            })
        });
    }

    /// The answer to a launch.
    pub(super) fn launched(
        &mut self,
        project: &ProjectName,
        service: ServiceName,
        generation: u64,
        result: Launch,
    ) {
        let entry = self
            .projects
            .get_mut(project)
            .and_then(|p| p.services.get_mut(&service));
        let Some(entry) = entry else {
            // Nobody knows it any more: whatever was launched must not run on.
            if let Ok(instance) = result {
                self.spawn(async move { instance.stop().await });
            }
            return;
        };
        match result {
            Ok(instance) => {
                entry.last.pid = instance.pid();
                entry.last.started_at = Some(instance.started_at());
                entry.last.ended_at = None;
                let mut stop = false;
                if let Some(live) = entry
                    .live
                    .as_mut()
                    .filter(|live| live.order.generation == generation)
                {
                    live.instance = Some(Arc::clone(&instance));
                    live.unsettled = false;
                    stop = live.stop_when_launched;
                }
                self.follow(project, &service, generation, Arc::clone(&instance));
                self.take_image_health(project, &service, instance.as_ref(), false);
                self.step(project, Event::Launched { service, generation });
                if stop {
                    self.spawn(async move { instance.stop().await });
                }
            }
            Err(error) => {
                entry.live = None;
                entry.last.pid = None;
                entry.last.ended_at = Some(WallTime::now());
                self.step(
                    project,
                    Event::LaunchFailed {
                        service,
                        generation,
                        reason: chain(error.as_ref()),
                    },
                );
            }
        }
    }

    /// Probes a service as its image says, if its specification says nothing. `was_ready`: see [`Prober::new`].
    pub(super) fn take_image_health(
        &mut self,
        project: &ProjectName,
        service: &ServiceName,
        instance: &dyn Instance,
        was_ready: bool,
    ) {
        let entry = self.projects.get_mut(project);
        let live = entry.and_then(|p| p.services.get_mut(service)?.live.as_mut());
        let Some(live) = live.filter(|live| live.order.spec.health_check.is_none()) else {
            return;
        };
        let Some(check) = instance.image_health() else {
            return;
        };
        live.prober = Some(Arc::new(Prober::of(
            &check,
            &live.order,
            &self.executors,
            was_ready,
        )));
        let (generation, policy) = (live.order.generation, health_policy(&check));
        live.image_health = Some(Arc::new(check));
        let service = service.clone();
        self.step(
            project,
            Event::HealthFound {
                service,
                generation,
                policy,
            },
        );
    }

    /// Reports the end of an instance when it comes, and until then whether it can be told that it runs.
    pub(super) fn follow(
        &self,
        project: &ProjectName,
        service: &ServiceName,
        generation: u64,
        instance: Arc<dyn Instance>,
    ) {
        let (project, service) = (project.clone(), service.clone());
        let (inbox, of, watched) = (
            self.inbox.clone(),
            (project.clone(), service.clone()),
            Arc::clone(&instance),
        );
        self.spawn(async move {
            let contact = async {
                loop {
                    let lost = watched.contact().await;
                    let (project, service) = of.clone();
                    let event = Event::Contact {
                        service,
                        generation,
                        lost,
                    };
                    let Some(inbox) = inbox.upgrade() else { return };
                    // A closed inbox means that the daemon ends; the next one finds out for itself.
                    let _ = inbox.send(Message::Machine { project, event }).await;
                }
            };
            let ended = async {
                watched.wait().await;
            };
            contact.or(ended).await;
        });
        self.spawn_message(async move {
            let ended = instance.wait().await;
            Some(Message::Machine {
                project,
                event: Event::Exited {
                    service,
                    generation,
                    ended,
                },
            })
        });
    }

    /// Keeps the actor's own picture in step with what a machine is about to be told.
    pub(super) fn note(&mut self, project: &ProjectName, event: &Event) {
        let Event::Exited {
            service, generation, ..
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
                event: Event::Probed {
                    service,
                    generation,
                    outcome,
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
            watch_log(&run_dir, &pattern.0).await.then_some(Message::Machine {
                project,
                event: Event::LogMatched {
                    service,
                    generation,
                    pattern,
                },
            })
        });
    }

    fn hook(&mut self, project: &ProjectName, service: ServiceName, generation: u64, hook: Hook) {
        let Some(entry) = self.projects.get(project).and_then(|p| p.services.get(&service)) else {
            return;
        };
        let order = match &entry.live {
            Some(live) => Arc::clone(&live.order),
            None => Arc::new(self.order(project, &service, &entry.prepared, generation)),
        };
        let hooks = &order.spec.hooks;
        let (words, limit) = match hook {
            Hook::BeforeStart => (&hooks.before_start, order.spec.startup_timeout),
            Hook::AfterHealthy => (&hooks.after_healthy, HOOK_LIMIT),
            Hook::BeforeStop => (&hooks.before_stop, order.spec.shutdown_timeout),
            Hook::AfterStop => (&hooks.after_stop, HOOK_LIMIT),
        };
        let words: Option<Result<Vec<String>, String>> = words.as_ref().map(|words| {
            let text = |word: &harness_model::Template| {
                word.expose().ok_or_else(|| format!("`{word}` is not resolved"))
            };
            words.iter().map(text).collect()
        });
        let folder = self
            .registry
            .project(project)
            .map(|known| known.spec.base_dir.clone());
        let place = self.executors.of_hook(&order, hook, &folder.unwrap_or_default());
        let project = project.clone();
        self.spawn_message(async move {
            let result = match (place, words) {
                (Ok(_), Some(Err(unresolved))) => Err(unresolved),
                (Ok((executor, order)), Some(Ok(words))) => {
                    let limit = limit.min(HOOK_LIMIT);
                    match executor.run(&order, &PlaceCommand::new(words), limit).await {
                        Ok(answer) => match answer.exit {
                            Some(exit) if exit.success() => Ok(()),
                            Some(exit) => Err(with_tail(exit.to_string(), &answer.tail)),
                            None => Err(format!("did not end within {}s", limit.as_secs_f32())),
                        },
                        Err(error) => Err(chain(&error)),
                    }
                }
                (Err(error), _) => Err(chain(&error)),
                (_, None) => Ok(()),
            };
            Some(Message::Machine {
                project,
                event: Event::HookFinished {
                    service,
                    generation,
                    hook,
                    result,
                },
            })
        });
    }

    fn changed(&mut self, project: &ProjectName, service: &ServiceName, message: String) {
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
            // Unbounded and short-lived: as long as its operation.
            let _ = watcher.try_send(OperationEvent::Changed(service.clone()));
        }
    }

    fn forget(&mut self, project: &ProjectName, service: &ServiceName) {
        if let Some(state) = self.projects.get_mut(project) {
            state.services.remove(service);
        }
        self.registry
            .remove_service(project, service, "stopped, and not in the file any more");
        // Many files may have to go, for which nobody waits.
        if let Some(discarded) = self.layout.discard_service(project, service) {
            self.spawn(unblock(move || remove_discarded(&discarded)));
        }
    }
}

/// Passes on what a launch says.
async fn tell_progress(
    inbox: WeakSender<Message>,
    said: Receiver<String>,
    (project, service): (ProjectName, ServiceName),
    generation: u64,
) {
    while let (Ok(doing), Some(inbox)) = (said.recv().await, inbox.upgrade()) {
        let (project, service) = (project.clone(), service.clone());
        let event = Event::Progressed {
            service,
            generation,
            doing,
        };
        // A closed inbox means that the daemon ends.
        let _ = inbox.send(Message::Machine { project, event }).await;
    }
}

/// Waits until what was decided is on disk: a daemon that dies after the signal is sent must not leave one that
/// takes the stop for an end by itself. A disk that fails or does not answer holds no stop up.
async fn recorded(registry: &Registry) {
    let flush = async {
        let _ = registry.flush().await;
    };
    flush.or(pass(RECORDING)).await;
}

fn with_tail(exit: String, tail: &str) -> String {
    match tail.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(line) => format!("{exit}: {}", line.trim()),
        None => exit,
    }
}

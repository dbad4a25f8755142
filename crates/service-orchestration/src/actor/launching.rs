//! Launches a service's next generation, and follows it until it ends.

use std::sync::Arc;

use async_channel::{Receiver, WeakSender};
use blocking::unblock;
use command_executor::boot_clock::since_boot;
use futures_lite::FutureExt;
use futures_lite::future::zip;
use harness_model::{ProjectName, ServiceName, WallTime};
use service_registry::record::ServiceRecord;

use super::Message;
use super::driver::{Driver, Last, Live};
use super::misplaced::end_of;
use super::prepare::health_policy;
use super::probes::Prober;
use super::rebuild::{keep_service, owe, pay};
use crate::executor::{Fate, Instance, Known, LaunchError, LaunchLink, Order};
use crate::layout::remove_discarded;
use crate::machine::{Event, Happened, Lost};
use crate::words::chain;

/// How many run directories of a service are kept, including the current one.
const GENERATIONS_KEPT: usize = 10;

impl Driver {
    pub(super) fn launch(&mut self, project: &ProjectName, service: ServiceName, generation: u64) {
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
        let (inbox, silent) = (self.inbox.clone(), self.silence_of(&order.spec));
        let written = self.disk.is_done();
        self.begin_hooks(&order);
        let owes = order.spec.hooks.after_stop.is_some();
        let live = Live {
            order: Arc::clone(&order),
            instance: None,
            stop_when_launched: false,
            image_health: None,
            prober,
            probing: None,
            lost: Arc::default(),
        };
        if let Some(entry) = self
            .projects
            .get_mut(project)
            .and_then(|p| p.services.get_mut(&service))
        {
            entry.live = Some(live);
            // The last thing to tell of the former process is its end.
            entry.last = Last {
                ended_at: entry.last.ended_at,
                ..Last::default()
            };
        }
        let record = self
            .record(project, &service)
            .map(|record| ServiceRecord { generation, ..record });
        let (layout, project, folders) = (self.layout.clone(), project.clone(), Arc::clone(&self.folders));
        self.spawn_message(async move {
            let (beside, own) = (layout.clone(), (project.clone(), service.clone()));
            // A service of this name may just have been forgotten.
            written.await;
            // Wait here, before there is anything on disk that could be found.
            let turn = folders.acquire().await;
            let owed = unblock(move || {
                beside.check_home()?;
                record.iter().try_for_each(|record| {
                    keep_service(&beside, record);
                    if owes { owe(&beside, record) } else { Ok(()) }
                })?;
                if let Some(discarded) = beside.discard_generation(&own.0, &own.1, generation) {
                    remove_discarded(&discarded);
                }
                Ok::<_, LaunchError>(())
            })
            .await;
            drop(turn);
            let (beside, debtor) = (layout.clone(), (project.clone(), service.clone()));
            let (pruned, of) = (project.clone(), service.clone());
            // There may be many files to remove. The launch does not wait for that, but its answer does, so that no
            // later generation exists before the removal is done.
            let prune = async {
                // After so few launches there is nothing to remove.
                if generation <= GENERATIONS_KEPT as u64 {
                    return;
                }
                let _turn = folders.acquire().await;
                unblock(move || layout.prune(&pruned, &of, GENERATIONS_KEPT - 1, generation)).await;
            };
            let of = (project.clone(), service.clone());
            let launch = async {
                match (owed, executor) {
                    (Ok(()), Ok(executor)) => {
                        if let Some(silent) = silent {
                            silent.wait(&inbox, &of, generation).await;
                        }
                        let fate = executor.launch(&order).await;
                        settled(fate, &inbox, &of, generation).await
                    }
                    (Err(error), _) | (_, Err(error)) => Known::Never(Box::new(error)),
                }
            };
            let ((), known) = zip(prune, launch).await;
            if owes && matches!(known, Known::Never(_)) {
                unblock(move || pay(&beside, &debtor.0, &debtor.1)).await;
            }
            drop(telling);
            Some(Message::Launched {
                project,
                service,
                generation,
                known,
            })
        });
    }

    /// The answer to a launch.
    pub(super) fn launched(
        &mut self,
        project: &ProjectName,
        service: ServiceName,
        generation: u64,
        known: Known,
    ) {
        let entry = self
            .projects
            .get_mut(project)
            .and_then(|p| p.services.get_mut(&service));
        let Some(entry) = entry else {
            // Nobody knows the generation any more, so what was launched must not run on.
            if let Known::Running(instance) = known {
                self.spawn(async move { instance.stop().await });
            }
            return;
        };
        match known {
            Known::Running(instance) => {
                entry.last.pid = instance.pid();
                entry.last.started_at = Some(instance.started_at());
                entry.last.up_since_ns = u64::try_from(since_boot().as_nanos()).ok();
                entry.last.ended_at = None;
                let mut stop = false;
                if let Some(live) = entry
                    .live
                    .as_mut()
                    .filter(|live| live.order.generation == generation)
                {
                    live.instance = Some(Arc::clone(&instance));
                    stop = live.stop_when_launched;
                }
                self.follow(project, &service, generation, Arc::clone(&instance));
                self.take_image_health(project, &service, instance.as_ref(), false);
                self.step(
                    project,
                    Event::Generation {
                        service,
                        generation,
                        happened: Happened::Launched,
                    },
                );
                if stop {
                    self.spawn(async move { instance.stop().await });
                }
            }
            Known::Ended { ended, at } => {
                entry.live = None;
                entry.last.pid = None;
                entry.last.ended_at = at.or_else(|| Some(WallTime::now()));
                self.step(
                    project,
                    Event::Generation {
                        service,
                        generation,
                        happened: Happened::Exited(ended),
                    },
                );
            }
            Known::Never(error) => {
                let reason = match &entry.live {
                    Some(live) => live.order.words(error.as_ref()),
                    None => chain(error.as_ref()),
                };
                entry.live = None;
                entry.last.pid = None;
                entry.last.ended_at = Some(WallTime::now());
                self.step(
                    project,
                    Event::Generation {
                        service,
                        generation,
                        happened: Happened::LaunchFailed(reason),
                    },
                );
            }
        }
    }

    /// Probes a service by the health check of its image, if its specification has none. For `was_ready` see
    /// [`Prober::new`].
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
        let Some(check) = instance.declared_health() else {
            return;
        };
        live.prober = Some(Arc::new(Prober::of(
            &check,
            &live.order,
            &self.executors,
            was_ready,
        )));
        let (generation, policy) = (live.order.generation, health_policy(&check));
        let executor = self.executors.of(&live.order.spec);
        let may_take_longer = executor.is_ok_and(|executor| executor.left_open(&live.order.spec).startup);
        let needs = may_take_longer.then(|| check.needs());
        live.image_health = Some(Arc::new(check));
        let service = service.clone();
        self.step(
            project,
            Event::Generation {
                service,
                generation,
                happened: Happened::HealthFound { policy, needs },
            },
        );
    }

    /// Reports the end of an instance when it comes. Until then it reports each time it becomes unknown, or known
    /// again, whether the instance runs.
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
                    tell_contact(&inbox, &of, generation, watched.contact().await);
                }
            };
            let ended = async {
                watched.wait().await;
            };
            contact.or(ended).await;
        });
        let entry = self.projects.get(&project).and_then(|p| p.services.get(&service));
        let live = entry.and_then(|entry| entry.live.as_ref());
        let lost = live.map(|live| Arc::clone(&live.lost)).unwrap_or_default();
        self.spawn_message(async move {
            let ended = end_of(&lost, instance.wait().await);
            Some(Message::Machine {
                project,
                event: Event::Generation {
                    service,
                    generation,
                    happened: Happened::Exited(ended),
                },
            })
        });
    }
}

/// Waits until it is known what became of a generation. If that is not known yet, the machine is told why.
async fn settled(
    fate: Fate,
    inbox: &WeakSender<Message>,
    of: &(ProjectName, ServiceName),
    generation: u64,
) -> Known {
    fate.settled(|why| tell_contact(inbox, of, generation, Some(Lost::Contact(why))))
        .await
}

/// Tells the machine that the state of a generation has become unknown, or known again.
pub(super) fn tell_contact(
    inbox: &WeakSender<Message>,
    (project, service): &(ProjectName, ServiceName),
    generation: u64,
    lost: Option<Lost>,
) {
    let (project, service) = (project.clone(), service.clone());
    let event = Event::Generation {
        service,
        generation,
        happened: Happened::Contact(lost),
    };
    if let Some(inbox) = inbox.upgrade() {
        // The inbox is unbounded. It is closed when the daemon ends, and the next daemon finds out for itself.
        let _ = inbox.try_send(Message::Machine { project, event });
    }
}

/// Passes on the progress that a launch reports.
async fn tell_progress(
    inbox: WeakSender<Message>,
    said: Receiver<String>,
    (project, service): (ProjectName, ServiceName),
    generation: u64,
) {
    while let (Ok(doing), Some(inbox)) = (said.recv().await, inbox.upgrade()) {
        let (project, service) = (project.clone(), service.clone());
        let event = Event::Generation {
            service,
            generation,
            happened: Happened::Progressed(doing),
        };
        // The inbox is closed when the daemon ends.
        let _ = inbox.send(Message::Machine { project, event }).await;
    }
}

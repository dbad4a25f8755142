//! The loop that owns the machines: it takes a message or a deadline, steps a machine, and has the effects performed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_channel::{Receiver, Sender, WeakSender};
pub(super) use async_executor::Executor as Tasks;
use async_executor::Task;
use async_lock::Semaphore;
use command_executor::patience::pass;
use futures_lite::FutureExt;
use harness_model::resolve::SpecDigest;
use harness_model::spec::{HealthCheck, Probe};
use harness_model::{ProjectName, SecretString, ServiceName, ServiceSpec, Umask, WallTime};
use service_registry::Registry;
use service_registry::address::ServiceAddresses;

use super::admission::Admission;
use super::clock::Clock;
use super::disk::Disk;
use super::hooks::Hooks;
use super::order_queue::{DISK_ANSWERS, Waiting};
use super::recover::{Silent, Sought};
use super::{Message, Operation, OperationEvent, OrderError, Place, probes::Prober};
use crate::executor::{Executors, Instance, LaunchLink, Order};
use crate::health::ProbeLimiter;
use crate::layout::Layout;
use crate::machine::{Effect, Event, Machine, OperationId, Time};
use crate::secrets::{self, Redactors, Secrets};
use crate::words::chain;

/// Probes in flight at once, over all projects together.
const PROBES_IN_FLIGHT: usize = 64;

/// How many launches work on folders at once. Each takes a thread, and a thousand services may start together.
const FOLDERS_AT_ONCE: usize = 16;

/// How often to check whether a service that lost its run directory is gone.
const LOSING: Duration = Duration::from_millis(10);

/// What a service is launched with.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub(super) spec: Arc<ServiceSpec>,
    pub(super) digest: SpecDigest,
    pub(super) inherited: Arc<BTreeMap<String, SecretString>>,
    /// The umask of whoever started it.
    pub(super) umask: Option<Umask>,
    pub(super) dependency_addresses: BTreeMap<String, String>,
    pub(super) addresses: ServiceAddresses,
    /// Secrets of earlier specs, which may still be in the logs that are kept.
    pub(super) retired_secrets: Arc<Vec<SecretString>>,
}

/// A generation that was launched and may still exist.
pub(super) struct Live {
    pub(super) order: Arc<Order>,
    /// `None` until the launch is answered.
    pub(super) instance: Option<Arc<dyn Instance>>,
    /// Somebody asked for a stop before the launch was answered.
    pub(super) stop_when_launched: bool,
    /// The health check of its image, for a specification without one.
    pub(super) image_health: Option<Arc<HealthCheck>>,
    pub(super) prober: Option<Arc<Prober>>,
    /// The probe in flight. It is dropped with the generation, which also ends its command.
    pub(super) probing: Option<Task<()>>,
    /// Why the daemon stops it without having been asked to: it lost its run directory.
    pub(super) lost: Arc<OnceLock<String>>,
}

/// What the actor keeps of a service in addition to its machine.
pub(super) struct Service {
    pub(super) prepared: Prepared,
    pub(super) live: Option<Live>,
    /// The hooks of its newest generation, if it has any.
    pub(super) hooks: Option<Hooks>,
    pub(super) last: Last,
}

/// What the actor remembers of the latest generation, whether it runs or not.
#[derive(Debug, Clone, Default)]
pub(super) struct Last {
    pub(super) pid: Option<u32>,
    pub(super) started_at: Option<WallTime>,
    /// The same, as nanoseconds since the machine booted.
    pub(super) up_since_ns: Option<u64>,
    pub(super) ended_at: Option<WallTime>,
}

/// A project and its machine.
pub(super) struct Project {
    pub(super) machine: Machine,
    pub(super) services: BTreeMap<ServiceName, Service>,
    pub(super) watchers: BTreeMap<OperationId, Sender<OperationEvent>>,
}

/// What to do once everything that a former daemon left is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterRecovery {
    /// Continue what was interrupted.
    GoOn,
    /// Stop all of it.
    StopAll,
}

pub(super) struct Driver {
    pub(super) registry: Registry,
    pub(super) executors: Executors,
    pub(super) layout: Layout,
    pub(super) inbox: WeakSender<Message>,
    pub(super) tasks: Arc<Tasks<'static>>,
    pub(super) limiter: ProbeLimiter,
    pub(super) folders: Arc<Semaphore>,
    pub(super) disk: Disk,
    pub(super) projects: BTreeMap<ProjectName, Project>,
    /// The orders that have not been carried out.
    pub(super) admission: Admission<Waiting>,
    /// Services that a former daemon launched and whose place has not said what became of them.
    pub(super) sought: BTreeMap<(ProjectName, ServiceName), Sought>,
    /// Executors that had not answered when this daemon became ready, by type.
    pub(super) silent: BTreeMap<&'static str, Silent>,
    /// The stops that it ordered by itself, until somebody asks for them.
    pub(super) begun: Vec<Operation>,
    pub(super) redactors: Redactors,
    clock: Clock,
    next_operation: u64,
}

impl Driver {
    pub(super) fn new(
        registry: Registry,
        executors: Executors,
        layout: Layout,
        redactors: Redactors,
        inbox: WeakSender<Message>,
    ) -> Self {
        let tasks = Arc::new(Tasks::new());
        Self {
            redactors,
            registry,
            executors,
            layout,
            inbox,
            disk: Disk::new(&tasks),
            tasks,
            limiter: ProbeLimiter::new(PROBES_IN_FLIGHT),
            folders: Arc::new(Semaphore::new(FOLDERS_AT_ONCE)),
            projects: BTreeMap::new(),
            admission: Admission::default(),
            sought: BTreeMap::new(),
            silent: BTreeMap::new(),
            begun: Vec::new(),
            clock: Clock::new(),
            next_operation: 1,
        }
    }

    /// Recovers, then serves until every handle is gone.
    pub(super) async fn run(mut self, messages: Receiver<Message>, then: AfterRecovery) {
        let tasks = Arc::clone(&self.tasks);
        tasks
            .run(async move {
                self.recover().await;
                if then == AfterRecovery::StopAll {
                    self.stop_recovered();
                }
                // Whoever is told that this is ready must see what was found.
                self.tick();
                while let Some(message) = self.next(&messages).await {
                    match message {
                        Some(message) => self.take(message),
                        None => self.tick(),
                    }
                }
                self.disk.is_done().or(pass(DISK_ANSWERS)).await;
            })
            .await;
    }

    /// The next message, or `Some(None)` when a deadline came first; `None` when there will be no more.
    async fn next(&mut self, messages: &Receiver<Message>) -> Option<Option<Message>> {
        let deadline = self
            .projects
            .values()
            .filter_map(|p| p.machine.next_deadline())
            .min();
        let message = async { messages.recv().await.ok().map(Some) };
        let Some(deadline) = deadline else {
            return message.await;
        };
        let wake = self.clock.wake_for(deadline);
        let timer = async {
            async_io::Timer::at(wake).await;
            Some(None)
        };
        // Take messages first: a deadline must not delay a flood of them. They do not delay a deadline either,
        // because each step looks at the clock.
        let next = message.or(timer).await;
        self.clock.woke(wake);
        next
    }

    /// The current time, as the machines count it.
    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }

    /// The wall-clock time of a machine's instant.
    pub(super) fn wall(&self, time: Time) -> WallTime {
        self.clock.wall(time)
    }

    pub(super) fn next_operation(&mut self) -> OperationId {
        let id = OperationId(self.next_operation);
        self.next_operation += 1;
        id
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Start { order, reply } => self.start_came(order, reply),
            Message::ImagesAsked {
                ticket,
                order,
                exposed,
                reply,
            } => self.images_asked(ticket, order, exposed, reply),
            Message::Stop { order, reply } => {
                self.admission.stop_came(&order.project, order.targets.as_ref());
                self.order_came(Waiting::Stop(order, reply));
            }
            Message::Checked {
                planned,
                refusal,
                reply,
            } => self.checked(*planned, refusal, reply),
            Message::Discarded {
                project,
                discarded,
                reply,
            } => self.discarded(&project, discarded, reply),
            Message::Abandon { project, operation } => self.step(&project, Event::Abandon { operation }),
            Message::LookAtPlaces => self.look_at_places(),
            Message::Misplaced {
                project,
                service,
                generation,
            } => self.lose(&project, &service, generation),
            Message::StraysEnded if self.is_losing() => self.spawn_message(async {
                async_io::Timer::after(LOSING).await;
                Some(Message::StraysEnded)
            }),
            Message::StraysEnded => {
                self.admission.open();
                self.next_orders();
            }
            Message::Move { order, reply } => {
                self.move_project(order);
                // The asker may have gone away and needs no answer then.
                let _ = reply.try_send(());
            }
            Message::Forget { project, reply } => self.order_came(Waiting::Forget(project, reply)),
            Message::Ready { reply } => {
                // The asker may have gone away and needs no answer then.
                let _ = reply.try_send(());
            }
            Message::Begun { reply } => {
                // The asker may have gone away and needs no answer then.
                let _ = reply.try_send(std::mem::take(&mut self.begun));
            }
            Message::Place {
                project,
                service,
                reply,
            } => {
                // The asker may have gone away and needs no answer then.
                let _ = reply.try_send(self.place(&project, &service));
            }
            Message::Launched {
                project,
                service,
                generation,
                known,
            } => self.launched(&project, service, generation, known),
            Message::Found(answer) => self.found(*answer),
            Message::Machine { project, event } => {
                self.note(&project, &event);
                self.step(&project, event);
            }
        }
    }

    /// Answers an order once its decisions are on disk.
    pub(super) fn answer(
        &self,
        answer: Result<Operation, OrderError>,
        reply: Sender<Result<Operation, OrderError>>,
    ) {
        let registry = self.registry.clone();
        self.spawn(async move {
            if answer.as_ref().is_ok_and(|operation| operation.id.is_some())
                && let Err(error) = registry.flush().await
            {
                tracing::error!(error = chain(&error), "an accepted order could not be recorded");
            }
            // The asker may have gone away and needs no answer then.
            let _ = reply.send(answer).await;
        });
    }

    fn tick(&mut self) {
        let now = self.now();
        let due: Vec<ProjectName> = self
            .projects
            .iter()
            .filter(|(_, project)| {
                project
                    .machine
                    .next_deadline()
                    .is_some_and(|deadline| deadline <= now)
            })
            .map(|(name, _)| name.clone())
            .collect();
        for project in due {
            self.step(&project, Event::Tick);
        }
    }

    /// Steps a project's machine and has the effects performed.
    pub(super) fn step(&mut self, project: &ProjectName, event: Event) {
        let now = self.now();
        let Some(state) = self.projects.get_mut(project) else {
            return;
        };
        let effects = state.machine.step(event, now);
        self.perform_all(project, effects);
    }

    pub(super) fn perform_all(&mut self, project: &ProjectName, effects: Vec<Effect>) {
        for effect in effects {
            self.perform(project, effect);
        }
    }

    fn place(&self, project: &ProjectName, service: &ServiceName) -> Result<Place, OrderError> {
        let state = self
            .projects
            .get(project)
            .ok_or_else(|| OrderError::NoSuchProject(project.clone()))?;
        let entry = state
            .services
            .get(service)
            .ok_or_else(|| OrderError::NoSuchService {
                project: project.clone(),
                service: service.clone(),
            })?;
        let executor = self
            .executors
            .of(&entry.prepared.spec)
            .map_err(|error| OrderError::Unsupported(vec![(service.clone(), error)]))?;
        let order = match &entry.live {
            Some(live) => Arc::clone(&live.order),
            None => {
                let last = state
                    .machine
                    .snapshot(service, self.now())
                    .map_or(0, |s| s.generation);
                Arc::new(self.order(project, service, &entry.prepared, last))
            }
        };
        let instance = entry.live.as_ref().and_then(|live| live.instance.clone());
        Ok(Place {
            order,
            executor: Arc::clone(executor),
            instance,
        })
    }

    /// The order to launch a generation of a service with.
    pub(super) fn order(
        &self,
        project: &ProjectName,
        service: &ServiceName,
        prepared: &Prepared,
        generation: u64,
    ) -> Order {
        Order {
            project: project.clone(),
            service: service.clone(),
            generation,
            spec: Arc::clone(&prepared.spec),
            inherited: Arc::clone(&prepared.inherited),
            umask: prepared.spec.umask.or(prepared.umask),
            addresses: prepared.dependency_addresses.clone(),
            own: prepared.addresses.clone(),
            run_dir: self.layout.generation(project, service, generation),
            project_files: self.project_files(project, &prepared.spec),
            secrets: self.secrets(project, prepared),
            link: LaunchLink::default(),
            output_is_awaited: self.is_output_awaited(project, service, &prepared.spec),
        }
    }

    /// The files that a project is read from, if one of its services renders files.
    fn project_files(&self, project: &ProjectName, spec: &ServiceSpec) -> Vec<PathBuf> {
        match self.registry.project(project) {
            Some(known) if !spec.files.is_empty() => known.spec.own_files(),
            _ => Vec::new(),
        }
    }

    /// Whether a health check or a dependent waits for a line of a service's output.
    fn is_output_awaited(&self, project: &ProjectName, service: &ServiceName, spec: &ServiceSpec) -> bool {
        let checks = |check: &HealthCheck| matches!(check.probe, Probe::Log(_));
        let waits = |state: &Project| state.machine.waits_for_output_of(service);
        spec.health_check.as_ref().is_some_and(checks) || self.projects.get(project).is_some_and(waits)
    }

    /// Hides the secrets of a service: those of its project, those of its spec, and the inherited values whose
    /// variable has the name of a secret.
    fn secrets(&self, project: &ProjectName, prepared: &Prepared) -> Secrets {
        let known = self.registry.project(project);
        let listed = known.map(|known| known.spec.secrets.clone()).unwrap_or_default();
        let mut own = prepared.spec.secrets();
        own.extend(secrets::inherited(&prepared.inherited, &listed));
        Secrets::new(self.redactors.clone(), project.clone(), own)
    }

    /// Runs a task beside the loop.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task).detach();
    }

    /// Runs a task and puts its message into the inbox.
    pub(super) fn spawn_message(&self, task: impl Future<Output = Option<Message>> + Send + 'static) {
        self.message_task(task).detach();
    }

    /// The same for a task that may become pointless: dropping the task ends it.
    pub(super) fn message_task(
        &self,
        task: impl Future<Output = Option<Message>> + Send + 'static,
    ) -> Task<()> {
        let inbox = self.inbox.clone();
        self.tasks.spawn(async move {
            let message = task.await;
            if let (Some(message), Some(inbox)) = (message, inbox.upgrade()) {
                // The inbox is closed when the daemon ends. The next daemon finds out for itself.
                let _ = inbox.send(message).await;
            }
        })
    }
}

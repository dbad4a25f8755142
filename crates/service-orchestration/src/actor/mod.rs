//! The orchestrator: one actor that owns every project's state machine.
//!
//! ```text
//!  handlers ──orders──▶ inbox ──▶ driver ──events──▶ machine (one a project, pure)
//!     ▲                   ▲          │
//!     │                   │          └──effects──▶ tasks: launch, wait, stop, probe, hook, watch
//!     └──operation events─┴──────────── what happened ◀──┘
//! ```
//!
//! Only the driver touches a machine. Every effect that takes time is a task of its own, and the task reports back
//! through the inbox. The driver is a plain future with its own task set: whoever builds the orchestrator polls it,
//! under any runtime.

mod admission;
mod clock;
mod disk;
mod driver;
mod found;
mod hooks;
mod images;
mod launching;
mod misplaced;
mod order_queue;
mod orders;
mod perform;
mod prepare;
mod probes;
mod projects;
mod rebuild;
mod record;
mod recover;
mod start;
mod stop;
mod watch;

use std::collections::BTreeSet;
use std::path::PathBuf;

use async_channel::{Receiver, Sender};
use harness_model::{ProjectName, ServiceName, ServiceSpec};
use service_registry::Registry;

pub use orders::{
    Forgotten, MoveOrder, Operation, OperationEvent, OrderError, Place, PlannedChange, PortConflict,
    StartOrder, StopOrder,
};

pub use rebuild::{NewerRecord, refuse_newer_records};

use crate::executor::{Description, Executors, Known, LaunchError};
use crate::layout::Layout;
use crate::machine::{self, OperationId};
use crate::secrets::Redactors;
use driver::{AfterRecovery, Driver};

/// The handle by which everybody else reaches the actor; cheap to clone.
#[derive(Clone, Debug)]
pub struct Orchestrator {
    inbox: Sender<Message>,
    executors: Executors,
    redactors: Redactors,
}

/// What others tell the actor. An order carries the channel for its answer.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all messages are of the large variant, and each is taken out of the inbox soon"
)]
enum Message {
    Start {
        order: Box<StartOrder>,
        reply: Sender<Result<Operation, OrderError>>,
    },
    Stop {
        order: StopOrder,
        reply: Sender<Result<Operation, OrderError>>,
    },
    ImagesAsked {
        ticket: admission::Ticket,
        order: Box<StartOrder>,
        exposed: Result<images::Exposed, OrderError>,
        reply: Sender<Result<Operation, OrderError>>,
    },
    Checked {
        planned: Box<start::PlannedStart>,
        refusal: Result<(), OrderError>,
        reply: Sender<Result<Operation, OrderError>>,
    },
    Discarded {
        project: ProjectName,
        discarded: Result<Option<PathBuf>, OrderError>,
        reply: Sender<Result<Forgotten, OrderError>>,
    },
    Abandon {
        project: ProjectName,
        operation: OperationId,
    },
    Move {
        order: MoveOrder,
        reply: Sender<()>,
    },
    Forget {
        project: ProjectName,
        reply: Sender<Result<Forgotten, OrderError>>,
    },
    Ready {
        reply: Sender<()>,
    },
    LookAtPlaces,
    Misplaced {
        project: ProjectName,
        service: ServiceName,
        generation: u64,
    },
    StraysEnded,
    Begun {
        reply: Sender<Vec<Operation>>,
    },
    Place {
        project: ProjectName,
        service: ServiceName,
        reply: Sender<Result<Place, OrderError>>,
    },
    Launched {
        project: ProjectName,
        service: ServiceName,
        generation: u64,
        known: Known,
    },
    Found(Box<recover::Answer>),
    Machine {
        project: ProjectName,
        event: machine::Event,
    },
}

impl Orchestrator {
    /// An orchestrator over this registry, and a future that must be polled for the orchestrator to work. The future
    /// first takes over what a former daemon left, then serves until every handle is dropped.
    pub fn new(
        registry: Registry,
        executors: Executors,
        layout: Layout,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        Self::with(registry, executors, layout, AfterRecovery::GoOn)
    }

    /// The same, but it stops what the former daemon left. No interrupted start and no restart policy starts anything
    /// before that. [`Self::begun`] returns the operations.
    pub fn stopping(
        registry: Registry,
        executors: Executors,
        layout: Layout,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        Self::with(registry, executors, layout, AfterRecovery::StopAll)
    }

    fn with(
        registry: Registry,
        executors: Executors,
        layout: Layout,
        then: AfterRecovery,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (inbox, messages) = async_channel::unbounded();
        // The driver's own sender must not keep it alive once every handle is gone.
        let redactors = Redactors::new(registry.clone());
        let driver = Driver::new(
            registry,
            executors.clone(),
            layout,
            redactors.clone(),
            inbox.downgrade(),
        );
        let handle = Self {
            inbox,
            executors,
            redactors,
        };
        (handle, driver.run(messages, then))
    }

    /// Hides the secrets of each project in text that other programs wrote.
    pub fn redactors(&self) -> &Redactors {
        &self.redactors
    }

    /// Waits until the orchestrator has taken over what a former daemon left.
    pub async fn ready(&self) {
        // An actor that has stopped never becomes ready.
        let _ = self.ask(|reply| Message::Ready { reply }).await;
    }

    /// Checks the run directories of everything that runs. A service with a removed run directory is stopped, since
    /// nobody could find it again, and its restart policy decides what follows.
    pub fn look_at_places(&self) {
        // A stopped actor has no services.
        let _ = self.inbox.try_send(Message::LookAtPlaces);
    }

    /// Brings services up.
    ///
    /// # Errors
    /// When the order cannot be carried out as a whole. Nothing has changed then.
    pub async fn start(&self, order: StartOrder) -> Result<Operation, OrderError> {
        self.ask(|reply| Message::Start {
            order: Box::new(order),
            reply,
        })
        .await?
    }

    /// Takes services down.
    ///
    /// # Errors
    /// When a project or service is not known. Nothing has changed then.
    pub async fn stop(&self, order: StopOrder) -> Result<Operation, OrderError> {
        self.ask(|reply| Message::Stop { order, reply }).await?
    }

    /// The stops that [`Self::stopping`] began. Only the first caller gets them.
    pub async fn begun(&self) -> Vec<Operation> {
        // A stopped actor stops nothing.
        self.ask(|reply| Message::Begun { reply })
            .await
            .unwrap_or_default()
    }

    /// Binds a project to another file. Its services keep running as they are. The next start compares the file with
    /// what they were started with.
    pub async fn move_project(&self, order: MoveOrder) {
        // If the actor has stopped, the next daemon does it.
        let _ = self.ask(|reply| Message::Move { order, reply }).await;
    }

    /// Forgets a project, its services and their logs. What engines keep for it, such as named volumes, stays.
    ///
    /// # Errors
    /// When the project is not known, something of it runs, or its folder cannot be removed. Nothing has changed
    /// then.
    pub async fn forget_project(&self, project: &ProjectName) -> Result<Forgotten, OrderError> {
        let project = project.clone();
        self.ask(|reply| Message::Forget { project, reply }).await?
    }

    /// Removes what services of these types keep after they end, and returns the names of what was removed. Call it
    /// only when all of the project is stopped.
    ///
    /// # Errors
    /// When something of it cannot be removed.
    pub async fn remove_kept(
        &self,
        project: &ProjectName,
        types: &BTreeSet<String>,
    ) -> Result<Vec<String>, LaunchError> {
        let mut removed = Vec::new();
        let executors = self.executors.all();
        for executor in executors.filter(|executor| executor.types().iter().any(|t| types.contains(*t))) {
            removed.extend(executor.remove_kept(project).await?);
        }
        // An executor of several types is called only once.
        removed.sort();
        removed.dedup();
        Ok(removed)
    }

    /// How `service show` describes a service: as its executor does; with nothing if there is none for its type.
    pub fn describe(&self, spec: &ServiceSpec) -> Description {
        let executor = self.executors.of(spec);
        executor.map_or_else(|_| Description::default(), |executor| executor.describe(spec))
    }

    /// Says that nobody waits for an operation any more. What it began goes on.
    pub async fn abandon(&self, project: &ProjectName, operation: OperationId) {
        // A stopped actor has no operations.
        let _ = self
            .inbox
            .send(Message::Abandon {
                project: project.clone(),
                operation,
            })
            .await;
    }

    /// The place of a service: for running commands in it, and for its streams.
    ///
    /// # Errors
    /// When the project or service is not known.
    pub async fn place(&self, project: &ProjectName, service: &ServiceName) -> Result<Place, OrderError> {
        self.ask(|reply| Message::Place {
            project: project.clone(),
            service: service.clone(),
            reply,
        })
        .await?
    }

    async fn ask<T>(&self, message: impl FnOnce(Sender<T>) -> Message) -> Result<T, OrderError> {
        let (reply, answer): (Sender<T>, Receiver<T>) = async_channel::bounded(1);
        self.inbox
            .send(message(reply))
            .await
            .map_err(|_| OrderError::ShuttingDown)?;
        answer.recv().await.map_err(|_| OrderError::ShuttingDown)
    }
}

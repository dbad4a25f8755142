//! What can be ordered of the orchestrator, and what it answers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use async_channel::Receiver;
use harness_model::spec::{Origin, ProjectFile, Protocol};
use harness_model::{ProjectName, ProjectSpec, SecretString, ServiceName, Umask};
use service_registry::address::AddressError;
use service_registry::record::FolderId;

use crate::executor::{Executor, Instance, LaunchError, Order, OrderLink};
use crate::layout::NoRoom;
use crate::machine::{Change, OperationId, OperationOutcome};
use crate::ports::{Holder, PortError};
use crate::words::chain;

/// An order to bring services up.
#[derive(Debug, Clone)]
pub struct StartOrder {
    /// The whole project as its file has it now.
    pub project: ProjectSpec,
    /// Which services; `None`: all.
    pub targets: Option<BTreeSet<ServiceName>>,
    /// Leave alone what they depend on.
    pub no_deps: bool,
    /// Stop and start the targets even when nothing changed.
    pub restart: bool,
    /// Stop services that the file no longer has.
    pub prune: bool,
    /// Only plan.
    pub dry_run: bool,
    /// If it fails, stop what it began.
    pub rollback: bool,
    /// The project may be taken over from another file.
    pub take_over: bool,
    /// The caller's environment.
    pub environment: BTreeMap<String, SecretString>,
    /// The caller's umask; `None`: not known.
    pub umask: Option<Umask>,
    /// Files that the project was read from before, that it is not read from this time, and that are still there.
    pub earlier_files: Vec<ProjectFile>,
    /// The folder of its file.
    pub folder: Option<FolderId>,
    /// Hears what has to be fetched before it can be planned, and gives that up, and the order with it.
    pub link: OrderLink,
}

impl StartOrder {
    /// Everything of a project, waiting for its dependencies, replacing what changed.
    pub fn whole(project: ProjectSpec) -> Self {
        Self {
            project,
            targets: None,
            no_deps: false,
            restart: false,
            prune: false,
            dry_run: false,
            rollback: false,
            take_over: false,
            environment: BTreeMap::new(),
            umask: None,
            earlier_files: Vec::new(),
            folder: None,
            link: OrderLink::default(),
        }
    }

    /// The services of the project that nobody chose this time: of other profiles, or of a file that was not given.
    pub(super) fn unchosen(&self) -> BTreeSet<ServiceName> {
        let earlier = self.earlier_files.iter().flat_map(|file| &file.services);
        let all = self.project.unchosen.keys().chain(earlier);
        all.filter(|name| !self.project.services.contains_key(*name))
            .cloned()
            .collect()
    }
}

/// An order to take services down.
#[derive(Debug, Clone)]
pub struct StopOrder {
    /// The project.
    pub project: ProjectName,
    /// Which services; `None`: all.
    pub targets: Option<BTreeSet<ServiceName>>,
}

/// One step of an accepted order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedChange {
    /// The service.
    pub service: ServiceName,
    /// What is done to it.
    pub change: Change,
    /// For a replacement: what of its specification changed.
    pub differences: Vec<String>,
    /// Which services it waits for.
    pub after: Vec<ServiceName>,
}

/// An accepted order. Its plan is recorded: it is carried on even if the daemon dies now.
#[derive(Debug)]
pub struct Operation {
    /// Its id; `None` for a dry run.
    pub id: Option<OperationId>,
    /// The project.
    pub project: ProjectName,
    /// What is done.
    pub steps: Vec<PlannedChange>,
    /// Services up that the file no longer has.
    pub not_in_file: Vec<ServiceName>,
    /// What happens, until it has finished. Dropping it does not stop anything.
    pub events: Receiver<OperationEvent>,
}

/// An order to bind a project to another file: its own was moved there.
#[derive(Debug, Clone)]
pub struct MoveOrder {
    /// The project.
    pub project: ProjectName,
    /// Its file so far; nothing is done if that is another one by now.
    pub from: PathBuf,
    /// Its file from now on.
    pub to: PathBuf,
    /// The folder that its relative paths mean from now on.
    pub base_dir: PathBuf,
    /// What tells that folder from others.
    pub folder: Option<FolderId>,
}

/// A project that was forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forgotten {
    /// Its services.
    pub services: Vec<ServiceName>,
    /// The folder of its run directories, which is gone.
    pub folder: PathBuf,
}

/// What happens in an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationEvent {
    /// The record of this service changed; the registry has it.
    Changed(ServiceName),
    /// It has ended; last.
    Finished(OperationOutcome),
}

/// The place of a service.
#[derive(Clone)]
pub struct Place {
    /// Its order: the one of the running generation, else the one it would be launched by.
    pub order: Arc<Order>,
    /// Its executor.
    pub executor: Arc<dyn Executor>,
    /// What runs of it.
    pub instance: Option<Arc<dyn Instance>>,
}

/// A port of a plan that somebody else holds.
#[derive(Debug, Clone)]
pub struct PortConflict {
    /// The service that wants it.
    pub service: ServiceName,
    /// The port.
    pub port: u16,
    /// Its transport.
    pub protocol: Protocol,
    /// Who holds it.
    pub holder: Holder,
    /// Where the file asks for it.
    pub origin: Option<Origin>,
}

/// Why an order is refused. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// The daemon is going down.
    #[error("the daemon is shutting down")]
    ShuttingDown,
    /// The project is not known.
    #[error("there is no project `{0}`")]
    NoSuchProject(ProjectName),
    /// The service is not in the project.
    #[error("there is no service `{service}` in project `{project}`")]
    NoSuchService {
        /// The project.
        project: ProjectName,
        /// The service.
        service: ServiceName,
    },
    /// The name belongs to a project of another file.
    #[error("project `{name}` was started from {}, not from {}", known.display(), given.display())]
    NameTaken {
        /// The project.
        name: ProjectName,
        /// The file it was started from.
        known: PathBuf,
        /// The file given now.
        given: PathBuf,
    },
    /// Services that cannot be run.
    #[error("{}", join(.0))]
    Unsupported(Vec<(ServiceName, LaunchError)>),
    /// An address could not be given or found.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Services whose images cannot be asked which port they declare.
    #[error("which port it declares is its image's to say: {}", join(.0))]
    Images(Vec<(ServiceName, LaunchError)>),
    /// Nobody wanted it any more before it was planned, or it was stopped.
    #[error("given up before anything was started")]
    GivenUp,
    /// A project that is to be forgotten is not at rest.
    #[error("project `{project}` is not stopped: {}", up.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(", "))]
    StillUp {
        /// The project.
        project: ProjectName,
        /// What runs of it, or is going to.
        up: Vec<ServiceName>,
    },
    /// The folder of a project cannot be removed.
    #[error("cannot remove {}: {source}; nothing was forgotten", folder.display())]
    NotForgotten {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Ports are held by others.
    #[error("{} held by others", count(.0.len()))]
    PortsTaken(Vec<PortConflict>),
    /// There is no place for what would be started. Nothing was changed: what is replaced runs on.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// The holders of ports could not be found out.
    #[error("cannot tell which ports are free: {0}")]
    Ports(#[source] PortError),
}

fn join(refused: &[(ServiceName, LaunchError)]) -> String {
    let lines: Vec<String> = refused
        .iter()
        .map(|(service, error)| format!("{service}: {}", chain(error)))
        .collect();
    lines.join("; ")
}

fn count(ports: usize) -> String {
    if ports == 1 {
        "1 port of the plan is".to_owned()
    } else {
        format!("{ports} ports of the plan are")
    }
}

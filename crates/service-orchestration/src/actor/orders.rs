//! What can be ordered from the orchestrator, and what it answers.

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
    /// The services to start; `None` for all.
    pub targets: Option<BTreeSet<ServiceName>>,
    /// Do not touch what they depend on.
    pub no_deps: bool,
    /// Stop and start the targets even if nothing changed.
    pub restart: bool,
    /// Stop services that the file no longer has.
    pub prune: bool,
    /// Only make the plan.
    pub dry_run: bool,
    /// If it fails, stop what it began.
    pub rollback: bool,
    /// The project may be taken over from another file.
    pub take_over: bool,
    /// The caller's environment.
    pub environment: BTreeMap<String, SecretString>,
    /// The caller's umask; `None`: not known.
    pub umask: Option<Umask>,
    /// Files that the project was read from earlier but not this time, and that still exist.
    pub earlier_files: Vec<ProjectFile>,
    /// The folder of its file.
    pub folder: Option<FolderId>,
    /// Receives progress while images that the plan needs are fetched. Giving up on this link gives up the order.
    pub link: OrderLink,
}

impl StartOrder {
    /// A whole project: waits for dependencies and replaces what changed.
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

    /// The services of the project that nobody chose this time: those of other profiles, or of a file that was not
    /// given.
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
    /// The name of the project.
    pub project: ProjectName,
    /// The services to stop; `None` for all.
    pub targets: Option<BTreeSet<ServiceName>>,
}

/// One step of an accepted order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedChange {
    /// The name of the service.
    pub service: ServiceName,
    /// What is done to it.
    pub change: Change,
    /// If the service is replaced: what changed in its specification.
    pub differences: Vec<String>,
    /// The services that it waits for.
    pub after: Vec<ServiceName>,
}

/// An accepted order. Its plan is recorded, so it is carried on even if the daemon dies now.
#[derive(Debug)]
pub struct Operation {
    /// Its id; `None` for a dry run.
    pub id: Option<OperationId>,
    /// The name of the project.
    pub project: ProjectName,
    /// The steps of the plan.
    pub steps: Vec<PlannedChange>,
    /// Services that are up but no longer in the file.
    pub not_in_file: Vec<ServiceName>,
    /// Reports what happens until the order has finished. Dropping it does not stop anything.
    pub events: Receiver<OperationEvent>,
}

/// An order to bind a project to another file, because its own file was moved there.
#[derive(Debug, Clone)]
pub struct MoveOrder {
    /// The name of the project.
    pub project: ProjectName,
    /// The project's file so far. If the project has another file by now, nothing is done.
    pub from: PathBuf,
    /// Its file from now on.
    pub to: PathBuf,
    /// The folder that relative paths start from, from now on.
    pub base_dir: PathBuf,
    /// Tells that folder from others, even if it is renamed.
    pub folder: Option<FolderId>,
}

/// A project that was forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forgotten {
    /// Its services.
    pub services: Vec<ServiceName>,
    /// The former folder of its run directories; it has been removed.
    pub folder: PathBuf,
}

/// What happens in an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationEvent {
    /// The record of this service changed. The registry already has the new record.
    Changed(ServiceName),
    /// The operation has ended. This is the last event.
    Finished(OperationOutcome),
}

/// The place of a service.
#[derive(Clone)]
pub struct Place {
    /// The order of the running generation; if nothing runs, the order that it would be launched with.
    pub order: Arc<Order>,
    /// Its executor.
    pub executor: Arc<dyn Executor>,
    /// The running instance, if there is one.
    pub instance: Option<Arc<dyn Instance>>,
}

/// A port that the plan needs and that somebody else holds.
#[derive(Debug, Clone)]
pub struct PortConflict {
    /// The service that wants it.
    pub service: ServiceName,
    /// The port number.
    pub port: u16,
    /// Its transport.
    pub protocol: Protocol,
    /// Who holds it.
    pub holder: Holder,
    /// Where the file asks for the port.
    pub origin: Option<Origin>,
}

/// Why an order was refused. Nothing has changed then.
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
        /// The name of the project.
        project: ProjectName,
        /// The name of the service.
        service: ServiceName,
    },
    /// The name belongs to a project of another file.
    #[error("project `{name}` was started from {}, not from {}", known.display(), given.display())]
    NameTaken {
        /// The name of the project.
        name: ProjectName,
        /// The file it was started from.
        known: PathBuf,
        /// The file given now.
        given: PathBuf,
    },
    /// Services that cannot be run.
    #[error("{}", join(.0))]
    Unsupported(Vec<(ServiceName, LaunchError)>),
    /// An address could not be assigned or found.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The images of these services could not be asked which port they declare.
    #[error("cannot find out which port the image declares: {}", join(.0))]
    Images(Vec<(ServiceName, LaunchError)>),
    /// Nobody wanted it any more before it was planned, or a stop came first.
    #[error("cancelled before anything was started")]
    GivenUp,
    /// The project is to be forgotten, but some of it is up.
    #[error("project `{project}` is not stopped: {}", up.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(", "))]
    StillUp {
        /// The name of the project.
        project: ProjectName,
        /// The services that run, or are about to.
        up: Vec<ServiceName>,
    },
    /// The folder of a project cannot be removed.
    #[error("cannot remove {}: {source}; nothing was forgotten", folder.display())]
    NotForgotten {
        /// The folder.
        folder: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Other processes hold ports that the plan needs.
    #[error("{} already in use", count(.0.len()))]
    PortsTaken(Vec<PortConflict>),
    /// There is no space for what would be started. Nothing was changed; services that would be replaced keep
    /// running.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// The disk of the home does not answer.
    #[error("the disk of {} does not answer", path.display())]
    DiskSilent {
        /// The folder of the projects.
        path: PathBuf,
    },
    /// It could not be found out who holds the ports.
    #[error("cannot find out which ports are free: {0}")]
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

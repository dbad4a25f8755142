//! Answers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use harness_model::{ExitStatus, ForeignText, ProjectName, ServiceName, WallTime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::event::ChangeEvent;
use super::select::{ProjectForgotten, Selected};
use super::view::{ServiceDetail, ServiceView};

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// The answer to `start` and `restart`.
    Start(StartReport),
    /// The answer to `stop` and `run`.
    Stop(StopReport),
    /// The answer to `status` and `wait`.
    Status(StatusReport),
    /// The answer to `exec` and `attach`.
    Exec(ExecResult),
    /// The answer to `why`.
    Why(Box<WhyReport>),
    /// The answer to `graph`.
    Graph(Graph),
    /// The answer to `env`.
    Env(EnvReport),
    /// The answer to `select`.
    Selected(Selected),
    /// The answer to `projects`.
    Projects(Vec<ProjectSummary>),
    /// The answer to `project_forget`.
    ProjectForgotten(ProjectForgotten),
    /// The answer to `service_show`.
    Service(Box<ServiceDetail>),
    /// The answer to `daemon_status`.
    DaemonStatus(DaemonStatus),
    /// The answer to a `daemon_stop` that stopped services.
    DaemonStop(DaemonStopReport),
    /// The answer to `actions`.
    Actions(Vec<ActionInfo>),
    /// The answer to `action`.
    Action(serde_json::Value),
    /// Done, with nothing to report.
    Done {},
}

/// What is done, or would be done, to a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It was not running, and is started.
    Started,
    /// It is running already (or has completed) with the same spec.
    Unchanged,
    /// It was running with another spec, and is stopped and started. Holds the differences.
    Replaced(Vec<ForeignText>),
    /// It is stopped and started on request.
    Restarted,
    /// It is stopped.
    Stopped,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanStep {
    /// The service.
    pub service: ServiceName,
    /// What is done to the service.
    pub change: Change,
    /// The services that it waits for.
    pub after: Vec<ServiceName>,
}

/// The result of a start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StartReport {
    /// The project.
    pub project: ProjectName,
    /// The services that the start was about.
    pub services: Vec<ServiceOutcome>,
    /// The services that caused the failure, without those that are only blocked by them.
    pub failures: Vec<Failure>,
    /// The chain of services that took the longest, first to last.
    pub critical_path: Vec<PathStep>,
    /// Services that are up but no longer in the file.
    pub not_in_file: Vec<ServiceName>,
    /// Milliseconds it took.
    pub elapsed_ms: u64,
}

/// The result of a start for one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceOutcome {
    /// The same as in `status`.
    #[serde(flatten)]
    pub view: ServiceView,
    /// What was done.
    pub change: Change,
    /// Whether it is ready.
    pub ready: bool,
    /// Milliseconds from its launch until it was ready; `None` if it is not ready or was running already.
    pub ready_after_ms: Option<u64>,
}

/// A service on the critical path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PathStep {
    /// The service.
    pub service: ServiceName,
    /// Milliseconds from its launch until it was ready.
    pub elapsed_ms: u64,
}

/// A service that failed, and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// The service.
    pub service: ServiceName,
    /// `exited 3 after 0.2s (attempt 3 of 3)`.
    pub reason: ForeignText,
    /// How its process ended, if it did.
    pub exit: Option<ExitStatus>,
    /// `http localhost:8080/health: connection refused`.
    pub last_probe: Option<ForeignText>,
    /// The last 20 lines of the start that failed, oldest first. Very long lines have only their beginning and end.
    pub last_lines: Vec<ForeignText>,
    /// Whether this start certainly wrote nothing.
    #[serde(default)]
    pub wrote_nothing: bool,
    /// Whether its place could not be reached. What was asked is done when it can be reached again.
    #[serde(default)]
    pub not_reached: bool,
    /// Services that cannot start because of it.
    pub blocked: Vec<ServiceName>,
    /// Services of the project that are up.
    pub still_up: Vec<ServiceName>,
}

/// The result of a stop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StopReport {
    /// The project.
    pub project: ProjectName,
    /// Services that it stopped.
    pub stopped: Vec<ServiceName>,
    /// Services that were not running.
    pub already: Vec<ServiceName>,
    /// Services that could not be stopped, and why.
    pub failures: Vec<Failure>,
    /// Named volumes that were removed.
    #[serde(default)]
    pub volumes: Vec<ForeignText>,
    /// Milliseconds it took.
    pub elapsed_ms: u64,
}

/// The services of a project.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StatusReport {
    /// The project.
    pub project: ProjectName,
    /// The services in the request, sorted by name.
    pub services: Vec<ServiceView>,
    /// All groups of the project, whatever services were requested.
    #[serde(default)]
    pub groups: BTreeMap<ServiceName, BTreeSet<ServiceName>>,
}

/// The result of an exec or attach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecResult {
    /// How the process ended; `None` if an attach was detached.
    pub exit: Option<ExitStatus>,
}

/// Why a service is in its state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WhyReport {
    /// The service.
    pub service: ServiceDetail,
    /// One sentence: `api is failed because it exited 3 after 0.2s`.
    pub summary: ForeignText,
    /// The chain of causes from the service to the root, one line each.
    pub chain: Vec<ForeignText>,
    /// The failure at the root, if there is one.
    pub failure: Option<Failure>,
    /// Its last events, oldest first.
    pub events: Vec<ChangeEvent>,
}

/// The dependency graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Graph {
    /// The project.
    pub project: ProjectName,
    /// The services.
    pub nodes: Vec<GraphNode>,
    /// Which service needs which.
    pub edges: Vec<GraphEdge>,
}

/// A service in the graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GraphNode {
    /// The same as in `status`.
    #[serde(flatten)]
    pub view: ServiceView,
    /// The length of its longest chain of dependencies.
    pub depth: u32,
}

/// `from` needs `to`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GraphEdge {
    /// The dependent.
    pub from: ServiceName,
    /// The dependency.
    pub to: ServiceName,
    /// `healthy`, `started`, …
    pub condition: ForeignText,
    /// Whether the condition holds now.
    pub holds: bool,
}

/// The addresses of a project as environment variables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnvReport {
    /// `HARNESS_DB_IP` and so on, as this machine reaches the services.
    pub variables: BTreeMap<String, String>,
}

/// A project in the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProjectSummary {
    /// Its name.
    pub name: ProjectName,
    /// The file it was started from.
    pub source: PathBuf,
    /// How many services it has.
    pub services: u32,
    /// How many of them are up.
    pub up: u32,
    /// The state of the whole project. An older daemon does not report it.
    #[serde(default)]
    pub state: ProjectState,
}

/// The state of a whole project.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProjectState {
    /// All wanted services are up.
    Up,
    /// Some wanted services are not up, or not yet.
    Partly,
    /// Nothing runs, and nothing is going to run.
    Stopped,
    /// Not reported.
    #[default]
    Unknown,
}

/// About the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DaemonStatus {
    /// Its process.
    pub pid: u32,
    /// The port it listens on.
    pub port: u16,
    /// Its version.
    pub version: String,
    /// Its home folder.
    pub home: PathBuf,
    /// When it started.
    pub started_at: WallTime,
    /// When its server certificate expires.
    pub certificate_expires_at: WallTime,
    /// Damaged stores that were set aside and still exist. An older daemon does not report them.
    #[serde(default)]
    pub damaged_stores: Vec<PathBuf>,
    /// Its projects.
    pub projects: Vec<ProjectSummary>,
}

/// The services that a daemon stopped before it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DaemonStopReport {
    /// The projects with stopped services.
    pub stopped: Vec<StoppedServices>,
}

/// The stopped services of a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoppedServices {
    /// The project.
    pub project: ProjectName,
    /// The services.
    pub services: Vec<ServiceName>,
}

/// An action a daemon offers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ActionInfo {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// JSON Schema of its input.
    pub input: serde_json::Value,
    /// JSON Schema of its output.
    pub output: serde_json::Value,
    /// JSON Schema of its events.
    pub events: serde_json::Value,
}

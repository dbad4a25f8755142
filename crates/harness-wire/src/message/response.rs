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
    /// To `start` and `restart`.
    Start(StartReport),
    /// To `stop` and `run`.
    Stop(StopReport),
    /// To `status` and `wait`.
    Status(StatusReport),
    /// To `exec` and `attach`.
    Exec(ExecResult),
    /// To `why`.
    Why(Box<WhyReport>),
    /// To `graph`.
    Graph(Graph),
    /// To `env`.
    Env(EnvReport),
    /// To `select`.
    Selected(Selected),
    /// To `projects`.
    Projects(Vec<ProjectSummary>),
    /// To `project_forget`.
    ProjectForgotten(ProjectForgotten),
    /// To `service_show`.
    Service(Box<ServiceDetail>),
    /// To `daemon_status`.
    DaemonStatus(DaemonStatus),
    /// To `daemon_stop` that stopped services.
    DaemonStop(DaemonStopReport),
    /// To `actions`.
    Actions(Vec<ActionInfo>),
    /// To `action`.
    Action(serde_json::Value),
    /// Done, nothing to tell.
    Done {},
}

/// What was, or would be, done to a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It was not running and is started.
    Started,
    /// It runs already (or has completed), with the same spec.
    Unchanged,
    /// It ran with another spec and is stopped and started; what changed.
    Replaced(Vec<ForeignText>),
    /// It is stopped and started because that was asked for.
    Restarted,
    /// It is stopped.
    Stopped,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanStep {
    /// The service.
    pub service: ServiceName,
    /// What is done to it.
    pub change: Change,
    /// What it waits for.
    pub after: Vec<ServiceName>,
}

/// How a start ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StartReport {
    /// The project.
    pub project: ProjectName,
    /// The services it was about.
    pub services: Vec<ServiceOutcome>,
    /// Roots of failure, not those merely blocked by them.
    pub failures: Vec<Failure>,
    /// The chain of services that took the longest, first to last.
    pub critical_path: Vec<PathStep>,
    /// Services up that the file no longer has.
    pub not_in_file: Vec<ServiceName>,
    /// Milliseconds it took.
    pub elapsed_ms: u64,
}

/// How one service of a start ended up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceOutcome {
    /// The same as in `status`.
    #[serde(flatten)]
    pub view: ServiceView,
    /// What was done.
    pub change: Change,
    /// Whether it is ready.
    pub ready: bool,
    /// Milliseconds from its launch until ready; `None` if it did not get there or ran already.
    pub ready_after_ms: Option<u64>,
}

/// A service that took this long on the critical path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PathStep {
    /// The service.
    pub service: ServiceName,
    /// Milliseconds from its launch until ready.
    pub elapsed_ms: u64,
}

/// A service that failed and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// The root service.
    pub service: ServiceName,
    /// `exited 3 after 0.2s (attempt 3 of 3)`.
    pub reason: ForeignText,
    /// How its process ended, if it did.
    pub exit: Option<ExitStatus>,
    /// `http localhost:8080/health: connection refused`.
    pub last_probe: Option<ForeignText>,
    /// The last 20 lines of the start that failed, oldest first; of a very long one its beginning and its end.
    pub last_lines: Vec<ForeignText>,
    /// Whether it is known that this start wrote nothing.
    #[serde(default)]
    pub wrote_nothing: bool,
    /// Services that wait for it in vain.
    pub blocked: Vec<ServiceName>,
    /// Services of the project that are up.
    pub still_up: Vec<ServiceName>,
}

/// How a stop ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StopReport {
    /// The project.
    pub project: ProjectName,
    /// Services stopped by it.
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
    /// The services that were asked for, by name.
    pub services: Vec<ServiceView>,
    /// The names of the project that stand for several of its services, whatever was asked for.
    #[serde(default)]
    pub groups: BTreeMap<ServiceName, BTreeSet<ServiceName>>,
}

/// How an exec or attach ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecResult {
    /// How the process ended; `None` when an attach ended by detaching.
    pub exit: Option<ExitStatus>,
}

/// Why a service is as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WhyReport {
    /// The service.
    pub service: ServiceDetail,
    /// One sentence: `api is failed because it exited 3 after 0.2s`.
    pub summary: ForeignText,
    /// The chain of causes from the service to the root, one line each.
    pub chain: Vec<ForeignText>,
    /// The root failure, if there is one.
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
    /// Who needs whom.
    pub edges: Vec<GraphEdge>,
}

/// A service in the graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GraphNode {
    /// The same as in `status`.
    #[serde(flatten)]
    pub view: ServiceView,
    /// The longest chain of dependencies below it.
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
    /// Whether it holds now.
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
    /// How it is as a whole. An older daemon does not tell.
    #[serde(default)]
    pub state: ProjectState,
}

/// How a project is as a whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProjectState {
    /// Everything that is wanted is up.
    Up,
    /// Something that is wanted is not up, or not yet.
    Partly,
    /// Nothing runs, and nothing is going to.
    Stopped,
    /// Not told.
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
    /// When its server certificate ends.
    pub certificate_expires_at: WallTime,
    /// Damaged stores that were set aside and are there still. An older daemon does not tell.
    #[serde(default)]
    pub damaged_stores: Vec<PathBuf>,
    /// Its projects.
    pub projects: Vec<ProjectSummary>,
}

/// What a daemon stopped before its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DaemonStopReport {
    /// The projects of which something was stopped.
    pub stopped: Vec<StoppedServices>,
}

/// Services of a project that were stopped.
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

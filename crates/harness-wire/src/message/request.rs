//! The requests of a client: one variant per verb, with the name that the CLI uses.

use std::collections::BTreeMap;
use std::path::PathBuf;

use harness_model::{ProjectSpec, SecretString, ServiceName, Umask, WallTime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::select::{ProjectForgetRequest, ProjectSelector, SelectRequest};

/// A verb and its arguments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Start services. Events: progress. Response: `start`.
    Start(Box<StartRequest>),
    /// Stop and start services again (with the file's current spec). Events: progress. Response: `start`.
    Restart(Box<StartRequest>),
    /// Start services and keep them up until the caller closes stdin, cancels, or is gone. Then the services that
    /// this began are stopped, even if the caller no longer listens. Events: progress, then `started`. Response:
    /// `stop`.
    Run(Box<StartRequest>),
    /// Stop services. Events: progress. Response: `stop`.
    Stop(StopRequest),
    /// The state of a project's services. Response: `status`.
    Status(StatusRequest),
    /// Output of services, as binary log frames. Response: `done`.
    Logs(LogsRequest),
    /// Wait until services are in a state. Events: progress. Response: `status`.
    Wait(WaitRequest),
    /// Run a command where a service runs. Binary frames in both directions. Response: `exec`.
    Exec(ExecRequest),
    /// The streams of a running service. Binary frames in both directions. Response: `exec`.
    Attach(AttachRequest),
    /// Why a service is in its state. Response: `why`.
    Why(WhyRequest),
    /// The dependency graph. Response: `graph`.
    Graph(GraphRequest),
    /// Past change events, and with `follow` also new ones. Events: `change`. Response: `done`.
    Events(EventsRequest),
    /// The addresses of a project as environment variables. Response: `env`.
    Env(EnvRequest),
    /// Find the project for a request. Response: `selected`.
    Select(SelectRequest),
    /// The projects this daemon knows. Response: `projects`.
    Projects {},
    /// Forget a stopped project, with its logs. Response: `project_forgotten`; `done` if the project is not known.
    ProjectForget(ProjectForgetRequest),
    /// Everything about one service. Response: `service`.
    ServiceShow(ServiceShowRequest),
    /// About the daemon itself. Response: `daemon_status`.
    DaemonStatus {},
    /// End the daemon. Services keep running unless the request says otherwise. Response: `daemon_stop` if services
    /// were to be stopped, else `done`; then the connection closes.
    DaemonStop(DaemonStopRequest),
    /// The actions this daemon offers. Response: `actions`.
    Actions {},
    /// Call an action. Events: `action`. Response: `action`.
    Action(ActionCall),
}

/// Arguments of `start` and `restart`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StartRequest {
    /// The whole project, as the file describes it now.
    pub project: ProjectSpec,
    /// The services; empty: all.
    pub services: Vec<ServiceName>,
    /// Do not start the services that they depend on.
    pub no_deps: bool,
    /// Stop services that the file no longer has.
    pub prune: bool,
    /// Only report what would happen.
    pub dry_run: bool,
    /// If this start fails, stop the services that it began.
    pub rollback_on_failure: bool,
    /// Answer once the plan is accepted and recorded, instead of when everything is ready.
    pub detach: bool,
    /// Whether the name was given with `-p`. Then the project may be taken over from another file.
    pub project_named: bool,
    /// The caller's environment: the variables that every program needs, and those that services inherit.
    pub environment: BTreeMap<String, SecretString>,
    /// The caller's umask, for services that have none of their own.
    #[serde(default)]
    pub umask: Option<Umask>,
}

/// Arguments of `stop`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StopRequest {
    /// The project.
    pub project: ProjectSelector,
    /// The services; empty with `all`.
    pub services: Vec<ServiceName>,
    /// The whole project.
    pub all: bool,
    /// Also remove its named volumes; only with `all`.
    #[serde(default)]
    pub volumes: bool,
}

/// Arguments of `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusRequest {
    /// The project.
    pub project: ProjectSelector,
    /// The services; empty: all.
    pub services: Vec<ServiceName>,
}

/// Arguments of `logs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogsRequest {
    /// The project.
    pub project: ProjectSelector,
    /// The services; empty: all.
    pub services: Vec<ServiceName>,
    /// Keep sending what is new.
    pub follow: bool,
    /// Only this many of the last lines (after the other filters).
    pub tail: Option<u64>,
    /// Only lines at or after this.
    pub since: Option<WallTime>,
    /// Only lines before this.
    pub until: Option<WallTime>,
    /// Only lines matching this regular expression.
    pub grep: Option<String>,
}

/// What `wait` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitFor {
    /// Up: healthy if it has a probe, completed if it is a one-shot, else running.
    Ready,
    /// Ended with exit status 0.
    Completed,
    /// Not running, for whatever reason.
    Stopped,
}

/// Arguments of `wait`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaitRequest {
    /// The project.
    pub project: ProjectSelector,
    /// The services; empty: all.
    pub services: Vec<ServiceName>,
    /// The state to wait for.
    pub until: WaitFor,
}

/// Columns and rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TerminalSize {
    /// Columns.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
}

/// Arguments of `exec`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecRequest {
    /// The project.
    pub project: ProjectSelector,
    /// The service where the command runs.
    pub service: ServiceName,
    /// Program and arguments.
    pub command: Vec<String>,
    /// The size of a terminal to use instead of pipes.
    pub terminal: Option<TerminalSize>,
    /// Whether stdin will be sent; otherwise the command reads the end of file.
    pub stdin: bool,
    /// Variables in addition to the service's environment.
    pub env: BTreeMap<String, SecretString>,
    /// The user, if not the service's.
    pub user: Option<String>,
    /// The folder, if not the service's.
    pub working_dir: Option<String>,
}

/// Arguments of `attach`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttachRequest {
    /// The project.
    pub project: ProjectSelector,
    /// The service.
    pub service: ServiceName,
    /// The caller's terminal size, if it has one.
    pub terminal: Option<TerminalSize>,
    /// Whether stdin will be sent.
    pub stdin: bool,
}

/// Arguments of `why`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WhyRequest {
    /// The project.
    pub project: ProjectSelector,
    /// The service.
    pub service: ServiceName,
}

/// Arguments of `graph`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GraphRequest {
    /// The project.
    pub project: ProjectSelector,
}

/// Arguments of `events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventsRequest {
    /// The project; `None`: all of the daemon's.
    pub project: Option<ProjectSelector>,
    /// The services; empty: all.
    pub services: Vec<ServiceName>,
    /// Keep sending what is new.
    pub follow: bool,
    /// Only events at or after this; the daemon keeps a bounded number of past ones.
    pub since: Option<WallTime>,
}

/// Arguments of `env`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnvRequest {
    /// The project.
    pub project: ProjectSelector,
}

/// Arguments of `service show`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceShowRequest {
    /// The project.
    pub project: ProjectSelector,
    /// The service.
    pub service: ServiceName,
}

/// Arguments of `daemon stop`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DaemonStopRequest {
    /// Stop every service of every project first.
    pub services: bool,
    /// Start this daemon once the current one has released the home. An older daemon leaves that to the client.
    #[serde(default)]
    pub successor: Option<Successor>,
}

/// The daemon that takes over from the current one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Successor {
    /// The absolute path of its program. The `harness-shim` that starts it must be in the same folder.
    pub program: PathBuf,
    /// The port it listens on.
    pub port: u16,
    /// Its environment; `None`: that of the current daemon.
    pub environment: Option<BTreeMap<String, String>>,
}

/// A call of a registered action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ActionCall {
    /// Its name, as `actions` lists it.
    pub name: String,
    /// Its input, which must be valid by the action's JSON Schema.
    pub input: serde_json::Value,
}

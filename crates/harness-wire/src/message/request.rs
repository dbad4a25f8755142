//! What a client can ask: one variant a verb, named as the CLI names it.

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
    /// Bring services up. Events: progress. Response: `start`.
    Start(Box<StartRequest>),
    /// Stop and start services again (with the file's present spec). Events: progress. Response: `start`.
    Restart(Box<StartRequest>),
    /// Bring services up for as long as the caller wants them: until it closes stdin, cancels, or is gone. Then what was
    /// begun is stopped, whether or not anybody hears of it. Events: progress, then `started`. Response: `stop`.
    Run(Box<StartRequest>),
    /// Take services down. Events: progress. Response: `stop`.
    Stop(StopRequest),
    /// How the services of a project are. Response: `status`.
    Status(StatusRequest),
    /// Output of services, as binary log frames. Response: `done`.
    Logs(LogsRequest),
    /// Wait until services are in a state. Events: progress. Response: `status`.
    Wait(WaitRequest),
    /// Run a command in a service's place. Binary frames both ways. Response: `exec`.
    Exec(ExecRequest),
    /// The streams of a running service. Binary frames both ways. Response: `exec`.
    Attach(AttachRequest),
    /// Why a service is as it is. Response: `why`.
    Why(WhyRequest),
    /// The dependency graph. Response: `graph`.
    Graph(GraphRequest),
    /// Change events, past and (with `follow`) to come. Events: `change`. Response: `done`.
    Events(EventsRequest),
    /// The addresses of a project as environment variables. Response: `env`.
    Env(EnvRequest),
    /// Which project is meant. Response: `selected`.
    Select(SelectRequest),
    /// The projects this daemon knows. Response: `projects`.
    Projects {},
    /// Forget a project of which nothing runs, with its logs. Response: `project_forgotten`; `done` if it is not known.
    ProjectForget(ProjectForgetRequest),
    /// Everything about one service. Response: `service`.
    ServiceShow(ServiceShowRequest),
    /// About the daemon itself. Response: `daemon_status`.
    DaemonStatus {},
    /// End the daemon; services run on unless asked otherwise. Response: `daemon_stop` if services were to be stopped,
    /// else `done`; then the connection closes.
    DaemonStop(DaemonStopRequest),
    /// The actions this daemon offers. Response: `actions`.
    Actions {},
    /// Call an action. Events: `action`. Response: `action`.
    Action(ActionCall),
}

/// Arguments of `start` and `restart`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StartRequest {
    /// The whole project as the file has it now.
    pub project: ProjectSpec,
    /// Which services; empty: all.
    pub services: Vec<ServiceName>,
    /// Do not bring up what they depend on.
    pub no_deps: bool,
    /// Stop services that the file no longer has.
    pub prune: bool,
    /// Only say what would happen.
    pub dry_run: bool,
    /// Stop what this start began, if it fails.
    pub rollback_on_failure: bool,
    /// Answer once the plan is accepted and recorded, rather than when all is ready.
    pub detach: bool,
    /// The name was given with `-p`: it may be taken over from another file.
    pub project_named: bool,
    /// The caller's environment: what every program needs, and what services inherit by their own word.
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
    /// Which services; empty with `all`.
    pub services: Vec<ServiceName>,
    /// The whole project.
    pub all: bool,
    /// Remove its named volumes, too; only with `all`.
    #[serde(default)]
    pub volumes: bool,
}

/// Arguments of `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusRequest {
    /// The project.
    pub project: ProjectSelector,
    /// Which services; empty: all.
    pub services: Vec<ServiceName>,
}

/// Arguments of `logs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogsRequest {
    /// The project.
    pub project: ProjectSelector,
    /// Which services; empty: all.
    pub services: Vec<ServiceName>,
    /// Go on with what comes.
    pub follow: bool,
    /// Only the last so many lines (after the other filters).
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
    /// Up: healthy if it has a probe, completed if a one-shot, else running.
    Ready,
    /// Ended with exit status 0.
    Completed,
    /// Not running, however that came.
    Stopped,
}

/// Arguments of `wait`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaitRequest {
    /// The project.
    pub project: ProjectSelector,
    /// Which services; empty: all.
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
    /// In whose place.
    pub service: ServiceName,
    /// Program and arguments.
    pub command: Vec<String>,
    /// A terminal of this size instead of pipes.
    pub terminal: Option<TerminalSize>,
    /// Whether stdin will come; otherwise it reads end of file.
    pub stdin: bool,
    /// Environment on top of the service's.
    pub env: BTreeMap<String, SecretString>,
    /// Another user than the service's.
    pub user: Option<String>,
    /// Another folder than the service's.
    pub working_dir: Option<String>,
}

/// Arguments of `attach`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttachRequest {
    /// The project.
    pub project: ProjectSelector,
    /// To which service.
    pub service: ServiceName,
    /// The caller's terminal size, if it has one.
    pub terminal: Option<TerminalSize>,
    /// Whether stdin will come.
    pub stdin: bool,
}

/// Arguments of `why`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WhyRequest {
    /// The project.
    pub project: ProjectSelector,
    /// The service asked about.
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
    /// Which services; empty: all.
    pub services: Vec<ServiceName>,
    /// Go on with what comes.
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
    /// Start this daemon once this one has let go of the home. An older daemon leaves that to the client.
    #[serde(default)]
    pub successor: Option<Successor>,
}

/// The daemon that takes over from the one that is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Successor {
    /// Its program, absolute, with the `harness-shim` that it is started through beside it.
    pub program: PathBuf,
    /// The port it listens on.
    pub port: u16,
    /// Its environment; `None`: that of the daemon which is asked.
    pub environment: Option<BTreeMap<String, String>>,
}

/// A call of a registered action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ActionCall {
    /// Its name, as `actions` lists it.
    pub name: String,
    /// Its input, valid by the action's JSON Schema.
    pub input: serde_json::Value,
}

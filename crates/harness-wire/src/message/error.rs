//! Refusals, with what a client needs to choose its message and exit code.

use harness_model::spec::{Origin, Protocol};
use harness_model::{ForeignText, ProjectName, ServiceName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a request was refused or failed as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{message}")]
pub struct ErrorBody {
    /// The kind of error, for programs.
    pub code: ErrorCode,
    /// One sentence for people. It never contains a secret.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Kinds of refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request is malformed or contradicts itself, or the spec cannot be run.
    Invalid,
    /// There is no common protocol version.
    Version,
    /// There is no such project. Holds the known projects.
    NoSuchProject(Vec<ProjectName>),
    /// Several projects may be meant. Holds those projects.
    ProjectUnclear(Vec<ProjectName>),
    /// The project of the file runs under these names, but the file now has another one.
    ProjectRenamed(Vec<ProjectName>),
    /// Services of the project still run, but must be stopped for this request.
    StillRunning,
    /// The project has no such service.
    NoSuchService {
        /// The name given.
        name: String,
        /// The most similar service.
        suggestion: Option<ServiceName>,
    },
    /// The service is not running, but must be for this request.
    NotRunning,
    /// The project name belongs to another file.
    NameTaken,
    /// Other processes hold ports of the plan; nothing was started.
    PortsTaken(Vec<PortConflict>),
    /// The daemon's home has no space for the start, or cannot be written; nothing was changed.
    NoRoom,
    /// The program of a command does not exist in the service's place.
    CommandNotFound,
    /// The program of a command is there and cannot be run.
    CommandNotRunnable,
    /// The spec uses something that cannot be run yet.
    Unsupported,
    /// The request was cancelled, or superseded by another (a stop during a start).
    Cancelled,
    /// The daemon is shutting down.
    ShuttingDown,
    /// Something went wrong in the daemon or in the system below it.
    Internal,
    /// A place did not answer in time.
    NotReached,
}

/// A port of the plan that another process holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PortConflict {
    /// The service that wants it.
    pub service: ServiceName,
    /// The port.
    pub port: u16,
    /// Its transport.
    pub protocol: Protocol,
    /// The process that holds it: `postgres (pid 812, user postgres, not harness)`.
    pub holder: ForeignText,
    /// The place in the file that asks for it.
    pub origin: Option<Origin>,
}

//! Refusals, with what a client needs to choose its words and its exit code.

use harness_model::spec::{Origin, Protocol};
use harness_model::{ForeignText, ProjectName, ServiceName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a request was refused or failed as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{message}")]
pub struct ErrorBody {
    /// The kind, for programs.
    pub code: ErrorCode,
    /// One sentence for people; never a secret in it.
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
    /// No protocol version in common.
    Version,
    /// No project is meant, or the one named is not known; the known ones.
    NoSuchProject(Vec<ProjectName>),
    /// Which project is meant cannot be told; those that may be.
    ProjectUnclear(Vec<ProjectName>),
    /// The project of the file runs under these names, and the file has another one now.
    ProjectRenamed(Vec<ProjectName>),
    /// Something of the project still runs, and must not for this.
    StillRunning,
    /// A service is not in the project; the nearest name.
    NoSuchService {
        /// The name given.
        name: String,
        /// The most similar service.
        suggestion: Option<ServiceName>,
    },
    /// The service does not run, and must for this.
    NotRunning,
    /// The project name belongs to another file.
    NameTaken,
    /// Ports of the plan are held by others; nothing was started.
    PortsTaken(Vec<PortConflict>),
    /// The daemon's home has no room for what would be started, or cannot be written; nothing was changed.
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
    /// Something went wrong inside or under the daemon.
    Internal,
}

/// A port of the plan that somebody else holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PortConflict {
    /// The service that wants it.
    pub service: ServiceName,
    /// The port.
    pub port: u16,
    /// Its transport.
    pub protocol: Protocol,
    /// Who holds it: `postgres (pid 812, user postgres, not harness)`.
    pub holder: ForeignText,
    /// Where the file asks for it.
    pub origin: Option<Origin>,
}

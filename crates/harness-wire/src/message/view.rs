//! Services as clients see them.

use std::collections::BTreeMap;

use harness_model::spec::Protocol;
use harness_model::{ForeignText, Health, PortName, ServiceName, ServiceState, WallTime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One service in `status --json`. Every key is always there, with null if it has no value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceView {
    /// Its name.
    pub name: ServiceName,
    /// `process`, `docker`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// Its state.
    pub status: ServiceState,
    /// The result of its probe.
    pub health: Health,
    /// The network it is on.
    pub network: String,
    /// The host it runs on.
    pub host: ForeignText,
    /// Its ports.
    pub ports: Vec<PortView>,
    /// Its main process, never the shim.
    pub pid: Option<u32>,
    /// Seconds since its process started.
    pub uptime_s: Option<u64>,
    /// How often the restart policy has restarted it since it was last asked to start.
    pub restarts: u32,
    /// Seconds until the next restart.
    pub retry_in_s: Option<f64>,
    /// How its last process exited.
    pub exit_code: Option<i32>,
    /// The signal that ended its last process.
    pub signal: Option<i32>,
    /// What is wrong, in one line.
    pub error: Option<ForeignText>,
    /// Whether the file of the last start has it.
    pub in_file: bool,
}

/// One port of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PortView {
    /// Its name in the file, if it has one.
    pub name: Option<PortName>,
    /// The address on this machine.
    pub host_ip: String,
    /// The port on this machine.
    pub port: u16,
    /// The port inside the container.
    pub target: Option<u16>,
    /// The transport.
    pub protocol: Protocol,
}

impl ServiceView {
    /// Whether it is ready for those who wait for it: it has completed, or runs and is healthy or has no health
    /// check.
    pub fn is_ready(&self) -> bool {
        match self.status {
            ServiceState::Completed => true,
            ServiceState::Running => matches!(self.health, Health::None | Health::Healthy),
            _ => false,
        }
    }
}

/// Everything about one service, with secrets redacted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceDetail {
    /// The same as in `status`.
    #[serde(flatten)]
    pub view: ServiceView,
    /// The number of its current or last start, counted from 1 since the service is known.
    pub generation: u64,
    /// When its process started.
    pub started_at: Option<WallTime>,
    /// Program and arguments, or image and command; empty if its type has nothing of that sort.
    pub command: ForeignText,
    /// The folder it runs in.
    pub working_dir: Option<ForeignText>,
    /// What else its type says about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<Labelled>,
    /// Its environment from the file, redacted.
    pub env: BTreeMap<String, ForeignText>,
    /// The services that it needs: `db (healthy)`.
    pub dependencies: Vec<ForeignText>,
    /// The services that need it.
    pub dependents: Vec<ServiceName>,
    /// Its health check in words.
    pub health_check: Option<ForeignText>,
    /// The answer of the last probe.
    pub last_probe: Option<ForeignText>,
    /// The folder of its logs and records.
    pub run_dir: Option<ForeignText>,
}

/// A value with a label, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Labelled {
    /// A word or two.
    pub label: ForeignText,
    /// What is labelled.
    pub value: ForeignText,
}

impl From<(String, String)> for Labelled {
    fn from((label, value): (String, String)) -> Self {
        Self {
            label: label.into(),
            value: value.into(),
        }
    }
}

//! How clients see a service.

use std::collections::BTreeMap;

use harness_model::spec::Protocol;
use harness_model::{ForeignText, Health, PortName, ServiceName, ServiceState, WallTime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One service in `status --json`: every key always there, null if none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceView {
    /// Its name.
    pub name: ServiceName,
    /// `process`, `docker`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is doing.
    pub status: ServiceState,
    /// What its probe says.
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
    /// Restarts by policy since it was last asked to start.
    pub restarts: u32,
    /// Seconds until the next restart.
    pub retry_in_s: Option<f64>,
    /// How its last process exited.
    pub exit_code: Option<i32>,
    /// The signal that ended its last process.
    pub signal: Option<i32>,
    /// What is wrong, in one line.
    pub error: Option<ForeignText>,
    /// Whether the file last started from has it.
    pub in_file: bool,
}

/// One port of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PortView {
    /// Its name in the file.
    pub name: Option<PortName>,
    /// The address on this machine.
    pub host_ip: String,
    /// The port on this machine.
    pub port: u16,
    /// The port inside, for a container.
    pub target: Option<u16>,
    /// The transport.
    pub protocol: Protocol,
}

impl ServiceView {
    /// Whether it is where those who wait for it to be ready want it: it has completed, or runs, and well as far as that
    /// is checked.
    pub fn is_ready(&self) -> bool {
        match self.status {
            ServiceState::Completed => true,
            ServiceState::Running => matches!(self.health, Health::None | Health::Healthy),
            _ => false,
        }
    }
}

/// Everything about one service; secrets redacted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceDetail {
    /// The same as in `status`.
    #[serde(flatten)]
    pub view: ServiceView,
    /// Which start of it this is, counting from 1 over its whole life.
    pub generation: u64,
    /// When its process started.
    pub started_at: Option<WallTime>,
    /// Program and arguments, or image and command.
    pub command: ForeignText,
    /// The folder it runs in.
    pub working_dir: Option<ForeignText>,
    /// Its environment by its file, redacted.
    pub env: BTreeMap<String, ForeignText>,
    /// What it needs: `db (healthy)`.
    pub dependencies: Vec<ForeignText>,
    /// What needs it.
    pub dependents: Vec<ServiceName>,
    /// What its health check tries.
    pub health_check: Option<ForeignText>,
    /// What the last probe answered.
    pub last_probe: Option<ForeignText>,
    /// The folder of its logs and records.
    pub run_dir: Option<ForeignText>,
}

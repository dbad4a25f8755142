//! Projects and services: the meaning of a services.yaml, validated and with defaults.
//!
//! Every string that may contain `${service.ip}` is a [`Template`]. Relative paths are already absolute, `~` is
//! expanded, and `${VAR}` is replaced.

mod container;
mod hooks;
mod http;
mod inherit;
mod kind;
mod new;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names::{NetworkName, PortName, ProjectName, ServiceName};
use crate::subnet::Subnet;
use crate::template::Template;
use crate::umask::Umask;

pub use container::{BuildSpec, DockerSpec, EngineOptions, NetworkAttachment, Ulimit, VolumeName};
pub use hooks::{HookCommand, Hooks};
pub use http::{HttpCheck, InvalidStatus, StatusRange};
pub use inherit::InheritEnv;
pub use kind::{Kind, Place};
pub use settings::{Setting, Settings, SettingsError};

/// A whole project, as one file (or several merged ones) describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProjectSpec {
    /// Its name, unique in a daemon.
    pub name: ProjectName,
    /// A description for people.
    pub description: Option<String>,
    /// The file it was read from (the first `-c`), absolute. It identifies the project together with its name.
    pub source: PathBuf,
    /// Every file that was read for it or looked for, except the templates of its services: those of `-c`, compose
    /// files, env files.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub read_from: BTreeSet<PathBuf>,
    /// The folder that relative paths started from.
    pub base_dir: PathBuf,
    /// Names of the variables that the file lists as secret.
    pub secrets: BTreeSet<String>,
    /// The networks, including the implied `local`.
    pub networks: BTreeMap<NetworkName, NetworkSpec>,
    /// The services of the chosen profiles.
    pub services: BTreeMap<ServiceName, ServiceSpec>,
    /// Names of groups, which stand for several services wherever several may be named. A group never has the name of
    /// a service. Groups without a service of the chosen profiles are included.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<ServiceName, BTreeSet<ServiceName>>,
    /// The services of its files that belong to none of the chosen profiles, with their profiles.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unchosen: BTreeMap<ServiceName, BTreeSet<String>>,
    /// The files it was read from, `source` first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<ProjectFile>,
    /// Where its name comes from.
    #[serde(default)]
    pub named_by: NamedBy,
}

/// One of the files that a project was read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProjectFile {
    /// Where it is, absolute.
    pub path: PathBuf,
    /// The services that it describes, of any profile.
    pub services: BTreeSet<ServiceName>,
}

/// Where the name of a project comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NamedBy {
    /// From `name:` in its file.
    #[default]
    File,
    /// From the folder of its file, because the file gives no name.
    Folder,
    /// From `-p` when it was started.
    Caller,
}

impl ProjectSpec {
    /// The files that it consists of: those that were read for it, and the templates of its services.
    pub fn own_files(&self) -> Vec<PathBuf> {
        let mut files = self.read_from.clone();
        files.insert(self.source.clone());
        let of_services = self.services.values().flat_map(|service| &service.files);
        files.extend(of_services.map(|file| file.template.clone()));
        files.into_iter().collect()
    }
}

/// A network: a set of places that services run in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NetworkSpec {
    /// What connects its places.
    pub kind: NetworkKind,
    /// Its addresses. A loopback subnet is a pool for process addresses.
    pub subnet: Option<Subnet>,
    /// The WireGuard configuration, for `wireguard`.
    pub config_path: Option<PathBuf>,
    /// The hosts reachable on it.
    pub nodes: Vec<NodeSpec>,
}

/// What connects the places of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NetworkKind {
    /// This machine.
    Local,
    /// Hosts reached over SSH on a local network.
    Lan,
    /// Hosts reached over SSH through a WireGuard tunnel that exists already.
    Wireguard,
}

/// A host of a network, reached over SSH.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeSpec {
    /// Its address or DNS name.
    pub host: String,
    /// A short name for it.
    pub name: Option<String>,
    /// The SSH user.
    pub ssh_user: Option<String>,
    /// The SSH private key file.
    pub ssh_key: Option<PathBuf>,
    /// The SSH port, 22 if not given.
    pub ssh_port: Option<u16>,
    /// Whether packages may be deployed to it.
    pub package_deploy: bool,
}

/// One service. How it is stored is in `kind`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self")]
pub struct ServiceSpec {
    /// What it is, with the keys of that kind.
    pub kind: Kind,
    /// The network it runs on.
    pub network: NetworkName,
    /// Where it runs.
    #[serde(rename = "host")]
    pub place: Place,
    /// Its environment.
    pub env: BTreeMap<String, Template>,
    /// What it gets from the environment of the user who started it.
    pub inherit_env: InheritEnv,
    /// Its umask; `None`: that of whoever started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub umask: Option<Umask>,
    /// Files to write from templates before it starts.
    pub files: Vec<FileSpec>,
    /// Its ports.
    pub ports: Vec<PortSpec>,
    /// What must hold before it starts. Services that templates refer to are included, with the default condition.
    pub dependencies: Vec<Dependency>,
    /// How to find out whether it is healthy.
    pub health_check: Option<HealthCheck>,
    /// The time from its first launch until it must be ready.
    #[serde(with = "millis")]
    #[schemars(with = "u64")]
    pub startup_timeout: Duration,
    /// The time from the stop signal until SIGKILL.
    #[serde(with = "millis")]
    #[schemars(with = "u64")]
    pub shutdown_timeout: Duration,
    /// The signal that asks it to end; `None`: the one that its image sets, else SIGTERM.
    pub stop_signal: Option<Signal>,
    /// Who gets the stop signal.
    pub stop_mode: StopMode,
    /// Whether its stdin is kept open for `attach`; otherwise it reads the end of file.
    pub stdin: bool,
    /// Whether it gets a terminal instead of pipes.
    pub tty: bool,
    /// When to start it again after it ended.
    pub restart: RestartPolicy,
    /// Whether it is done when it exits 0, instead of being meant to keep running.
    pub oneshot: bool,
    /// The profiles it belongs to; empty: all.
    pub profiles: BTreeSet<String>,
    /// How much of its output to keep.
    pub logs: LogLimits,
    /// Commands to run before and after it starts and stops.
    pub hooks: Hooks,
}

/// A program to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessSpec {
    /// The program: a path if it contains a slash, else looked up in the service's PATH.
    pub binary: Template,
    /// Its arguments.
    pub args: Vec<Template>,
    /// The folder it runs in; `None`: the node's home (a local process always has one).
    pub working_dir: Option<Template>,
    /// The user it runs as; `None`: the user who runs the daemon.
    pub user: Option<String>,
    /// Its resource limits.
    pub limits: Limits,
}

/// Resource limits, `setrlimit(2)`; `None` keeps the daemon's limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// Open files (RLIMIT_NOFILE).
    pub open_files: Option<u64>,
    /// Processes of the user (RLIMIT_NPROC).
    pub processes: Option<u64>,
    /// Address space in bytes (RLIMIT_AS).
    pub memory: Option<u64>,
    /// Size of a core dump in bytes (RLIMIT_CORE).
    pub core: Option<u64>,
    /// Size of a file it may write, in bytes (RLIMIT_FSIZE).
    pub file_size: Option<u64>,
    /// CPU time in seconds (RLIMIT_CPU).
    pub cpu_seconds: Option<u64>,
}

/// A package deployed to a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PackageSpec {
    /// The archive, on this machine.
    pub package: Template,
    /// Its version.
    pub version: Option<Template>,
    /// Where it is unpacked on the node.
    pub install_path: Option<Template>,
    /// The program in it, if it is not the one that its manifest names.
    pub binary: Option<Template>,
    /// Arguments of the program.
    pub args: Vec<Template>,
    /// Commands that must exist on the node.
    pub requires: Vec<String>,
}

/// A file that is written from a template before its service starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileSpec {
    /// The template, on the machine of the CLI.
    pub template: PathBuf,
    /// The path of the file to write, where the service runs.
    pub target: Template,
    /// The content of the template. It is read when the project is started, not when it is validated.
    pub content: Option<Template>,
}

/// A port of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PortSpec {
    /// Its name, for `${service.port.NAME}`.
    pub name: Option<PortName>,
    /// The address it is published on; `None`: 127.0.0.1.
    pub host_ip: Option<String>,
    /// The port on the host; 0 selects a free one.
    pub port: u16,
    /// The port inside the container, if it differs from `port`.
    pub target: Option<u16>,
    /// The transport.
    pub protocol: Protocol,
    /// Where it is written, for messages about a port that is in use.
    pub origin: Option<Origin>,
}

/// A transport protocol.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// The word as written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Origin {
    /// The file, as the user wrote it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// The line itself, trimmed.
    pub text: String,
}

/// A service that another one needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Dependency {
    /// The service that is needed.
    pub service: ServiceName,
    /// The condition that it must meet.
    pub condition: Condition,
    /// Whether this service restarts when the other one does.
    pub restart: bool,
    /// Whether this service cannot start without it. If not, a dependency that failed or is absent is ignored.
    pub required: bool,
}

/// The condition that a dependency must meet before the dependent starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Its process has been started.
    Started,
    /// Its probe succeeds if it has one, else its process has been started. This is the default if only the image
    /// knows whether there is a health check.
    Ready,
    /// Its probe succeeds.
    Healthy,
    /// It has exited with 0.
    Completed,
    /// A line of its output since its start matches this regular expression.
    Log(String),
    /// Nothing: only its address is used.
    None,
}

impl Condition {
    /// The condition in words, as in "waiting for db to be healthy".
    pub fn describe(&self) -> String {
        match self {
            Self::Started => "be started".into(),
            Self::Ready => "be ready".into(),
            Self::Healthy => "be healthy".into(),
            Self::Completed => "complete".into(),
            Self::Log(pattern) => format!("log /{pattern}/"),
            Self::None => "exist".into(),
        }
    }
}

/// How to find out whether a service is healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HealthCheck {
    /// The probe to run.
    pub probe: Probe,
    /// What an http probe asks for, and which answers are good.
    #[serde(default, skip_serializing_if = "HttpCheck::is_plain")]
    pub http: HttpCheck,
    /// The time between two probes once it is up.
    #[serde(with = "millis")]
    #[schemars(with = "u64")]
    pub interval: Duration,
    /// How long one probe may take.
    #[serde(with = "millis")]
    #[schemars(with = "u64")]
    pub timeout: Duration,
    /// How many failures in a row make it unhealthy.
    pub retries: u32,
    /// A time after the start in which failures do not count. Kept for files that have it; during the start no
    /// failure counts anyway.
    #[serde(with = "millis")]
    #[schemars(with = "u64")]
    pub start_period: Duration,
}

impl HealthCheck {
    /// How long the check may take, by its own figures, until it shows that a start failed.
    pub fn needs(&self) -> Duration {
        self.interval
            .saturating_add(self.timeout)
            .saturating_mul(self.retries)
            .saturating_add(self.start_period)
    }
}

/// What a health check tries, from where the service runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// A GET request to this URL must answer 2xx or 3xx.
    Http(Template),
    /// `host:port` must accept a connection.
    Tcp(Template),
    /// A command, program and arguments, must exit with 0.
    Command(Vec<Template>),
    /// A line of the output since the start must match this regular expression.
    Log(String),
    /// A probe that a program added.
    Other {
        /// Its key.
        name: String,
        /// What stands at the key.
        setting: Setting,
    },
}

impl Probe {
    /// A short description without secrets: `http localhost:8080/health`.
    pub fn describe(&self) -> String {
        match self {
            Self::Http(url) => {
                let url = url.to_string();
                match url.split_once("://") {
                    Some((scheme @ ("http" | "https"), rest)) => format!("{scheme} {rest}"),
                    _ => format!("http {url}"),
                }
            }
            Self::Tcp(address) => format!("tcp {address}"),
            Self::Command(words) => {
                let words: Vec<String> = words.iter().map(Template::to_string).collect();
                format!("command {}", words.join(" "))
            }
            Self::Log(pattern) => format!("log /{pattern}/"),
            Self::Other { name, setting } => format!("{name} {setting}"),
        }
    }
}

/// A signal by its number, `signal(7)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Signal(pub i32);

impl Default for Signal {
    /// SIGTERM.
    fn default() -> Self {
        Self(15)
    }
}

/// Who gets the stop signal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopMode {
    /// The main process first; the rest of the tree once the main process has exited.
    #[default]
    Mixed,
    /// Every process of the tree at once.
    Group,
}

/// When a service is started again after it ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RestartPolicy {
    /// After which ends to start it again.
    pub mode: RestartMode,
    /// The most restarts in a row; `None`: no limit.
    pub max_restarts: Option<u32>,
}

/// After which ends a service is started again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RestartMode {
    /// Never.
    #[default]
    No,
    /// After a non-zero exit, a signal, or when unhealthy.
    OnFailure,
    /// After every end, and after a reboot.
    Always,
    /// After every end, and after a reboot unless it had been stopped.
    UnlessStopped,
}

/// How much of a service's output to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogLimits {
    /// Bytes per segment.
    pub max_size: u64,
    /// How many segments to keep.
    pub max_files: u32,
}

impl Default for LogLimits {
    /// 64 MiB x 5.
    fn default() -> Self {
        Self {
            max_size: 64 * 1024 * 1024,
            max_files: 5,
        }
    }
}

/// Durations as whole milliseconds, for serde's `with`.
mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

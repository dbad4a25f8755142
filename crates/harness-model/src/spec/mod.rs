//! What a project and its services are: the validated, defaulted meaning of a services.yaml.
//!
//! Every string that a user may put `${service.ip}` into is a [`Template`]. Relative paths have been made
//! absolute against the file's folder, `~` expanded, `${VAR}` substituted.

mod container;
mod hooks;
mod inherit;
mod new;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names::{NetworkName, PortName, ProjectName, ServiceName};
use crate::template::Template;
use crate::umask::Umask;

pub use container::{BuildSpec, DockerSpec, EngineOptions, NetworkAttachment, Ulimit, VolumeName};
pub use hooks::{HookCommand, Hooks};
pub use inherit::InheritEnv;

/// A whole project: what one file (or several merged ones) describes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProjectSpec {
    /// Its name, unique in a daemon.
    pub name: ProjectName,
    /// What it is, for people.
    pub description: Option<String>,
    /// The file it was read from (the first `-c`), absolute; it identifies the project besides its name.
    pub source: PathBuf,
    /// Every file that was read for it, or looked for, but for the templates of its services: those of `-c`, compose files,
    /// env files.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub read_from: BTreeSet<PathBuf>,
    /// The folder relative paths were resolved against.
    pub base_dir: PathBuf,
    /// Names of the variables whose values are secret by the file's own word.
    pub secrets: BTreeSet<String>,
    /// The networks, the implied `local` among them.
    pub networks: BTreeMap<NetworkName, NetworkSpec>,
    /// The services of the chosen profiles.
    pub services: BTreeMap<ServiceName, ServiceSpec>,
    /// Names that stand for several of the services, wherever several may be named; never one of a service. Those without
    /// a service of the chosen profiles are there too.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<ServiceName, BTreeSet<ServiceName>>,
    /// The services of its files that belong to none of the chosen profiles, each with its profiles.
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
    /// The services that it says something about, whatever their profiles.
    pub services: BTreeSet<ServiceName>,
}

/// Where the name of a project comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NamedBy {
    /// From `name:` in its file.
    #[default]
    File,
    /// From the folder of its file, which says no name.
    Folder,
    /// From whoever started it, with `-p`.
    Caller,
}

impl ProjectSpec {
    /// The files that it is made of: those that were read for it, and the templates of its services.
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
    /// Its addresses, in CIDR notation. A loopback subnet is a pool for process addresses.
    pub subnet: Option<String>,
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
    /// A short name to call it by.
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

/// One service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceSpec {
    /// What it is and how it is started: the `type` and the keys of that type.
    pub kind: ServiceKind,
    /// The network it runs on.
    pub network: NetworkName,
    /// The node it runs on, by host or name; `None` on this machine.
    pub host: Option<String>,
    /// Its environment.
    pub env: BTreeMap<String, Template>,
    /// What it takes from the environment of whoever started it.
    pub inherit_env: InheritEnv,
    /// Its umask; `None`: that of whoever started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub umask: Option<Umask>,
    /// Files rendered before it starts.
    pub files: Vec<FileSpec>,
    /// Its ports.
    pub ports: Vec<PortSpec>,
    /// What must hold before it starts; references in templates are included (`condition` by default).
    pub dependencies: Vec<Dependency>,
    /// How to tell whether it is healthy.
    pub health_check: Option<HealthCheck>,
    /// From its first launch until it must be ready.
    #[serde(with = "millis")]
    #[schemars(with = "u64")]
    pub startup_timeout: Duration,
    /// From the stop signal until SIGKILL.
    #[serde(with = "millis")]
    #[schemars(with = "u64")]
    pub shutdown_timeout: Duration,
    /// The signal that asks it to end; `None`: the one that its image names, else SIGTERM.
    pub stop_signal: Option<Signal>,
    /// Who gets the stop signal.
    pub stop_mode: StopMode,
    /// Whether its stdin is kept open for `attach`; otherwise it reads end of file.
    pub stdin: bool,
    /// Whether it gets a terminal instead of pipes.
    pub tty: bool,
    /// When it is started again after it ended.
    pub restart: RestartPolicy,
    /// Done when it exits 0, rather than meant to keep running.
    pub oneshot: bool,
    /// The profiles it belongs to; empty: always.
    pub profiles: BTreeSet<String>,
    /// How much of its output is kept.
    pub logs: LogLimits,
    /// Commands around its life.
    pub hooks: Hooks,
}

/// The type of a service with what only that type has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServiceKind {
    /// A process on this machine (on a node, once lowered, it is [`ServiceKind::Remote`]).
    Process(ProcessSpec),
    /// A container. A service of a compose file is one too, once lowered.
    Docker(Box<DockerSpec>),
    /// A process on a node.
    Remote(ProcessSpec),
    /// A package deployed to a node.
    Package(PackageSpec),
}

impl ServiceKind {
    /// The word after `type:`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Process(_) => "process",
            Self::Docker(_) => "docker",
            Self::Remote(_) => "remote",
            Self::Package(_) => "package",
        }
    }
}

/// A program to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessSpec {
    /// With a slash a path, without one looked up in the service's PATH.
    pub binary: Template,
    /// Its arguments.
    pub args: Vec<Template>,
    /// The folder it runs in; `None`: the node's home (a local process always has one).
    pub working_dir: Option<Template>,
    /// The user it runs as; `None`: whoever runs the daemon.
    pub user: Option<String>,
    /// Its resource limits.
    pub limits: Limits,
}

/// Resource limits, `setrlimit(2)`; `None` leaves what the daemon has.
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
    /// The program in it, if not the one its manifest names.
    pub binary: Option<Template>,
    /// Arguments of the program.
    pub args: Vec<Template>,
    /// Commands that must exist on the node.
    pub requires: Vec<String>,
}

/// A file rendered from a template before its service starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileSpec {
    /// The template, on the machine of the CLI.
    pub template: PathBuf,
    /// Where the rendered file goes, at the service's place.
    pub target: Template,
    /// What stands in the template; read when the project is started, not when it is validated.
    pub content: Option<Template>,
}

/// A port of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PortSpec {
    /// Its name, for `${service.port.NAME}`.
    pub name: Option<PortName>,
    /// The address it is published on; `None`: 127.0.0.1.
    pub host_ip: Option<String>,
    /// The port on the host; 0 takes a free one.
    pub port: u16,
    /// The port inside the container, if another one than `port`.
    pub target: Option<u16>,
    /// The transport.
    pub protocol: Protocol,
    /// Where it is written, for messages about a port that is taken.
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
    /// The file, as the user called it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// The line itself, trimmed.
    pub text: String,
}

/// That one service needs another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Dependency {
    /// The service needed.
    pub service: ServiceName,
    /// What of it must hold.
    pub condition: Condition,
    /// Whether this service restarts when that one does.
    pub restart: bool,
    /// Whether this one may not start without it (an optional one that failed or is absent is passed over).
    pub required: bool,
}

/// What of a dependency must hold before the dependent starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Its process has been started.
    Started,
    /// Its probe succeeds if it has one, else its process has been started: what is waited for by default where
    /// only the image knows whether there is a health check.
    Ready,
    /// Its probe succeeds.
    Healthy,
    /// It has exited with 0.
    Completed,
    /// A line of its output since its start matches this regular expression.
    Log(String),
    /// Nothing: only its address is taken.
    None,
}

impl Condition {
    /// What is waited for, as in "waiting for db to be healthy".
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

/// How to tell whether a service is healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HealthCheck {
    /// What is tried.
    pub probe: Probe,
    /// Between two probes once it is up.
    #[serde(with = "millis")]
    #[schemars(with = "u64")]
    pub interval: Duration,
    /// How long one probe may take.
    #[serde(with = "millis")]
    #[schemars(with = "u64")]
    pub timeout: Duration,
    /// Failures in a row that make it unhealthy.
    pub retries: u32,
    /// Kept for files that have it: failures within it never count (during start none do anyway).
    #[serde(with = "millis")]
    #[schemars(with = "u64")]
    pub start_period: Duration,
}

impl HealthCheck {
    /// How long it may take by its own figures to tell of a start that it failed.
    pub fn needs(&self) -> Duration {
        self.interval
            .saturating_add(self.timeout)
            .saturating_mul(self.retries)
            .saturating_add(self.start_period)
    }
}

/// What a health check tries, from the service's own place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// GET of this URL answers 2xx or 3xx.
    Http(Template),
    /// `host:port` accepts a connection.
    Tcp(Template),
    /// A command exits with 0: program and arguments.
    Command(Vec<Template>),
    /// A line of the output since the start matches this regular expression.
    Log(String),
}

impl Probe {
    /// A short description without secrets: `http localhost:8080/health`.
    pub fn describe(&self) -> String {
        match self {
            Self::Http(url) => {
                let url = url.to_string();
                let short = url.strip_prefix("http://").unwrap_or(&url);
                format!("http {short}")
            }
            Self::Tcp(address) => format!("tcp {address}"),
            Self::Command(words) => {
                let words: Vec<String> = words.iter().map(Template::to_string).collect();
                format!("command {}", words.join(" "))
            }
            Self::Log(pattern) => format!("log /{pattern}/"),
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
    /// The main process; the rest of the tree once it has exited.
    #[default]
    Mixed,
    /// Every process of the tree at once.
    Group,
}

/// When a service is started again after it ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RestartPolicy {
    /// After which ends.
    pub mode: RestartMode,
    /// How many restarts in a row at most; `None`: without end.
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

/// How much of a service's output is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogLimits {
    /// Bytes per segment.
    pub max_size: u64,
    /// Segments kept.
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

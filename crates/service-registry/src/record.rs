//! What is known of a project and of each of its services: plain data, kept in memory and in the store.
//!
//! The large parts of a [`ServiceRecord`] (its spec, the inherited environment) are shared. So a new record for every
//! change of state copies only a few words and not the whole specification.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use harness_model::resolve::SpecDigest;
use harness_model::spec::{HealthCheck, ProjectFile};
use harness_model::{
    ExitStatus, Health, ProjectName, ProjectSpec, SecretString, ServiceName, ServiceSpec, ServiceState,
    Umask, WallTime,
};
use serde::{Deserialize, Serialize};

use crate::address::ServiceAddresses;

/// A project that the daemon knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectRecord {
    /// Its name, unique in a daemon.
    pub name: ProjectName,
    /// The absolute path of the file that it was started from.
    pub source: PathBuf,
    /// Its specification when it was last started, with unresolved references.
    pub spec: ProjectSpec,
    /// When it was first started.
    pub created_at: WallTime,
    /// The folder of its file, if it can be identified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<FolderId>,
    /// Files that it was read from earlier, but not when it was last started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier_files: Vec<ProjectFile>,
}

impl ProjectRecord {
    /// The services that were not chosen when it was last started: those of other profiles, or of a file that was not
    /// given.
    pub fn unchosen(&self) -> BTreeSet<ServiceName> {
        let earlier = self.earlier_files.iter().flat_map(|file| &file.services);
        let all = self.spec.unchosen.keys().chain(earlier);
        all.filter(|name| !self.spec.services.contains_key(*name))
            .cloned()
            .collect()
    }

    /// Whether a service belongs to the project, chosen or not.
    pub fn has(&self, service: &ServiceName) -> bool {
        self.spec.services.contains_key(service) || self.unchosen().contains(service)
    }
}

/// Identifies a folder, even if it is moved within its file system. The inode number alone is not enough, because a
/// new file can get the same number later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderId {
    /// Its inode.
    pub inode: u64,
    /// When the inode was made.
    pub born: WallTime,
}

/// A service that the daemon knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRecord {
    /// Its project.
    pub project: ProjectName,
    /// Its name.
    pub name: ServiceName,
    /// Its specification, with all references replaced.
    pub spec: Arc<ServiceSpec>,
    /// The digest of `spec`.
    pub digest: SpecDigest,
    /// What it inherits from the environment of whoever started it. This is not part of the spec.
    pub environment: Arc<BTreeMap<String, SecretString>>,
    /// The umask of whoever started it, for when its spec has none; not part of the spec either. `None`: not known.
    #[serde(default)]
    pub umask: Option<Umask>,
    /// Whether it should be up.
    pub wanted: bool,
    /// Whether the file still contains it.
    pub in_file: bool,
    /// Its state.
    pub state: ServiceState,
    /// The result of its probes.
    pub health: Health,
    /// The number of its launches, which is also the number of its newest run directory.
    pub generation: u64,
    /// Restarts by policy since somebody last started it.
    pub restarts: u32,
    /// How its last process ended.
    pub exit: Option<ExitStatus>,
    /// What went wrong, in one line.
    pub error: Option<String>,
    /// When its newest process was launched.
    pub started_at: Option<WallTime>,
    /// The same, as nanoseconds since the machine booted: somebody may change the clock.
    #[serde(default)]
    pub up_since_ns: Option<u64>,
    /// When its last process ended.
    pub ended_at: Option<WallTime>,
    /// Its main process, while there is one.
    pub pid: Option<u32>,
    /// Whether its newest process was ever ready.
    pub was_ready: bool,
    /// The boot in which its newest process was launched.
    pub boot_id: Option<String>,
    /// The digest of the spec that its newest process was launched with.
    pub launched_digest: Option<SpecDigest>,
    /// Where it is reached.
    pub addresses: ServiceAddresses,
    /// The addresses of its dependencies, as variables of its environment.
    pub dependency_addresses: BTreeMap<String, String>,
    /// Whether it is up now: healthy, completed, or running without a probe.
    pub ready: bool,
    /// When its next restart is due.
    pub retry_at: Option<WallTime>,
    /// When its `startup_timeout` passes, while it starts.
    pub startup_deadline: Option<WallTime>,
    /// What its launch says it is doing: `pulling image nginx: 3 of 12 MB`.
    #[serde(default)]
    pub doing: Option<String>,
    /// The answer of the last probe, if it was bad.
    pub last_probe: Option<String>,
    /// What it waits for.
    pub waiting: Vec<Waiting>,
    /// Secrets of earlier specs, which may still be in the logs that are kept.
    pub retired_secrets: Arc<Vec<SecretString>>,
    /// The health check of the image of its newest process, if its spec has none.
    pub image_health: Option<Arc<HealthCheck>>,
    /// Whether its newest process ended well by itself and the rest only waits for its hooks.
    #[serde(default)]
    pub ended_well: bool,
    /// Why it failed, in the form in which the orchestrator wants to read it again.
    pub failure: Option<serde_json::Value>,
    /// How its last process ended, whole, in the form in which the orchestrator wants to read it again.
    #[serde(default)]
    pub ended: Option<serde_json::Value>,
    /// Whether `error`, `doing`, `last_probe` and `failure` are free of secrets. Earlier versions hid secrets only
    /// when they showed these fields.
    #[serde(default)]
    pub is_masked: bool,
    /// Whether its place cannot be reached, so that nothing is known of it. True only while a daemon says so.
    #[serde(default, skip_serializing)]
    pub is_unreached: bool,
    /// How to find its newest process while it runs, if its run directory does not lead to it any more.
    #[serde(default)]
    pub trace: Option<Arc<RunTrace>>,
}

/// How to find a process that runs under a supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunTrace {
    /// The mark in the environment of its processes.
    pub run_id: String,
    /// Its supervisor.
    pub shim: ProcessTrace,
    /// Its main process.
    pub main: ProcessTrace,
    /// When the main process was started, in nanoseconds since the Unix epoch.
    pub started_at_ns: u64,
    /// Its own cgroup, if it has one.
    #[serde(default)]
    pub cgroup: Option<PathBuf>,
}

/// One process, identified for all time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessTrace {
    /// Its pid.
    pub pid: u32,
    /// Its start time, in clock ticks since boot.
    pub start_time: u64,
    /// The boot in which it runs.
    pub boot_id: String,
    /// The pid namespace in which `pid` is counted.
    pub pid_ns: u64,
}

/// A dependency that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The name of the dependency.
    pub service: ServiceName,
    /// The condition that must hold: `be healthy`.
    pub condition: String,
}

impl ServiceRecord {
    /// A service that was registered but never launched.
    pub fn new(
        project: ProjectName,
        name: ServiceName,
        spec: impl Into<Arc<ServiceSpec>>,
        environment: impl Into<Arc<BTreeMap<String, SecretString>>>,
        addresses: ServiceAddresses,
    ) -> Self {
        let spec = spec.into();
        Self {
            project,
            name,
            digest: spec.digest(),
            spec,
            environment: environment.into(),
            umask: None,
            wanted: false,
            in_file: true,
            state: ServiceState::Stopped,
            health: Health::None,
            generation: 0,
            restarts: 0,
            exit: None,
            error: None,
            started_at: None,
            up_since_ns: None,
            ended_at: None,
            pid: None,
            was_ready: false,
            boot_id: None,
            launched_digest: None,
            addresses,
            dependency_addresses: BTreeMap::new(),
            ready: false,
            retry_at: None,
            startup_deadline: None,
            doing: None,
            last_probe: None,
            waiting: Vec::new(),
            retired_secrets: Arc::default(),
            image_health: None,
            ended_well: false,
            failure: None,
            ended: None,
            is_masked: true,
            is_unreached: false,
            trace: None,
        }
    }

    /// The health check that is used: the one of its spec, or else of its image.
    pub fn health_check(&self) -> Option<&HealthCheck> {
        self.spec.health_check.as_ref().or(self.image_health.as_deref())
    }
}

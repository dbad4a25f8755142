//! The two halves of a service in the file. A new field needs `#[serde(default)]`, so that the files of earlier
//! versions can be read.

use std::collections::BTreeMap;
use std::sync::Arc;

use harness_model::resolve::SpecDigest;
use harness_model::spec::HealthCheck;
use harness_model::{
    ExitStatus, Health, ProjectName, SecretString, ServiceName, ServiceSpec, ServiceState, Umask, WallTime,
};
use serde::{Deserialize, Serialize};

use crate::address::ServiceAddresses;
use crate::record::{RunTrace, ServiceRecord, Waiting};

/// What changes together with the user's file.
#[derive(Serialize, Deserialize)]
pub(super) struct SpecRow {
    spec: Arc<ServiceSpec>,
    digest: SpecDigest,
    environment: Arc<BTreeMap<String, SecretString>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    umask: Option<Umask>,
    addresses: ServiceAddresses,
    #[serde(default)]
    dependency_addresses: BTreeMap<String, String>,
    #[serde(default)]
    retired_secrets: Arc<Vec<SecretString>>,
}

/// What changes while it runs.
#[derive(Serialize, Deserialize)]
pub(super) struct StatusRow {
    wanted: bool,
    in_file: bool,
    state: ServiceState,
    health: Health,
    generation: u64,
    restarts: u32,
    exit: Option<ExitStatus>,
    error: Option<String>,
    started_at: Option<WallTime>,
    #[serde(default)]
    up_since_ns: Option<u64>,
    ended_at: Option<WallTime>,
    pid: Option<u32>,
    was_ready: bool,
    boot_id: Option<String>,
    launched_digest: Option<SpecDigest>,
    #[serde(default)]
    ready: bool,
    #[serde(default)]
    retry_at: Option<WallTime>,
    #[serde(default)]
    startup_deadline: Option<WallTime>,
    #[serde(default)]
    last_probe: Option<String>,
    #[serde(default)]
    waiting: Vec<Waiting>,
    #[serde(default)]
    failure: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended: Option<serde_json::Value>,
    #[serde(default)]
    ended_well: bool,
    #[serde(default)]
    is_masked: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image_health: Option<Arc<HealthCheck>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace: Option<Arc<RunTrace>>,
}

impl SpecRow {
    pub(super) fn of(record: &ServiceRecord) -> Self {
        Self {
            spec: Arc::clone(&record.spec),
            digest: record.digest.clone(),
            environment: Arc::clone(&record.environment),
            umask: record.umask,
            addresses: record.addresses.clone(),
            dependency_addresses: record.dependency_addresses.clone(),
            retired_secrets: Arc::clone(&record.retired_secrets),
        }
    }
}

impl StatusRow {
    pub(super) fn of(record: &ServiceRecord) -> Self {
        Self {
            wanted: record.wanted,
            in_file: record.in_file,
            state: record.state,
            health: record.health,
            generation: record.generation,
            restarts: record.restarts,
            exit: record.exit,
            error: record.error.clone(),
            started_at: record.started_at,
            up_since_ns: record.up_since_ns,
            ended_at: record.ended_at,
            pid: record.pid,
            was_ready: record.was_ready,
            boot_id: record.boot_id.clone(),
            launched_digest: record.launched_digest.clone(),
            ready: record.ready,
            retry_at: record.retry_at,
            startup_deadline: record.startup_deadline,
            last_probe: record.last_probe.clone(),
            waiting: record.waiting.clone(),
            failure: record.failure.clone(),
            ended: record.ended.clone(),
            ended_well: record.ended_well,
            is_masked: record.is_masked,
            image_health: record.image_health.clone(),
            trace: record.trace.clone(),
        }
    }
}

/// Makes the whole record again.
pub(super) fn join(
    project: ProjectName,
    name: ServiceName,
    spec: SpecRow,
    status: StatusRow,
) -> ServiceRecord {
    ServiceRecord {
        project,
        name,
        spec: spec.spec,
        digest: spec.digest,
        environment: spec.environment,
        umask: spec.umask,
        wanted: status.wanted,
        in_file: status.in_file,
        state: status.state,
        health: status.health,
        generation: status.generation,
        restarts: status.restarts,
        exit: status.exit,
        error: status.error,
        started_at: status.started_at,
        up_since_ns: status.up_since_ns,
        ended_at: status.ended_at,
        pid: status.pid,
        was_ready: status.was_ready,
        boot_id: status.boot_id,
        launched_digest: status.launched_digest,
        addresses: spec.addresses,
        dependency_addresses: spec.dependency_addresses,
        retired_secrets: spec.retired_secrets,
        ready: status.ready,
        retry_at: status.retry_at,
        startup_deadline: status.startup_deadline,
        // This belongs to a launch that nobody follows any more.
        doing: None,
        last_probe: status.last_probe,
        waiting: status.waiting,
        failure: status.failure,
        ended: status.ended,
        ended_well: status.ended_well,
        is_masked: status.is_masked,
        is_unreached: false,
        image_health: status.image_health,
        trace: status.trace,
    }
}

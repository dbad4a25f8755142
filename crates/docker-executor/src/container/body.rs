//! The request to the engine for a service, and which services are refused.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ContainerCreateBody, DeviceMapping, HostConfig, HostConfigLogConfig, NetworkingConfig, PortBinding,
    ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};
use harness_model::spec::{DockerSpec, EngineOptions, InheritEnv, ServiceSpec, StopMode, Ulimit};
use harness_model::{SecretString, Template, os_text};
use service_orchestration::executor::{LaunchError, Order};
use service_registry::address::Attached;

use crate::container::stop_policy::StopPolicy;
use crate::container::volumes::Mount;
use crate::image::Image;
use crate::image::config;
use crate::labels;
use crate::network::membership::Membership;
use crate::spec::{docker, text, texts};

/// The name under which a container finds this machine.
const HOST_NAME: &str = "host.docker.internal";

/// The engine counts processor time in billionths of a core.
const NANO_CPUS: f64 = 1e9;

fn refused<T>(key: &'static str, why: impl Into<String>) -> Result<T, LaunchError> {
    let why = why.into();
    Err(LaunchError::NotForType { key, why })
}

/// Refuses what containers do not support, or not yet.
pub(crate) fn check(spec: &ServiceSpec) -> Result<(), LaunchError> {
    let docker = docker(spec)?;
    if spec.stop_mode == StopMode::Group {
        return refused(
            "stop_mode",
            "`group` is not supported for containers: an engine signals only the main process",
        );
    }
    if docker.labels.values().any(Template::has_secret) {
        return refused(
            "labels",
            "must not contain secrets: everybody who can list containers can read them",
        );
    }
    if docker.labels.keys().any(|name| name.starts_with(labels::PREFIX)) {
        return refused(
            "labels",
            format!("that begin with `{}` are reserved for harness", labels::PREFIX),
        );
    }
    let words = docker.command.iter().chain(&docker.entrypoint).flatten();
    if words.into_iter().any(Template::has_secret) {
        return refused(
            "command",
            "must not contain secrets: others can see arguments; use `env`",
        );
    }
    if docker
        .build
        .as_ref()
        .is_some_and(|build| build.args.values().any(Template::has_secret))
    {
        return refused(
            "build",
            "must not contain secrets in `args`: they would stay in the image",
        );
    }
    Ok(())
}

/// The name of the container of an order.
pub(crate) fn name(order: &Order) -> Result<String, LaunchError> {
    let written = docker(&order.spec)?.container_name.clone();
    Ok(written.unwrap_or_else(|| format!("{}-{}", order.project, order.service)))
}

/// Whether the health check of the image is used.
pub(crate) fn may_have_health(order: &Order) -> bool {
    docker(&order.spec).is_ok_and(|docker| !docker.no_image_health_check)
}

/// The environment of a container: addresses, the variables that it inherits by name, and its own.
pub(crate) fn environment(order: &Order) -> Result<BTreeMap<String, SecretString>, LaunchError> {
    let mut env = BTreeMap::new();
    let addresses = order.addresses.iter();
    env.extend(addresses.map(|(name, value)| (name.clone(), SecretString::new(value.as_str()))));
    let takes = |name: &String| match &order.spec.inherit_env {
        InheritEnv::Minimal => false,
        InheritEnv::Only(names) => names.contains(name),
        // PATH, HOME and the like come from the image: this machine's values do not work in there.
        InheritEnv::All => !InheritEnv::Minimal.takes(name),
    };
    // The engine takes only text.
    let is_text =
        |name: &String, value: &SecretString| os_text::is_text(name) && os_text::is_text(value.expose());
    let inherited = order.inherited.iter();
    let inherited = inherited.filter(|(name, value)| takes(name) && is_text(name, value));
    env.extend(inherited.map(|(name, value)| (name.clone(), value.clone())));
    for (name, value) in &order.spec.env {
        env.insert(name.clone(), SecretString::new(text(value)?));
    }
    Ok(env)
}

/// `NAME=value`, in the form of the engine's API.
pub(crate) fn assignments(env: &BTreeMap<String, SecretString>) -> Vec<String> {
    env.iter()
        .map(|(name, value)| format!("{name}={}", value.expose()))
        .collect()
}

/// What is mounted into the container.
pub(crate) fn mounts(order: &Order) -> Result<Vec<Mount>, LaunchError> {
    let docker = docker(&order.spec)?;
    docker
        .volumes
        .iter()
        .map(|volume| Mount::parse(&text(volume)?, order.project.as_str(), &docker.volume_names))
        .collect()
}

/// The whole request to create a container.
pub(crate) fn create(
    order: &Order,
    image: &Image,
    mounts: &[Mount],
    network: &Membership,
    owned: HashMap<String, String>,
) -> Result<ContainerCreateBody, LaunchError> {
    let docker = docker(&order.spec)?;
    let mut labels = owned;
    for (name, value) in &docker.labels {
        labels.insert(name.clone(), text(value)?);
    }
    let (ports, mut exposed) = ports(order);
    exposed.extend(docker.expose.iter().cloned());
    exposed.sort();
    exposed.dedup();
    let stop = StopPolicy::of(&order.spec, config::stop_signal(&image.config));
    let host_config = HostConfig {
        binds: Some(mounts.iter().map(Mount::bind).collect()),
        network_mode: Some(network.engine_name.clone()),
        port_bindings: Some(ports),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        auto_remove: Some(false),
        // The log is read back from the engine to the last line, so nothing may rotate it away before.
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from([("max-size".to_owned(), "1000g".to_owned())])),
        }),
        nano_cpus: docker.cpus.as_ref().and_then(|cpus| nano_cpus(cpus)),
        memory: docker.memory.map(saturated),
        // The same limit: no swap beyond it.
        memory_swap: docker.memory.map(saturated),
        pids_limit: docker.pids.map(saturated),
        tmpfs: Some(docker.tmpfs.iter().map(|entry| tmpfs(entry)).collect()),
        extra_hosts: Some(extra_hosts(order, docker)?),
        init: docker.init.then_some(true),
        readonly_rootfs: docker.read_only.then_some(true),
        privileged: docker.privileged.then_some(true),
        cap_add: Some(docker.cap_add.clone()),
        cap_drop: Some(docker.cap_drop.clone()),
        ..host_config(&docker.options)
    };
    Ok(ContainerCreateBody {
        image: Some(image.name.clone()),
        hostname: docker.hostname.clone(),
        cmd: docker.command.as_deref().map(texts).transpose()?,
        entrypoint: docker.entrypoint.as_deref().map(texts).transpose()?,
        env: Some(assignments(&environment(order)?)),
        user: docker.user.as_ref().map(text).transpose()?,
        working_dir: docker.working_dir.as_ref().map(text).transpose()?,
        labels: Some(labels),
        exposed_ports: Some(exposed),
        open_stdin: Some(order.spec.stdin || order.spec.tty),
        stdin_once: Some(false),
        healthcheck: Some(config::no_health()),
        tty: Some(order.spec.tty),
        // For other ways to stop it: the engine when it ends, and `docker stop`.
        stop_signal: Some(stop.signal.0.to_string()),
        stop_timeout: i64::try_from(order.spec.shutdown_timeout.as_secs().max(1)).ok(),
        host_config: Some(host_config),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some(HashMap::from([(network.engine_name.clone(), network.endpoint())])),
        }),
        ..ContainerCreateBody::default()
    })
}

/// The engine's options that only few services need.
fn host_config(options: &EngineOptions) -> HostConfig {
    let ulimit = |(name, limit): (&String, &Ulimit)| ResourcesUlimits {
        name: Some(name.clone()),
        soft: Some(limit.soft),
        hard: Some(limit.hard),
    };
    // If nothing is configured, the engine decides, which may have defaults of its own.
    let ulimits = (!options.ulimits.is_empty()).then(|| options.ulimits.iter().map(ulimit).collect());
    HostConfig {
        shm_size: options.shm_size.map(saturated),
        ulimits,
        dns: Some(options.dns.clone()),
        sysctls: Some(options.sysctls.clone().into_iter().collect()),
        security_opt: Some(options.security_opt.clone()),
        group_add: Some(options.group_add.clone()),
        devices: Some(options.devices.iter().map(|device| mapping(device)).collect()),
        ..HostConfig::default()
    }
}

/// Parses `host path[:container path[:permissions]]`. The second part may be the permissions.
fn mapping(device: &str) -> DeviceMapping {
    let mut parts = device.splitn(3, ':');
    let host = parts.next().unwrap_or_default();
    let (inside, permissions) = match (parts.next(), parts.next()) {
        (Some(inside), Some(permissions)) => (inside, permissions),
        (Some(inside), None) if inside.starts_with('/') => (inside, "rwm"),
        (Some(permissions), None) => (host, permissions),
        (None, _) => (host, "rwm"),
    };
    DeviceMapping {
        path_on_host: Some(host.to_owned()),
        path_in_container: Some(inside.to_owned()),
        cgroup_permissions: Some(permissions.to_owned()),
    }
}

fn saturated(figure: u64) -> i64 {
    i64::try_from(figure).unwrap_or(i64::MAX)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a number of cores; `as` saturates"
)]
fn nano_cpus(cores: &str) -> Option<i64> {
    Some((cores.parse::<f64>().ok()? * NANO_CPUS) as i64)
}

fn tmpfs(entry: &str) -> (String, String) {
    let (path, options) = entry.split_once(':').unwrap_or((entry, ""));
    (path.to_owned(), options.to_owned())
}

type PortMap = HashMap<String, Option<Vec<PortBinding>>>;

/// The published ports, and the ports inside the container.
fn ports(order: &Order) -> (PortMap, Vec<String>) {
    let mut published: PortMap = HashMap::new();
    for port in &order.own.ports {
        let inside = format!("{}/{}", port.target.unwrap_or(port.port), port.protocol.as_str());
        let binding = PortBinding {
            host_ip: Some(port.host_ip.to_string()),
            host_port: Some(port.port.to_string()),
        };
        published
            .entry(inside)
            .or_default()
            .get_or_insert_default()
            .push(binding);
    }
    let exposed = published.keys().cloned().collect();
    (published, exposed)
}

fn extra_hosts(order: &Order, docker: &DockerSpec) -> Result<Vec<String>, LaunchError> {
    let mut hosts = texts(&docker.extra_hosts)?;
    if let Some(Attached { gateway, .. }) = order.own.networks().next()
        && !hosts.iter().any(|host| host.starts_with(HOST_NAME))
    {
        hosts.push(format!("{HOST_NAME}:{gateway}"));
    }
    Ok(hosts)
}

//! The keys of a compose service: which ones are not supported, and what to do instead.

use crate::diagnostics::Finding;
use crate::suggest::did_you_mean;
use crate::tree::Key;

/// The keys that are translated.
const TAKEN: [&str; 44] = [
    "image",
    "build",
    "command",
    "entrypoint",
    "environment",
    "env_file",
    "ports",
    "expose",
    "volumes",
    "tmpfs",
    "user",
    "working_dir",
    "hostname",
    "container_name",
    "labels",
    "init",
    "privileged",
    "read_only",
    "cap_add",
    "cap_drop",
    "extra_hosts",
    "deploy",
    "mem_limit",
    "cpus",
    "pids_limit",
    "restart",
    "stop_signal",
    "stop_grace_period",
    "depends_on",
    "healthcheck",
    "networks",
    "profiles",
    "stdin_open",
    "tty",
    "logging",
    "pull_policy",
    "shm_size",
    "ulimits",
    "dns",
    "sysctls",
    "security_opt",
    "group_add",
    "devices",
    "platform",
];

/// The keys that are not translated, each with the remedy.
const REFUSED: [(&str, &str); 41] = [
    ("extends", "copy the keys of that service here"),
    (
        "network_mode",
        "leave it out: services are on the project's network, and `networks` adds others",
    ),
    (
        "links",
        "leave it out: services find each other by their names; write `depends_on` for the order",
    ),
    (
        "external_links",
        "join the network of that container as an `external` one",
    ),
    (
        "secrets",
        "write it as a volume, or pass it through `environment`",
    ),
    ("configs", "write it as a volume"),
    ("volumes_from", "list the volumes here"),
    ("post_start", "use a service of its own that depends on this one"),
    ("pre_stop", "use a service of its own that depends on this one"),
    (
        "memswap_limit",
        "leave it out: a service has no swap beyond its memory limit",
    ),
    ("mem_reservation", "write `mem_limit`"),
    ("scale", "leave it out: a service is one container"),
    ("dns_opt", ""),
    ("dns_search", ""),
    ("domainname", "write it into `hostname`"),
    ("annotations", "write `labels`"),
    ("blkio_config", ""),
    ("cpu_count", "write `cpus`"),
    ("cpu_percent", "write `cpus`"),
    ("cpu_period", "write `cpus`"),
    ("cpu_quota", "write `cpus`"),
    ("cpu_rt_period", ""),
    ("cpu_rt_runtime", ""),
    ("cpu_shares", "write `cpus`"),
    ("cpuset", "write `cpus`"),
    ("cgroup", ""),
    ("cgroup_parent", ""),
    ("credential_spec", ""),
    ("device_cgroup_rules", ""),
    ("gpus", ""),
    ("ipc", ""),
    ("isolation", ""),
    ("label_file", "write `labels`"),
    ("mac_address", ""),
    ("mem_swappiness", ""),
    ("oom_kill_disable", ""),
    ("oom_score_adj", ""),
    ("pid", ""),
    ("runtime", ""),
    ("storage_opt", ""),
    ("userns_mode", ""),
];

/// The keys for the client of Docker Compose, which say nothing about a container.
const WITHOUT_EFFECT: [&str; 2] = ["attach", "develop"];

/// What to do about a key without a better remedy.
const OTHERWISE: &str = "remove it, or run this service with Docker Compose";

/// The finding about a key that is not translated.
pub(super) fn refusal(key: &Key) -> Finding {
    let name = key.name.as_str();
    if WITHOUT_EFFECT.contains(&name) {
        return Finding::warning(key.span, format!("`{name}` has no effect here"));
    }
    match REFUSED.iter().find(|(refused, _)| *refused == name) {
        Some((_, remedy)) => unsupported(key, "", remedy),
        None => {
            let refused = REFUSED.iter().map(|(name, _)| *name);
            let known = TAKEN.into_iter().chain(WITHOUT_EFFECT).chain(refused);
            Finding::error(key.span, format!("unknown key `{name}`")).maybe_help(did_you_mean(name, known))
        }
    }
}

/// The refusal of a key of something within a service, or of the service itself.
pub(super) fn unsupported(key: &Key, of: &str, remedy: &str) -> Finding {
    let of = if of.is_empty() { "a compose service" } else { of };
    let remedy = if remedy.is_empty() { OTHERWISE } else { remedy };
    Finding::error(key.span, format!("`{}` of {of} is not supported", key.name)).help(remedy)
}

/// Refuses every key of a map except the ones in `taken`.
pub(super) fn refuse_others(
    entries: &[(Key, crate::tree::Node)],
    of: &str,
    taken: &[&str],
    said: &mut Vec<Finding>,
) {
    let others = entries.iter().map(|(key, _)| key);
    let others = others.filter(|key| !taken.contains(&key.name.as_str()) && !key.name.starts_with("x-"));
    said.extend(others.map(|key| unsupported(key, of, "")));
}

//! Containers: services of `type: docker`, and services of a compose file, which are turned into the same.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names::NetworkName;
use crate::template::Template;

/// A container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DockerSpec {
    /// The image to run; `None` if it is built without a name.
    pub image: Option<Template>,
    /// How to build the image.
    pub build: Option<BuildSpec>,
    /// Replaces the image's CMD.
    pub command: Option<Vec<Template>>,
    /// Replaces the image's ENTRYPOINT.
    pub entrypoint: Option<Vec<Template>>,
    /// `source:target[:ro]`, as written after substitution.
    pub volumes: Vec<Template>,
    /// The user inside the container.
    pub user: Option<Template>,
    /// The folder inside the container.
    pub working_dir: Option<Template>,
    /// CPU share as a decimal number of cores, kept as written.
    pub cpus: Option<String>,
    /// Memory limit in bytes.
    pub memory: Option<u64>,
    /// Process limit.
    pub pids: Option<u64>,
    /// Folders in memory.
    pub tmpfs: Vec<String>,
    /// `name:address` entries for its hosts file.
    pub extra_hosts: Vec<Template>,
    /// Labels of the container.
    pub labels: BTreeMap<String, Template>,
    /// Whether an init process reaps zombies in it.
    pub init: bool,
    /// Full access to the host; only if the file says so.
    pub privileged: bool,
    /// Capabilities to add.
    pub cap_add: Vec<String>,
    /// Capabilities to drop.
    pub cap_drop: Vec<String>,
    /// Its name in the engine; `None`: `<project>-<service>`.
    #[serde(default)]
    pub container_name: Option<String>,
    /// Its own host name; `None`: the engine decides.
    #[serde(default)]
    pub hostname: Option<String>,
    /// Whether its root file system is read-only.
    #[serde(default)]
    pub read_only: bool,
    /// Ports that it listens on but does not publish: `8080`, `5353/udp`.
    #[serde(default)]
    pub expose: Vec<String>,
    /// How it is attached to each of its networks, the service's own network first. Empty: only to that one, without
    /// options.
    #[serde(default)]
    pub networks: Vec<NetworkAttachment>,
    /// The names of its named volumes in the engine, where they differ from `<project>_<name>`.
    #[serde(default)]
    pub volume_names: BTreeMap<String, VolumeName>,
    /// Whether the health check of the image is turned off.
    #[serde(default)]
    pub no_image_health_check: bool,
    /// Whether its start may take longer than `startup_timeout` if the health check of the image needs it: true if
    /// the file sets neither a timeout nor a check.
    #[serde(default)]
    pub startup_by_image: bool,
    /// Options that few containers need.
    #[serde(flatten)]
    pub options: EngineOptions,
}

/// Options that few containers need. They are passed to the engine unchanged. Options that are not written are not
/// stored, so that specifications from before these options keep their digests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EngineOptions {
    /// The size of its `/dev/shm` in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<u64>,
    /// Its resource limits, by the names of the engine: `nofile`, `memlock`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ulimits: BTreeMap<String, Ulimit>,
    /// The addresses of its name servers; empty: the engine decides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<String>,
    /// Kernel parameters of its own namespaces.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// Options of the security modules: `no-new-privileges:true`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub security_opt: Vec<String>,
    /// More groups for its user, in addition to those of the image, by name or number.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub group_add: Vec<String>,
    /// `host path[:container path[:rwm]]` of devices.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
    /// The platform of its image, if there are several: `linux/arm64`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
}

/// A resource limit; -1 means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ulimit {
    /// The limit that applies.
    pub soft: i64,
    /// The most that the container may raise it to.
    pub hard: i64,
}

/// A network that a container is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NetworkAttachment {
    /// The network.
    pub network: NetworkName,
    /// Its name in the engine; `None`: `<project>_<network>`.
    pub engine_name: Option<String>,
    /// Whether it exists outside the project: it is neither created nor removed, and the engine chooses addresses on
    /// it.
    pub external: bool,
    /// The address of the container on it; `None`: one is chosen.
    pub ipv4_address: Option<Ipv4Addr>,
    /// More names under which it is found there, in addition to the service's name.
    pub aliases: Vec<String>,
}

impl NetworkAttachment {
    /// An attachment to a network of the project, without options.
    pub fn plain(network: NetworkName) -> Self {
        Self {
            network,
            engine_name: None,
            external: false,
            ipv4_address: None,
            aliases: Vec::new(),
        }
    }
}

/// The name of a named volume in the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VolumeName {
    /// The name.
    pub name: String,
    /// Whether it exists outside the project, and must exist already.
    pub external: bool,
}

/// How to build an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BuildSpec {
    /// The build context.
    pub context: PathBuf,
    /// The Dockerfile, within the context.
    pub dockerfile: Option<String>,
    /// Build arguments.
    pub args: BTreeMap<String, Template>,
    /// The stage to build.
    pub target: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Kind, ServiceSpec};

    #[test]
    fn an_option_is_told_when_it_comes_and_when_it_goes() {
        let without = ServiceSpec::new(Kind::Container(Box::default()));
        let docker = DockerSpec {
            options: EngineOptions {
                shm_size: Some(1),
                ..EngineOptions::default()
            },
            ..DockerSpec::default()
        };
        let with = ServiceSpec::new(Kind::Container(Box::new(docker)));
        assert_ne!(with.digest(), without.digest());
        assert_eq!(with.changes_since(&without), ["shm_size changed"]);
        assert_eq!(without.changes_since(&with), ["shm_size changed"]);
        let stored = serde_json::to_string(&with).unwrap();
        assert_eq!(serde_json::from_str::<ServiceSpec>(&stored).unwrap(), with);
    }

    #[test]
    fn what_is_not_written_is_not_stored() {
        let stored = serde_json::to_value(DockerSpec::default()).unwrap();
        for option in [
            "shm_size",
            "ulimits",
            "dns",
            "sysctls",
            "security_opt",
            "group_add",
            "devices",
            "platform",
            "options",
        ] {
            assert_eq!(stored.get(option), None, "{option}");
        }
    }
}

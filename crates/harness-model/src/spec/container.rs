//! Containers: services of `type: docker`, and those of a compose file, which become the same.

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
    /// The image to run; `None` when it is built without a name.
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
    /// Whether an init reaps zombies in it.
    pub init: bool,
    /// Full access to the host; only when written out.
    pub privileged: bool,
    /// Capabilities to add.
    pub cap_add: Vec<String>,
    /// Capabilities to drop.
    pub cap_drop: Vec<String>,
    /// Its name in the engine; `None`: `<project>-<service>`.
    #[serde(default)]
    pub container_name: Option<String>,
    /// Its own host name; `None`: as the engine decides.
    #[serde(default)]
    pub hostname: Option<String>,
    /// Whether its root file system can only be read.
    #[serde(default)]
    pub read_only: bool,
    /// Ports that it listens on and does not publish: `8080`, `5353/udp`.
    #[serde(default)]
    pub expose: Vec<String>,
    /// What it is on each of its networks, the one of the service first; empty: only that one, and nothing special.
    #[serde(default)]
    pub networks: Vec<NetworkAttachment>,
    /// What its named volumes are called in the engine, where that is not `<project>_<name>`.
    #[serde(default)]
    pub volume_names: BTreeMap<String, VolumeName>,
    /// Whether the health check of the image is turned off.
    #[serde(default)]
    pub no_image_health_check: bool,
    /// Whether its start may take longer than `startup_timeout` where the health check of the image does by its own
    /// figures: nothing else was said of either.
    #[serde(default)]
    pub startup_by_image: bool,
    /// What few containers need.
    #[serde(flatten)]
    pub options: EngineOptions,
}

/// What few containers need, handed to the engine as it is. What is not written does not stand in a stored specification:
/// those of a time before these options keep their digests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EngineOptions {
    /// The size of its `/dev/shm` in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<u64>,
    /// Its resource limits, by the names of the engine: `nofile`, `memlock`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ulimits: BTreeMap<String, Ulimit>,
    /// The addresses of its name servers; empty: as the engine decides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<String>,
    /// Kernel parameters of its own namespaces.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// Options of the security modules: `no-new-privileges:true`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub security_opt: Vec<String>,
    /// Groups that its user is in besides those of the image, by name or number.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub group_add: Vec<String>,
    /// `host path[:container path[:rwm]]` of devices.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
    /// What its image is for, where one is for several: `linux/arm64`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
}

/// A resource limit; -1 is without limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ulimit {
    /// What holds.
    pub soft: i64,
    /// What the container may raise it to.
    pub hard: i64,
}

/// A network that a container is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NetworkAttachment {
    /// The network.
    pub network: NetworkName,
    /// Its name in the engine; `None`: `<project>_<network>`.
    pub engine_name: Option<String>,
    /// Whether it is somebody else's: neither made nor removed, and its addresses are the engine's choice.
    pub external: bool,
    /// The address of the container there; `None`: one that is chosen.
    pub ipv4_address: Option<Ipv4Addr>,
    /// Names by which it is found there besides its service's.
    pub aliases: Vec<String>,
}

impl NetworkAttachment {
    /// To a network of the project, with nothing special.
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

/// What a named volume is called in the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VolumeName {
    /// Its name there.
    pub name: String,
    /// Whether it is somebody else's, and must be there.
    pub external: bool,
}

/// How an image is built.
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
    use crate::spec::{ServiceKind, ServiceSpec};

    #[test]
    fn an_option_is_told_when_it_comes_and_when_it_goes() {
        let without = ServiceSpec::new(ServiceKind::Docker(Box::default()));
        let docker = DockerSpec {
            options: EngineOptions {
                shm_size: Some(1),
                ..EngineOptions::default()
            },
            ..DockerSpec::default()
        };
        let with = ServiceSpec::new(ServiceKind::Docker(Box::new(docker)));
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

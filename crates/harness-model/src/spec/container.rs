//! Containers: services of `type: docker` and `type: compose`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

/// Services of an existing compose file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ComposeSpec {
    /// The compose file.
    pub file: PathBuf,
    /// Which of its services; empty: all.
    pub services: Vec<String>,
}

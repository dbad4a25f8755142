//! What a service is, and where it runs. Every combination that makes sense can be written.
//!
//! The two are stored in the form in which they have always been stored: a container is `docker`, a process on a node is
//! `remote`, and the place is `host`. So a digest from an earlier version stays the same, and a daemon of an earlier
//! version never takes a process on a node for one of its own.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::{DockerSpec, PackageSpec, ProcessSpec, ServiceSpec, Settings};
use crate::template::Template;

/// What a service is, with the keys that only this kind has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A process.
    #[serde(alias = "remote")]
    Process(ProcessSpec),
    /// A container. A service of a compose file is lowered to this too.
    #[serde(rename = "docker")]
    Container(Box<DockerSpec>),
    /// A package that is deployed and then run.
    Package(PackageSpec),
    /// A service of a type that a program added.
    Other {
        /// The word after `type:`.
        type_name: String,
        /// The keys of that type.
        settings: Settings,
    },
}

impl Kind {
    /// The name by which executors are registered.
    pub fn name(&self) -> &str {
        match self {
            Self::Process(_) => "process",
            Self::Container(_) => "docker",
            Self::Package(_) => "package",
            Self::Other { type_name, .. } => type_name,
        }
    }
}

/// Where a service runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(from = "Option<String>", into = "Option<String>")]
#[schemars(with = "Option<String>")]
pub enum Place {
    /// On this machine.
    #[default]
    Here,
    /// On a node of its network, by the `host` of that node.
    Node(String),
}

impl Place {
    /// The node; `None`: this machine.
    pub fn node(&self) -> Option<&str> {
        match self {
            Self::Here => None,
            Self::Node(name) => Some(name),
        }
    }
}

impl From<Option<String>> for Place {
    fn from(host: Option<String>) -> Self {
        host.map_or(Self::Here, Self::Node)
    }
}

impl From<Place> for Option<String> {
    fn from(place: Place) -> Self {
        match place {
            Place::Here => None,
            Place::Node(name) => Some(name),
        }
    }
}

impl ServiceSpec {
    /// The type as people see it: the word that is written after `type:`. A process on a node is `remote`.
    pub fn type_name(&self) -> &str {
        match (&self.kind, &self.place) {
            (Kind::Process(_), Place::Node(_)) => "remote",
            (kind, _) => kind.name(),
        }
    }
}

impl ServiceSpec {
    /// The texts to which the file gives names of its own: its variables, and the settings of a type that a program
    /// added.
    pub fn named_texts(&self) -> Vec<(&str, &Template)> {
        let mut out: Vec<_> = self
            .env
            .iter()
            .map(|(name, text)| (name.as_str(), text))
            .collect();
        if let Kind::Other { settings, .. } = &self.kind {
            for (name, setting) in &settings.0 {
                out.extend(setting.templates().into_iter().map(|text| (name.as_str(), text)));
            }
        }
        out
    }
}

impl Serialize for ServiceSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.type_name() != "remote" || !matches!(self.kind, Kind::Process(_)) {
            return Self::serialize(self, serializer);
        }
        let mut stored =
            Self::serialize(self, serde_json::value::Serializer).map_err(serde::ser::Error::custom)?;
        if let Some(Value::Object(kind)) = stored.get_mut("kind")
            && let Some(process) = kind.remove("process")
        {
            kind.insert("remote".to_owned(), process);
        }
        stored.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ServiceSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }
}

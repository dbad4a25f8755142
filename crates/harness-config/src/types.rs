//! Types of services, and probes of health checks, that a program adds to those of the table of keys.
//!
//! They are tables too: the same reader refuses their unknown keys, and the same JSON Schema has them. What a table cannot
//! say, their own check says.

use harness_model::spec::{Setting, Settings};

use crate::keys::{Key, SERVICE, SERVICE_TYPES};

/// A type of services: its keys stand in the service itself, beside those that every service has.
#[derive(Debug)]
pub struct ServiceType {
    /// The word after `type:`.
    pub name: &'static str,
    /// Its own keys.
    pub keys: &'static [Key],
    /// Those that must be written.
    pub required: &'static [&'static str],
    /// Keys that every other service has and that mean nothing here, so that they are refused: `tty`, `ports`.
    pub lacks: &'static [&'static str],
    /// Finds mistakes that the shapes of the keys do not show. Texts may still have references in them.
    pub check: fn(&Settings) -> Vec<Mistake>,
}

/// A probe of health checks.
#[derive(Debug)]
pub struct ProbeType {
    /// Its key in `health_check`.
    pub key: Key,
    /// Finds mistakes that the shape of the key does not show.
    pub check: fn(&Setting) -> Vec<Mistake>,
}

/// A mistake in the settings of a type or probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where: keys, and numbers of list items from 0. Empty: the settings as a whole.
    pub path: Vec<String>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl Mistake {
    /// A mistake at a key of the settings.
    pub fn at(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: vec![key.into()],
            message: message.into(),
            help: None,
        }
    }

    /// The same with what to write instead.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// The types and probes that a program adds.
#[derive(Debug, Clone, Default)]
pub struct Types {
    services: Vec<&'static ServiceType>,
    probes: Vec<&'static ProbeType>,
    probe_keys: Vec<&'static Key>,
}

/// A type cannot be added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TypeError {
    /// There is a type or probe of this name already.
    #[error("there is `{name}` already")]
    Taken {
        /// The name.
        name: &'static str,
    },
    /// Every service has a key of this name.
    #[error("the type `{type_name}` cannot have the key `{key}`: every service has it")]
    KeyOfAll {
        /// The type.
        type_name: &'static str,
        /// The key.
        key: &'static str,
    },
}

impl Types {
    /// Adds a type of services.
    ///
    /// # Errors
    /// When its name is taken, or one of its keys is one that every service has.
    pub fn with(mut self, added: &'static ServiceType) -> Result<Self, TypeError> {
        if SERVICE_TYPES.contains(&added.name) || self.service(added.name).is_some() {
            return Err(TypeError::Taken { name: added.name });
        }
        let of_all = |key: &&Key| SERVICE.key(key.name).is_some_and(|key| key.types.is_empty());
        if let Some(key) = added.keys.iter().find(of_all) {
            return Err(TypeError::KeyOfAll {
                type_name: added.name,
                key: key.name,
            });
        }
        self.services.push(added);
        Ok(self)
    }

    /// Adds a probe.
    ///
    /// # Errors
    /// When its key is taken.
    pub fn with_probe(mut self, added: &'static ProbeType) -> Result<Self, TypeError> {
        let name = added.key.name;
        if crate::keys::HEALTH_CHECK.key(name).is_some() || self.probes.iter().any(|p| p.key.name == name) {
            return Err(TypeError::Taken { name });
        }
        self.probes.push(added);
        self.probe_keys.push(&added.key);
        Ok(self)
    }

    /// No types beside those of the table.
    pub(crate) const fn none() -> Self {
        Self {
            services: Vec::new(),
            probes: Vec::new(),
            probe_keys: Vec::new(),
        }
    }

    pub(crate) fn services(&self) -> impl Iterator<Item = &'static ServiceType> + '_ {
        self.services.iter().copied()
    }

    pub(crate) fn service(&self, name: &str) -> Option<&'static ServiceType> {
        self.services().find(|added| added.name == name)
    }

    pub(crate) fn probes(&self) -> impl Iterator<Item = &'static ProbeType> + '_ {
        self.probes.iter().copied()
    }

    pub(crate) fn probe_keys(&self) -> &[&'static Key] {
        &self.probe_keys
    }

    /// Every word that may stand after `type:`.
    pub(crate) fn words(&self) -> Vec<&'static str> {
        let added = self.services().map(|added| added.name);
        SERVICE_TYPES.into_iter().chain(added).collect()
    }
}

//! Where `${VAR}` gets its value: from the environment first, then from `.env` next to the first file.

use std::collections::{BTreeMap, BTreeSet};

use harness_model::secret::is_secret_name;

use crate::source::Span;

/// The variables of a load.
#[derive(Debug, Default)]
pub(crate) struct Variables {
    pub environment: BTreeMap<String, String>,
    pub dotenv: Scope,
    /// Names that the file lists under `secrets:`.
    pub secrets: BTreeSet<String>,
}

impl Variables {
    /// The value of a variable.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.environment
            .get(name)
            .or_else(|| self.dotenv.values.get(name))
            .map(String::as_str)
    }

    /// Whether its value must not be shown.
    pub(crate) fn is_secret(&self, name: &str) -> bool {
        let derived = || self.dotenv.secrets.contains(name) && !self.environment.contains_key(name);
        self.secrets.contains(name) || is_secret_name(name) || derived()
    }

    /// Every name that has a value.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.environment
            .keys()
            .chain(self.dotenv.values.keys())
            .map(String::as_str)
    }
}

/// Variables of one file. Those of the environment override them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    pub values: BTreeMap<String, String>,
    /// Variables with values that must not be shown, whatever their names are.
    pub secrets: BTreeSet<String>,
    /// Where each of them is written.
    pub places: BTreeMap<String, String>,
    /// Those that stand in a `.env` and cannot be read: where, and why.
    pub unreadable: BTreeMap<String, (Span, String)>,
}

impl Scope {
    /// Sets the value of a variable.
    pub(crate) fn insert(&mut self, name: &str, value: String, secret: bool) {
        self.values.insert(name.to_owned(), value);
        self.unreadable.remove(name);
        if secret {
            self.secrets.insert(name.to_owned());
        } else {
            self.secrets.remove(name);
        }
    }
}

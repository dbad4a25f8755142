//! Where `${VAR}` gets its value: from the environment first, then from `.env` next to the first file.

use std::collections::{BTreeMap, BTreeSet};

use harness_model::secret::is_secret_name;

use crate::diagnostics::Finding;
use crate::env_file::{self, Dialect, Value};
use crate::source::Sources;

/// The variables of a load.
#[derive(Debug, Default)]
pub(crate) struct Variables {
    pub environment: BTreeMap<String, String>,
    pub dotenv: BTreeMap<String, String>,
    /// Names that the file lists under `secrets:`.
    pub secrets: BTreeSet<String>,
}

impl Variables {
    /// The value of a variable.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.environment
            .get(name)
            .or_else(|| self.dotenv.get(name))
            .map(String::as_str)
    }

    /// Whether its value must not be shown.
    pub(crate) fn is_secret(&self, name: &str) -> bool {
        self.secrets.contains(name) || is_secret_name(name)
    }

    /// Every name that has a value.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.environment
            .keys()
            .chain(self.dotenv.keys())
            .map(String::as_str)
    }
}

/// Variables of one file. Those of the environment override them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    pub values: BTreeMap<String, String>,
    /// Variables with values that must not be shown, whatever their names are.
    pub secrets: BTreeSet<String>,
}

impl Scope {
    /// Sets the value of a variable.
    pub(crate) fn insert(&mut self, name: &str, value: String, secret: bool) {
        self.values.insert(name.to_owned(), value);
        if secret {
            self.secrets.insert(name.to_owned());
        } else {
            self.secrets.remove(name);
        }
    }
}

/// Reads the variables of an env file. Their values are taken literally.
pub(crate) fn parse_env_file(
    sources: &Sources,
    file: usize,
    findings: &mut Vec<Finding>,
) -> BTreeMap<String, String> {
    let lines = env_file::lines(sources, file, Dialect::Literal, findings);
    let pairs = lines.into_iter().filter_map(|line| match line.value {
        Value::Literal(value) | Value::Text(value) => Some((line.name, value)),
        Value::Inherited => None,
    });
    pairs.collect()
}

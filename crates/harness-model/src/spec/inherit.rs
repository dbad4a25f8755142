//! What services take from the environment of whoever starts them.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Variables that every program needs.
const NEEDED: [&str; 9] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "TZ",
    "TMPDIR",
    "SSH_AUTH_SOCK",
];

/// The beginnings of the names of further ones.
const NEEDED_PREFIXES: [&str; 2] = ["LC_", "XDG_"];

/// What a service takes from the environment of whoever started it, besides what every program needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InheritEnv {
    /// Only what every program needs (PATH, HOME, LANG, …).
    #[default]
    Minimal,
    /// These variables too.
    Only(BTreeSet<String>),
    /// Everything.
    All,
}

impl InheritEnv {
    /// Whether it takes the variable of this name.
    ///
    /// ```
    /// use harness_model::spec::InheritEnv;
    /// assert!(InheritEnv::Minimal.takes("PATH"));
    /// assert!(!InheritEnv::Minimal.takes("EDITOR"));
    /// assert!(InheritEnv::All.takes("EDITOR"));
    /// ```
    pub fn takes(&self, name: &str) -> bool {
        let needed =
            || NEEDED.contains(&name) || NEEDED_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(name) || needed(),
            Self::Minimal => needed(),
        }
    }
}

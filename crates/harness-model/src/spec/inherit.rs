//! Which variables services get from the environment of the user who starts them.

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

/// The beginnings of the names of more such variables.
const NEEDED_PREFIXES: [&str; 2] = ["LC_", "XDG_"];

/// What a service gets from the environment of the user who started it, in addition to what every program needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InheritEnv {
    /// Only what every program needs (PATH, HOME, LANG, …).
    #[default]
    Minimal,
    /// Also these variables.
    Only(BTreeSet<String>),
    /// Everything.
    All,
}

impl InheritEnv {
    /// Whether the service gets the variable with this name.
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

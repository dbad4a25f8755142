//! What of the CLI's environment services get.

use std::collections::BTreeMap;

use harness_model::spec::InheritEnv;
use harness_model::{ProjectSpec, SecretString};

/// What every program needs.
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
/// The beginnings of names that every program needs.
const NEEDED_PREFIXES: [&str; 2] = ["LC_", "XDG_"];

/// What of the CLI's environment the daemon needs to start this project's services: what every program needs, and
/// what their `inherit_env` asks for.
pub fn inherited_environment(
    project: &ProjectSpec,
    environment: &BTreeMap<String, String>,
) -> BTreeMap<String, SecretString> {
    let wanted = |name: &str| {
        NEEDED.contains(&name)
            || NEEDED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            || project
                .services
                .values()
                .any(|service| match &service.inherit_env {
                    InheritEnv::Minimal => false,
                    InheritEnv::Only(names) => names.contains(name),
                    InheritEnv::All => true,
                })
    };
    environment
        .iter()
        .filter(|(name, _)| wanted(name))
        .map(|(name, value)| (name.clone(), SecretString::new(value.clone())))
        .collect()
}

//! What of the CLI's environment services get.

use std::collections::BTreeMap;

use harness_model::spec::InheritEnv;
use harness_model::{ProjectSpec, SecretString};

/// What of the CLI's environment the daemon needs to start this project's services: what every program needs, and
/// what their `inherit_env` asks for.
pub fn inherited_environment(
    project: &ProjectSpec,
    environment: &BTreeMap<String, String>,
) -> BTreeMap<String, SecretString> {
    let wanted = |name: &str| {
        InheritEnv::Minimal.takes(name) || project.services.values().any(|s| s.inherit_env.takes(name))
    };
    environment
        .iter()
        .filter(|(name, _)| wanted(name))
        .map(|(name, value)| (name.clone(), SecretString::new(value.clone())))
        .collect()
}

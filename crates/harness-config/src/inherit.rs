//! Chooses which variables of the CLI's environment services get.

use std::collections::BTreeMap;

use harness_model::spec::InheritEnv;
use harness_model::{ProjectSpec, SecretString};

/// The variables of the CLI's environment that the daemon needs to start this project's services: those that every
/// program needs, and those that `inherit_env` asks for.
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

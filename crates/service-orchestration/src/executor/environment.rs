//! The environment of a service: what it inherits, the addresses of its dependencies, then its own `env`.

use std::collections::BTreeMap;

use harness_model::{SecretString, ServiceSpec};

use super::LaunchError;

/// The PATH of a service that inherits none.
pub(super) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The whole environment of a service; later sources win.
///
/// # Errors
/// When a value still contains a reference.
pub fn compose(
    spec: &ServiceSpec,
    inherited: &BTreeMap<String, SecretString>,
    addresses: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, SecretString>, LaunchError> {
    let mut env = BTreeMap::from([("PATH".to_owned(), SecretString::new(DEFAULT_PATH))]);
    env.extend(inherited.iter().map(|(k, v)| (k.clone(), v.clone())));
    env.extend(
        addresses
            .iter()
            .map(|(k, v)| (k.clone(), SecretString::new(v.as_str()))),
    );
    for (name, value) in &spec.env {
        let value = value.expose().ok_or_else(|| LaunchError::Unresolved {
            text: value.to_string(),
        })?;
        env.insert(name.clone(), SecretString::new(value));
    }
    Ok(env)
}

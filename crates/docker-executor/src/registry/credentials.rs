//! Credentials for one registry, and how an engine is given them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use bollard::Docker;
use harness_model::{Redactor, SecretString};
use serde_json::{Value, json};

/// Credentials for one registry.
#[derive(Debug, Clone, Default)]
pub(crate) struct Credentials {
    /// The name by which the engine knows the registry.
    pub(super) server: String,
    /// Where they come from: the file or a helper.
    pub(super) source: String,
    pub(super) username: String,
    pub(super) password: SecretString,
    pub(super) identity_token: SecretString,
    pub(super) registry_token: SecretString,
}

impl Credentials {
    /// From the answer of a helper.
    pub(crate) fn told(server: &str, source: &str, username: String, secret: SecretString) -> Self {
        let told = Self {
            server: server.to_owned(),
            source: source.to_owned(),
            ..Self::default()
        };
        // This user name means that the secret is a token and not a password.
        match username.as_str() {
            "<token>" => Self {
                identity_token: secret,
                ..told
            },
            _ => Self {
                username,
                password: secret,
                ..told
            },
        }
    }

    /// Whether they say nothing.
    pub(super) fn is_empty(&self) -> bool {
        let secrets = [&self.password, &self.identity_token, &self.registry_token];
        self.username.is_empty() && secrets.iter().all(|secret| secret.expose().is_empty())
    }

    /// Where they come from, as text for people.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// The JSON that engines expect.
    pub(super) fn json(&self) -> Value {
        json!({
            "username": self.username,
            "password": self.password.expose(),
            "identitytoken": self.identity_token.expose(),
            "registrytoken": self.registry_token.expose(),
            "serveraddress": self.server,
        })
    }

    /// The texts that must not be shown, in the forms that registries see.
    fn secrets(&self) -> Vec<SecretString> {
        let basic = STANDARD.encode(format!("{}:{}", self.username, self.password.expose()));
        vec![
            self.password.clone(),
            self.identity_token.clone(),
            self.registry_token.clone(),
            SecretString::new(basic),
        ]
    }
}

/// Hides the given credentials where an engine repeats them.
pub(crate) fn redactor<'a>(given: impl IntoIterator<Item = &'a Credentials>) -> Redactor {
    let secrets: Vec<SecretString> = given.into_iter().flat_map(Credentials::secrets).collect();
    Redactor::new(&secrets)
}

/// A connection that sends these credentials with each request, for one pull.
pub(crate) fn for_pull(docker: Docker, credentials: &Credentials) -> Docker {
    with(docker, "x-registry-auth", &credentials.json())
}

/// The same for a build, which may pull from several registries.
pub(crate) fn for_build<'a>(docker: Docker, all: impl Iterator<Item = &'a Credentials>) -> Docker {
    let by_server: serde_json::Map<_, _> = all.map(|one| (one.server.clone(), one.json())).collect();
    if by_server.is_empty() {
        return docker;
    }
    with(docker, "x-registry-config", &Value::Object(by_server))
}

/// Engines expect base64 with the URL alphabet, but bollard uses another one for credentials. So the header is added
/// here.
fn with(docker: Docker, header: &'static str, value: &Value) -> Docker {
    let encoded = SecretString::new(URL_SAFE.encode(value.to_string()));
    docker.with_request_modifier(move |mut request| {
        if let Ok(value) = encoded.expose().parse() {
            request.headers_mut().insert(header, value);
        }
        if let Some(value) = request.headers_mut().get_mut(header) {
            value.set_sensitive(true);
        }
        request
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_shows_a_secret() {
        let told = Credentials::told(
            "r.example",
            "helper",
            "me".to_owned(),
            SecretString::new("sesame>?~"),
        );
        assert!(!format!("{told:?}").contains("sesame"));
        let basic = STANDARD.encode("me:sesame>?~");
        let repeated = redactor([&told]).redact(&format!("sesame>?~ and {basic}"));
        assert_eq!(repeated, "••• and •••");
    }
}

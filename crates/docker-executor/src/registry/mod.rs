//! The registry of an image, and the names under which Docker's clients keep credentials for it.

pub(crate) mod access;
pub(crate) mod credentials;
pub(crate) mod helper;
pub(crate) mod kept;

use std::fmt;

/// The registry of images that name none.
const HUB: &str = "docker.io";

/// The older name of Docker Hub, which is still used where credentials are kept.
const HUB_SERVER: &str = "https://index.docker.io/v1/";

/// A registry, by its name: `docker.io`, `registry.example:5000`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Registry(String);

impl Registry {
    /// The registry that an image is pulled from.
    pub(crate) fn of_image(image: &str) -> Self {
        let name = match image.split_once('/') {
            // The same rule by which Docker's clients recognize a registry in the first part of a path.
            Some((first, _))
                if first.contains(['.', ':'])
                    || first == "localhost"
                    || first.contains(|c: char| c.is_ascii_uppercase()) =>
            {
                first
            }
            _ => HUB,
        };
        match name {
            "index.docker.io" => Self(HUB.to_owned()),
            name => Self(name.to_owned()),
        }
    }

    /// The registry with credentials that are kept under this name.
    pub(crate) fn of_server(server: &str) -> Self {
        let name = hostname(server);
        match name {
            "index.docker.io" => Self(HUB.to_owned()),
            name => Self(name.to_owned()),
        }
    }

    fn is_hub(&self) -> bool {
        self.0 == HUB
    }

    /// The name under which its credentials are kept, and by which engines and helpers know it.
    pub(crate) fn server(&self) -> &str {
        if self.is_hub() { HUB_SERVER } else { &self.0 }
    }

    /// Whether credentials under this name are for this registry. Older clients wrote the name with a scheme and a
    /// path.
    pub(crate) fn is_kept_as(&self, server: &str) -> bool {
        if self.is_hub() {
            let bare = without_scheme(server).trim_end_matches('/');
            // Docker keeps other tokens of the Hub under longer paths.
            return matches!(bare, HUB | "index.docker.io" | "index.docker.io/v1");
        }
        self.0 == hostname(server)
    }

    /// The command that stores credentials for it.
    pub(crate) fn login(&self) -> String {
        if self.is_hub() {
            "docker login".to_owned()
        } else {
            format!("docker login {self}")
        }
    }
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn without_scheme(server: &str) -> &str {
    let bare = server.strip_prefix("https://");
    bare.or_else(|| server.strip_prefix("http://")).unwrap_or(server)
}

fn hostname(server: &str) -> &str {
    let bare = without_scheme(server);
    bare.split('/').next().unwrap_or(bare)
}

/// Whether a registry refused because of wrong or missing credentials. Engines say so only in words.
pub(crate) fn is_refusal(message: &str) -> bool {
    let message = message.to_lowercase();
    let refused = [
        "unauthorized",
        "no basic auth credentials",
        "authentication required",
        "access denied",
        ": denied",
        "access to the resource is denied",
        "insufficient_scope",
        "403 forbidden",
    ];
    // A step of a build may have failed because another server refused.
    !message.contains("returned a non-zero code") && refused.iter().any(|words| message.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_of_registries() {
        for (image, registry) in [
            ("postgres", "docker.io"),
            ("postgres:16", "docker.io"),
            ("library/postgres", "docker.io"),
            ("shop/web:1", "docker.io"),
            ("docker.io/library/postgres", "docker.io"),
            ("index.docker.io/library/postgres", "docker.io"),
            ("localhost/web", "localhost"),
            ("localhost:5000/web", "localhost:5000"),
            ("registry.example/shop/web@sha256:00", "registry.example"),
            ("Registry/shop/web", "Registry"),
        ] {
            assert_eq!(Registry::of_image(image).to_string(), registry, "{image}");
        }
    }

    #[test]
    fn credentials_are_kept_under_several_names() {
        let hub = Registry::of_image("postgres");
        assert_eq!(hub.server(), "https://index.docker.io/v1/");
        assert_eq!(hub.login(), "docker login");
        for server in [
            "https://index.docker.io/v1/",
            "index.docker.io",
            "docker.io",
            "https://docker.io/",
        ] {
            assert!(hub.is_kept_as(server), "{server}");
            assert_eq!(Registry::of_server(server), hub);
        }
        for server in ["https://index.docker.io/v1/access-token", "registry.example", ""] {
            assert!(!hub.is_kept_as(server), "{server}");
        }
        let own = Registry::of_image("registry.example:5000/web");
        assert_eq!(own.server(), "registry.example:5000");
        assert_eq!(own.login(), "docker login registry.example:5000");
        for server in [
            "registry.example:5000",
            "https://registry.example:5000/v2/",
            "http://registry.example:5000",
        ] {
            assert!(own.is_kept_as(server), "{server}");
        }
        for server in ["registry.example", "registry.example:50001", "docker.io"] {
            assert!(!own.is_kept_as(server), "{server}");
        }
    }

    #[test]
    fn refusals_are_told_from_other_failures() {
        for message in [
            "Head \"http://127.0.0.1:5000/v2/web/manifests/1\": no basic auth credentials",
            "pull access denied for web, repository does not exist or may require 'docker login'",
            "Head \"https://registry.example/v2/web/manifests/1\": unauthorized: HTTP Basic: Access denied",
            "Get \"https://registry.example/v2/\": denied: token has expired",
        ] {
            assert!(is_refusal(message), "{message}");
        }
        for message in [
            "manifest for web@sha256:401 not found: manifest unknown",
            "open /var/lib/docker/tmp: permission denied",
            "The command 'curl -f x # unauthorized' returned a non-zero code: 22",
        ] {
            assert!(!is_refusal(message), "{message}");
        }
    }
}

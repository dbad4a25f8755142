//! Which engine: read from the environment and from Docker's own files, in the order in which the docker program does.
//!
//! `DOCKER_HOST`, else the context that `DOCKER_CONTEXT` names, else the one of `docker context use`, else this machine's.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Where the engine listens unless something else is said.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// The context that stands for no context.
const DEFAULT_CONTEXT: &str = "default";

/// Largest file of a context, in bytes.
const MAX_SIZE: u64 = 1 << 20;

/// Where an engine is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// A Unix socket.
    Socket(PathBuf),
    /// A port of this machine, `tcp://localhost:2375`.
    Tcp(String),
}

/// Why it is not known where the engine is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AddressError {
    /// A way to reach it that there is not.
    #[error(
        "{from} `{host}` is not supported: an engine is reached at unix:// or, on this machine, tcp://; for another \
         machine's, run harness there"
    )]
    Unsupported { host: String, from: String },
    /// Addresses of its containers would lead nowhere.
    #[error(
        "{from} `{host}` is not this machine's: containers there would not be reached at their addresses; run harness \
         there, or use an engine of this machine"
    )]
    Elsewhere { host: String, from: String },
    /// It wants certificates.
    #[error(
        "{from} `{host}` with TLS is not supported: use the engine's Unix socket, or unset DOCKER_TLS_VERIFY"
    )]
    Tls { host: String, from: String },
    /// A context that is not there.
    #[error("{from} names the Docker context `{name}`, which is not in {}: `docker context ls` shows those that are", folder.display())]
    NoContext {
        name: String,
        from: &'static str,
        folder: PathBuf,
    },
    /// One of Docker's files makes no sense.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
}

/// What the docker program goes by.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    host: Option<String>,
    context: Option<String>,
    tls: bool,
    /// The folder of its files.
    config: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Config {
    #[serde(rename = "currentContext")]
    current_context: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Context {
    name: String,
    #[serde(default)]
    endpoints: Endpoints,
}

#[derive(Deserialize, Default)]
struct Endpoints {
    docker: Option<Endpoint>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint {
    host: Option<String>,
}

impl Environment {
    /// This process's.
    pub(crate) fn of_process() -> Self {
        let variable = |name| {
            std::env::var(name)
                .ok()
                .filter(|value: &String| !value.is_empty())
        };
        let folder = |name| variable(name).map(PathBuf::from);
        Self {
            host: variable("DOCKER_HOST"),
            context: variable("DOCKER_CONTEXT"),
            tls: variable("DOCKER_TLS_VERIFY").is_some() || variable("DOCKER_TLS").is_some(),
            config: folder("DOCKER_CONFIG").or_else(|| Some(folder("HOME")?.join(".docker"))),
        }
    }

    /// The folder of the docker program's files.
    pub(crate) fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// Which engine it means. Blocks on the disk.
    ///
    /// # Errors
    /// When it is one that is not supported, or cannot be told.
    pub(crate) fn address(&self) -> Result<Address, AddressError> {
        if let Some(host) = &self.host {
            return Address::parse(host, "DOCKER_HOST", self.tls);
        }
        let Some((name, from)) = self.context_name()? else {
            return Ok(Address::Socket(DEFAULT_SOCKET.into()));
        };
        let folder = self.config.clone().unwrap_or_default().join("contexts/meta");
        match find(&folder, &name)? {
            Some(Context {
                endpoints:
                    Endpoints {
                        docker: Some(Endpoint { host: Some(host) }),
                    },
                ..
            }) => Address::parse(&host, &format!("the Docker context `{name}`"), self.tls),
            _ => Err(AddressError::NoContext { name, from, folder }),
        }
    }

    /// The context, and who says so.
    fn context_name(&self) -> Result<Option<(String, &'static str)>, AddressError> {
        let named = match (&self.context, &self.config) {
            (Some(name), _) => Some((name.clone(), "DOCKER_CONTEXT")),
            (None, Some(folder)) => {
                let config: Option<Config> = read(&folder.join("config.json"))?;
                let current = config.and_then(|config| config.current_context);
                current.map(|name| (name, "`docker context use`"))
            }
            (None, None) => None,
        };
        Ok(named.filter(|(name, _)| !name.is_empty() && name != DEFAULT_CONTEXT))
    }
}

impl Address {
    /// Reads what stands in `DOCKER_HOST`; `from` is who says so.
    pub(crate) fn parse(text: &str, from: &str, tls: bool) -> Result<Self, AddressError> {
        let (host, from) = (text.to_owned(), from.to_owned());
        let (scheme, rest) = text.split_once("://").unwrap_or(("tcp", text));
        match scheme {
            "unix" if rest.starts_with('/') => Ok(Self::Socket(rest.into())),
            "tcp" | "http" if !is_here(rest) => Err(AddressError::Elsewhere { host, from }),
            "tcp" | "http" if tls => Err(AddressError::Tls { host, from }),
            "tcp" | "http" => Ok(Self::Tcp(format!("tcp://{rest}"))),
            _ => Err(AddressError::Unsupported { host, from }),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(host) => f.write_str(host),
        }
    }
}

/// Whether `host:port` is a port of this machine.
fn is_here(authority: &str) -> bool {
    let authority = authority.split('/').next().unwrap_or_default();
    let (host, _) = authority.rsplit_once(':').unwrap_or((authority, ""));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The folders of contexts are named by a digest; their files by the name itself.
fn find(folder: &Path, name: &str) -> Result<Option<Context>, AddressError> {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let context: Option<Context> = read(&entry.path().join("meta.json"))?;
        if let Some(context) = context.filter(|context| context.name == name) {
            return Ok(Some(context));
        }
    }
    Ok(None)
}

fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<Option<T>, AddressError> {
    let unreadable = |source| AddressError::Unreadable {
        path: path.to_owned(),
        source,
    };
    match harness_files::read(path, MAX_SIZE).map_err(io::Error::from) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| unreadable(error.into())),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(unreadable(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(address: Result<Address, AddressError>) -> String {
        address.map_or_else(|error| error.to_string(), |address| address.to_string())
    }

    #[test]
    fn hosts_are_taken_or_refused_by_name() {
        let parse = |text: &str, tls| words(Address::parse(text, "DOCKER_HOST", tls));
        for (text, wanted) in [
            ("unix:///run/x.sock", "unix:///run/x.sock"),
            ("tcp://127.0.0.1:2375", "tcp://127.0.0.1:2375"),
            ("http://localhost:2375", "tcp://localhost:2375"),
            ("tcp://[::1]:2375", "tcp://[::1]:2375"),
            ("localhost:2375", "tcp://localhost:2375"),
        ] {
            assert_eq!(parse(text, false), wanted);
        }
        for (text, why) in [
            ("ssh://me@host", "DOCKER_HOST `ssh://me@host` is not supported"),
            ("unix://relative", "not supported"),
            ("npipe:////./pipe/x", "not supported"),
            ("tcp://10.0.0.7:2375", "is not this machine's"),
            ("tcp://localhost.example:2375", "is not this machine's"),
        ] {
            assert!(parse(text, false).contains(why), "{text}: {}", parse(text, false));
        }
        assert!(parse("tcp://127.0.0.1:2376", true).contains("with TLS"));
        assert_eq!(parse("unix:///x", true), "unix:///x");
    }

    #[test]
    fn contexts_are_found_as_the_docker_program_does() {
        let folder = tempfile::tempdir().unwrap();
        let context = |digest: &str, text: &str| {
            let folder = folder.path().join("contexts/meta").join(digest);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("meta.json"), text).unwrap();
        };
        context(
            "a1",
            r#"{"Name":"one","Metadata":{},"Endpoints":{"docker":{"Host":"unix:///one","SkipTLSVerify":false}}}"#,
        );
        context(
            "b2",
            r#"{"Name":"far","Endpoints":{"docker":{"Host":"ssh://far"}}}"#,
        );
        let environment = |host: Option<&str>, context: Option<&str>| Environment {
            host: host.map(str::to_owned),
            context: context.map(str::to_owned),
            tls: false,
            config: Some(folder.path().to_owned()),
        };
        let said = |host, context| words(environment(host, context).address());
        let usual = format!("unix://{DEFAULT_SOCKET}");
        assert_eq!(said(None, None), usual);
        assert_eq!(said(None, Some("one")), "unix:///one");
        let current = folder.path().join("config.json");
        std::fs::write(&current, r#"{"auths":{},"currentContext":"one"}"#).unwrap();
        assert_eq!(said(None, None), "unix:///one");
        assert_eq!(said(Some("unix:///h"), Some("one")), "unix:///h");
        assert_eq!(said(None, Some("default")), usual);
        let far = said(None, Some("far"));
        assert!(
            far.contains("context `far` `ssh://far` is not supported"),
            "{far}"
        );
        let missing = said(None, Some("missing"));
        assert!(
            missing.starts_with("DOCKER_CONTEXT names the Docker context `missing`"),
            "{missing}"
        );
        std::fs::write(&current, "not json").unwrap();
        assert!(said(None, None).contains("config.json"), "{}", said(None, None));
    }
}

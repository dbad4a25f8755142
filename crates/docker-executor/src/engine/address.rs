//! Which engine to use. This is read from the environment and Docker's own files, in the same order as the docker
//! program.
//!
//! First `DOCKER_HOST`, then the context that `DOCKER_CONTEXT` names, then the context of `docker context use`, and
//! else the engine of this machine.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The socket of the engine if nothing else is configured.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// The name that means: no context.
const DEFAULT_CONTEXT: &str = "default";

/// The largest size of a context file, in bytes.
const MAX_SIZE: u64 = 1 << 20;

/// How to reach an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// A Unix socket.
    Socket(PathBuf),
    /// A port of this machine, `tcp://localhost:2375`.
    Tcp(String),
}

/// Why the address of the engine is unknown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AddressError {
    /// This way to reach an engine is not supported.
    #[error(
        "{from} `{host}` is not supported: use unix:// or, for an engine on this machine, tcp://. To use an engine on \
         another machine, run harness there"
    )]
    Unsupported { host: String, from: String },
    /// The addresses of its containers would not work here.
    #[error(
        "{from} `{host}` is on another machine: its containers cannot be reached at their addresses from here. Run \
         harness there, or use an engine on this machine"
    )]
    Elsewhere { host: String, from: String },
    /// It requires certificates.
    #[error(
        "{from} `{host}` with TLS is not supported: use the engine's Unix socket, or unset DOCKER_TLS_VERIFY"
    )]
    Tls { host: String, from: String },
    /// There is no such context.
    #[error("{from} names the Docker context `{name}`, which is not in {}: `docker context ls` lists the existing ones", folder.display())]
    NoContext {
        name: String,
        from: &'static str,
        folder: PathBuf,
    },
    /// One of Docker's files cannot be understood.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
}

/// The settings that the docker program uses.
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
    /// The environment of this process.
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

    /// The address of the engine. Blocks on the disk.
    ///
    /// # Errors
    /// When the address is not supported, or cannot be found out.
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

    /// The name of the context, and which setting names it.
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
    /// Parses the text of `DOCKER_HOST`; `from` is the setting that it comes from.
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

/// The folders of contexts are named by a digest. The name itself is in their files.
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
            ("tcp://10.0.0.7:2375", "is on another machine"),
            ("tcp://localhost.example:2375", "is on another machine"),
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

//! The credentials that an engine may pass to registries, and what to say when a registry refuses.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use bollard::Docker;
use harness_model::Redactor;
use service_orchestration::words::chain;

use crate::registry::Registry;
use crate::registry::credentials::{self, Credentials};
use crate::registry::kept::Kept;

/// The credentials for one registry, or why there are none.
#[derive(Debug)]
pub(crate) struct Access {
    registry: Registry,
    shown: Shown,
}

#[derive(Debug)]
enum Shown {
    /// These credentials.
    Credentials(Credentials),
    /// None: this file has none.
    NoneIn(PathBuf),
    /// None, for this reason.
    Failed(String),
}

impl Access {
    /// Finds the credentials for a registry in the folder of the docker program's files.
    pub(crate) async fn to(registry: Registry, folder: Option<&Path>) -> Self {
        let kept = Kept::read(folder).await;
        match kept {
            Ok(kept) => Self::kept(registry, &kept).await,
            Err(error) => Self::failed(registry, chain(&error)),
        }
    }

    /// The same for several registries. With `others`, also for all other registries that the files know.
    pub(crate) async fn to_all(
        mut registries: BTreeSet<Registry>,
        others: bool,
        folder: Option<&Path>,
    ) -> Vec<Self> {
        if registries.is_empty() && !others {
            return Vec::new();
        }
        let kept = match Kept::read(folder).await {
            Ok(kept) => kept,
            Err(error) => {
                let failed = |registry| Self::failed(registry, chain(&error));
                return registries.into_iter().map(failed).collect();
            }
        };
        if others {
            registries.extend(kept.registries());
        }
        let mut found = Vec::new();
        for registry in registries {
            found.push(Self::kept(registry, &kept).await);
        }
        found
    }

    async fn kept(registry: Registry, kept: &Kept) -> Self {
        let shown = match kept.of(&registry).await {
            Ok(Some(credentials)) => Shown::Credentials(credentials),
            Ok(None) => Shown::NoneIn(kept.path().to_owned()),
            Err(error) => return Self::failed(registry, chain(&error)),
        };
        Self { registry, shown }
    }

    fn failed(registry: Registry, why: String) -> Self {
        tracing::warn!(%registry, why, "asking a registry without credentials");
        let shown = Shown::Failed(why);
        Self { registry, shown }
    }

    fn credentials(&self) -> Option<&Credentials> {
        match &self.shown {
            Shown::Credentials(credentials) => Some(credentials),
            Shown::NoneIn(_) | Shown::Failed(_) => None,
        }
    }

    /// A connection with requests that carry the credentials, for one pull.
    pub(crate) fn for_pull(&self, docker: Docker) -> Docker {
        match self.credentials() {
            Some(credentials) => credentials::for_pull(docker, credentials),
            None => docker,
        }
    }

    /// Whether an engine's message is about this registry.
    fn is_meant(&self, message: &str) -> bool {
        message.contains(&self.registry.to_string())
    }
}

/// A connection with requests that carry all of the credentials, for one build.
pub(crate) fn for_build(docker: Docker, all: &[Access]) -> Docker {
    let credentials = all.iter().filter_map(Access::credentials);
    credentials::for_build(docker, credentials)
}

/// Hides the credentials where engines and registries repeat them.
pub(crate) fn redactor(all: &[Access]) -> Redactor {
    credentials::redactor(all.iter().filter_map(Access::credentials))
}

/// The ones that an engine's message may be about.
pub(crate) fn meant(all: Vec<Access>, message: &str) -> Vec<Access> {
    let (meant, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|access| access.is_meant(message));
    if meant.is_empty() { others } else { meant }
}

/// What to do when the registry refuses.
impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { registry, shown } = self;
        let login = registry.login();
        match shown {
            Shown::Credentials(credentials) => write!(
                f,
                "registry {registry} refuses the credentials from {}: run `{login}` to replace them",
                credentials.source()
            ),
            Shown::NoneIn(file) if file.as_os_str().is_empty() => {
                write!(
                    f,
                    "registry {registry} was given no credentials, because the daemon has no HOME"
                )
            }
            Shown::NoneIn(file) => write!(
                f,
                "registry {registry} was given no credentials, because {} has none for it: run `{login}`",
                file.display()
            ),
            Shown::Failed(why) => write!(
                f,
                "registry {registry} was given no credentials: {why} (run `{login}`)"
            ),
        }
    }
}

/// Several in one line.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) Vec<Access>);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, access) in self.0.iter().enumerate() {
            let between = if index == 0 { "" } else { "; " };
            write!(f, "{between}{access}")?;
        }
        Ok(())
    }
}

//! What an engine is given to show to registries, and what to say when they refuse.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use bollard::Docker;
use harness_model::Redactor;
use service_orchestration::words::chain;

use crate::credentials::{self, Credentials, Kept};
use crate::registry::Registry;

/// What is shown to a registry.
#[derive(Debug)]
pub(crate) struct Access {
    registry: Registry,
    shown: Shown,
}

#[derive(Debug)]
enum Shown {
    /// These.
    Credentials(Credentials),
    /// Nothing: this file has none.
    NoneIn(PathBuf),
    /// Nothing, for this reason.
    Failed(String),
}

impl Access {
    /// What there is for a registry in the folder of the docker program's files.
    pub(crate) async fn to(registry: Registry, folder: Option<&Path>) -> Self {
        let kept = Kept::read(folder).await;
        match kept {
            Ok(kept) => Self::kept(registry, &kept).await,
            Err(error) => Self::failed(registry, chain(&error)),
        }
    }

    /// The same for several; for `others`, for all that the files know besides.
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
        tracing::warn!(%registry, why, "a registry is asked without credentials");
        let shown = Shown::Failed(why);
        Self { registry, shown }
    }

    fn credentials(&self) -> Option<&Credentials> {
        match &self.shown {
            Shown::Credentials(credentials) => Some(credentials),
            Shown::NoneIn(_) | Shown::Failed(_) => None,
        }
    }

    /// A connection whose requests show it, for one pull.
    pub(crate) fn for_pull(&self, docker: Docker) -> Docker {
        match self.credentials() {
            Some(credentials) => credentials::for_pull(docker, credentials),
            None => docker,
        }
    }

    /// Whether an engine's words are about its registry.
    fn is_meant(&self, message: &str) -> bool {
        message.contains(&self.registry.to_string())
    }
}

/// A connection whose requests show all of it, for one build.
pub(crate) fn for_build(docker: Docker, all: &[Access]) -> Docker {
    let credentials = all.iter().filter_map(Access::credentials);
    credentials::for_build(docker, credentials)
}

/// Hides what engines and registries may repeat of what is shown to them.
pub(crate) fn redactor(all: &[Access]) -> Redactor {
    credentials::redactor(all.iter().filter_map(Access::credentials))
}

/// Those that an engine's words may be about.
pub(crate) fn meant(all: Vec<Access>, message: &str) -> Vec<Access> {
    let (meant, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|access| access.is_meant(message));
    if meant.is_empty() { others } else { meant }
}

/// What to do about a refusal.
impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { registry, shown } = self;
        let login = registry.login();
        match shown {
            Shown::Credentials(credentials) => write!(
                f,
                "registry {registry} refuses the credentials that {} has for it: `{login}` replaces them",
                credentials.source()
            ),
            Shown::NoneIn(file) if file.as_os_str().is_empty() => {
                write!(
                    f,
                    "registry {registry} was given no credentials, since the daemon has no HOME"
                )
            }
            Shown::NoneIn(file) => write!(
                f,
                "registry {registry} was given no credentials, since there are none for it in {}: `{login}` leaves them there",
                file.display()
            ),
            Shown::Failed(why) => write!(
                f,
                "registry {registry} was given no credentials: {why} (`{login}`)"
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

//! Hides the secrets of a project in text of other programs: output, probe answers, what an engine says.
//!
//! ```text
//! foreign text ──▶ hidden where it comes in ──▶ Harness's own sentences ──▶ record, events, answers
//! ```
//!
//! This is done where such text comes in, and nowhere else. Harness's own sentences are built from values that never
//! show a secret, and they are never searched: otherwise a password `exited` would make them unreadable.
//!
//! A service may have got hold of another service's secret, so all secrets of the project are hidden. A project may
//! have a thousand services with secrets each. So the search structure is built once for the current specs, when it
//! is first needed, and again when a spec has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use harness_model::secret::is_secret_name;
use harness_model::{ProjectName, Redactor, SecretString};
use service_registry::Registry;

/// Hides the secrets of each project. Clones share the search structures.
#[derive(Clone)]
pub struct Redactors {
    registry: Registry,
    made: Arc<Mutex<BTreeMap<ProjectName, Made>>>,
}

struct Made {
    /// [`Registry::spec_revision`] as it was before this was built.
    revision: u64,
    redactor: Arc<Redactor>,
}

impl Redactors {
    /// For the projects of this registry.
    pub fn new(registry: Registry) -> Self {
        Self {
            registry,
            made: Arc::default(),
        }
    }

    /// Hides the secrets of a project: those of its current and former specs, and the inherited values whose variable
    /// has the name of a secret.
    pub fn of(&self, project: &ProjectName) -> Arc<Redactor> {
        let revision = self.registry.spec_revision();
        if let Some(made) = self.lock().get(project)
            && made.revision == revision
        {
            return Arc::clone(&made.redactor);
        }
        let redactor = Arc::new(make(&self.registry, project));
        let made = Made {
            revision,
            redactor: Arc::clone(&redactor),
        };
        let mut all = self.lock();
        all.insert(project.clone(), made);
        all.retain(|project, _| self.registry.project(project).is_some());
        redactor
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ProjectName, Made>> {
        // Each entry is complete in itself, even after a panic.
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Redactors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactors").finish_non_exhaustive()
    }
}

fn make(registry: &Registry, project: &ProjectName) -> Redactor {
    let known = registry.project(project);
    let listed = known.map(|known| known.spec.secrets.clone()).unwrap_or_default();
    let records = registry.services(project);
    let written = records.iter().flat_map(|record| record.spec.secrets());
    let inherited = records
        .iter()
        .flat_map(|record| inherited(&record.environment, &listed));
    let retired = records
        .iter()
        .flat_map(|record| record.retired_secrets.iter().cloned());
    let secrets: Vec<SecretString> = written.chain(inherited).chain(retired).collect();
    Redactor::among(&secrets, &names(registry, project))
}

/// The names of the project and its services, which appear in nearly every line.
fn names(registry: &Registry, project: &ProjectName) -> BTreeSet<String> {
    let records = registry.services(project);
    let services = records.iter().map(|record| record.name.to_string());
    services.chain([project.to_string()]).collect()
}

/// The inherited values whose variable has the name of a secret.
pub(crate) fn inherited(
    environment: &BTreeMap<String, SecretString>,
    listed: &BTreeSet<String>,
) -> Vec<SecretString> {
    let is_secret = |name: &String| is_secret_name(name) || listed.contains(name);
    let secrets = environment.iter().filter(|(name, _)| is_secret(name));
    secrets.map(|(_, value)| value.clone()).collect()
}

/// Hides what a service must not show: the secrets of its project, and those that it was launched with, which the
/// project may have replaced since. Clones share them. The default hides nothing.
#[derive(Clone, Debug, Default)]
pub struct Secrets(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    project: Option<(Redactors, ProjectName)>,
    own: Vec<SecretString>,
    own_redactor: OnceLock<Redactor>,
}

impl Secrets {
    /// The secrets of a project, and these in addition.
    pub fn new(redactors: Redactors, project: ProjectName, own: Vec<SecretString>) -> Self {
        Self(Arc::new(Inner {
            project: Some((redactors, project)),
            own,
            own_redactor: OnceLock::new(),
        }))
    }

    /// The text of another program, without the secrets.
    pub fn hide(&self, text: &str) -> String {
        let Some((redactors, project)) = &self.0.project else {
            return text.to_owned();
        };
        let own = self.0.own_redactor.get_or_init(|| {
            let names = names(&redactors.registry, project);
            Redactor::among(&self.0.own, &names)
        });
        own.redact(&redactors.of(project).redact(text))
    }
}

//! Hiding the secrets of a project in everything that is told.
//!
//! Every event, progress line and log passes through here, and a project may have a thousand services with
//! secrets each. So what hides them is made once for the specs as they are, and made anew when one has changed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use harness_model::secret::is_secret_name;
use harness_model::{ProjectName, Redactor, SecretString};
use service_registry::Registry;

use super::Context;

/// What was made for each project, and for which specs.
#[derive(Debug, Default)]
pub struct Redactors(Mutex<BTreeMap<ProjectName, Made>>);

#[derive(Debug)]
struct Made {
    /// [`Registry::spec_revision`] before it was made.
    revision: u64,
    redactor: Arc<Redactor>,
}

impl Redactors {
    fn of(&self, registry: &Registry, project: &ProjectName) -> Arc<Redactor> {
        let revision = registry.spec_revision();
        if let Some(made) = self.lock().get(project)
            && made.revision == revision
        {
            return Arc::clone(&made.redactor);
        }
        let redactor = Arc::new(make(registry, project));
        let made = Made {
            revision,
            redactor: Arc::clone(&redactor),
        };
        let mut all = self.lock();
        all.insert(project.clone(), made);
        all.retain(|project, _| registry.project(project).is_some());
        redactor
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ProjectName, Made>> {
        // Each entry is whole by itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Context {
    /// Hides the secrets of a project in free text: those of its specs, present and past, and what its services
    /// inherit under the name of a secret.
    pub(super) fn redactor(&self, project: &ProjectName) -> Arc<Redactor> {
        self.redactors.of(&self.registry, project)
    }
}

fn make(registry: &Registry, project: &ProjectName) -> Redactor {
    let listed = registry
        .project(project)
        .map(|record| record.spec.secrets.clone())
        .unwrap_or_default();
    let is_secret = |name: &str| is_secret_name(name) || listed.contains(name);
    let records = registry.services(project);
    let written = records.iter().flat_map(|record| record.spec.secrets());
    let inherited = records
        .iter()
        .flat_map(|record| record.environment.iter())
        .filter(|(name, _)| is_secret(name))
        .map(|(_, value)| value.clone());
    let retired = records
        .iter()
        .flat_map(|record| record.retired_secrets.iter().cloned());
    let secrets: Vec<SecretString> = written.chain(inherited).chain(retired).collect();
    Redactor::new(&secrets)
}

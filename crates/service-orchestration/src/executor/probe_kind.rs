//! Probes that a program adds, registered by the key that they have in `health_check`.

use std::collections::BTreeMap;
use std::sync::Arc;

use harness_model::ServiceSpec;
use harness_model::spec::{Probe, Setting};

use super::{LaunchError, Order};
use crate::health::Prober;

/// A kind of probe.
pub trait ProbeKind: Send + Sync {
    /// Its key in `health_check`.
    fn name(&self) -> &'static str;
    /// Refuses what it cannot ask, before anything is changed.
    ///
    /// # Errors
    /// When it cannot ask this service.
    fn check(&self, _spec: &ServiceSpec, _setting: &Setting) -> Result<(), LaunchError> {
        Ok(())
    }
    /// The prober of one generation.
    ///
    /// # Errors
    /// When the setting cannot be used. The error shows no secret.
    fn prober(&self, order: &Arc<Order>, setting: &Setting) -> Result<Box<dyn Prober>, LaunchError>;
}

/// The probes that a program added, by name.
#[derive(Clone, Default)]
pub(super) struct ProbeKinds(BTreeMap<&'static str, Arc<dyn ProbeKind>>);

impl ProbeKinds {
    pub(super) fn add(&mut self, kind: Arc<dyn ProbeKind>) {
        self.0.insert(kind.name(), kind);
    }

    pub(super) fn of(&self, name: &str) -> Result<&Arc<dyn ProbeKind>, LaunchError> {
        self.0.get(name).ok_or_else(|| LaunchError::NoProbe {
            name: name.to_owned(),
        })
    }

    /// Checks the probe of a service, if a program added it.
    pub(super) fn check(&self, spec: &ServiceSpec) -> Result<(), LaunchError> {
        match spec.health_check.as_ref().map(|check| &check.probe) {
            Some(Probe::Other { name, setting }) => self.of(name)?.check(spec, setting),
            _ => Ok(()),
        }
    }
}

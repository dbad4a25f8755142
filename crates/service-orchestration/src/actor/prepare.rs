//! What an order gives a service before it is planned: its addresses, its references resolved, its digest, and what the
//! machine must know of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use harness_model::resolve::SpecDigest;
use harness_model::spec::{HealthCheck, InheritEnv, Probe, ServiceSpec};
use harness_model::{ProjectName, ProjectSpec, SecretString, ServiceName};
use service_registry::address::{self, AddressError, PlanWants, ServiceAddresses, Wants};

use super::driver::{Driver, Prepared};
use super::hooks::limits;
use super::images::Exposed;
use super::orders::{OrderError, StartOrder};
use crate::machine::{Definition, HealthPolicy};

/// The longest pause between two probes in the first second of a start.
const EAGER: Duration = Duration::from_millis(10);

/// The same for probes that run a command.
const EAGER_COMMAND: Duration = Duration::from_millis(100);

/// How many former secrets of a service are remembered: more than its kept generations hold in practice.
const RETIRED_SECRETS: usize = 64;

impl Driver {
    /// The addresses that the services want. Those that nobody here can run are refused before if the order starts them.
    fn wants(&self, project: &ProjectSpec) -> PlanWants {
        let of = |spec: &ServiceSpec| match self.executors.of(spec) {
            Ok(executor) => executor.wants(spec),
            Err(_) => Wants::Elsewhere,
        };
        let services = project.services.iter();
        services.map(|(name, spec)| (name.clone(), of(spec))).collect()
    }

    /// Gives every service its addresses and resolves its references.
    pub(super) fn prepare(
        &self,
        order: &StartOrder,
        closure: &BTreeSet<ServiceName>,
        exposed: &Exposed,
    ) -> Result<BTreeMap<ServiceName, Prepared>, OrderError> {
        let project = &order.project;
        let wants = self.wants(project);
        let mut addresses = if order.prune {
            self.registry
                .assign_addresses_pruning(project, &wants, &order.unchosen())?
        } else {
            self.registry.assign_addresses(project, &wants)?
        };
        for (name, ports) in exposed {
            if let Some(addresses) = addresses.get_mut(name) {
                addresses.exposed.clone_from(ports);
            }
        }
        let mut out = BTreeMap::new();
        for (name, spec) in &project.services {
            let spec = match spec.resolve(|reference| address::lookup(reference, &addresses, name)) {
                Ok(spec) => spec,
                // A service that is not started may be wrong.
                Err(_) if !closure.contains(name) => continue,
                Err(error) => return Err(error.into()),
            };
            let dependencies: BTreeMap<ServiceName, ServiceAddresses> = spec
                .dependencies
                .iter()
                .filter_map(|d| Some((d.service.clone(), addresses.get(&d.service)?.clone())))
                .collect();
            let inherited = Arc::new(inherited(&spec.inherit_env, &order.environment));
            let own = match addresses.get(name) {
                Some(own) => own.clone(),
                None if !closure.contains(name) => continue,
                // Without addresses it would never be started, and nobody would be told.
                None => {
                    return Err(AddressError::NotKnown {
                        service: name.clone(),
                    }
                    .into());
                }
            };
            let digest = self.digest(&project.name, name, &spec, &own);
            let dependency_addresses = address::environment(&own.place, &dependencies);
            let retired_secrets = self.retired_secrets(&project.name, name, &spec);
            let spec = Arc::new(spec);
            let prepared = Prepared {
                spec,
                digest,
                inherited,
                umask: order.umask,
                dependency_addresses,
                addresses: own,
                retired_secrets,
            };
            out.insert(name.clone(), prepared);
        }
        Ok(out)
    }

    /// The digest of a service. If the only change is what counts as a secret, as may happen between versions, it
    /// returns the digest that the service runs with.
    fn digest(
        &self,
        project: &ProjectName,
        service: &ServiceName,
        spec: &ServiceSpec,
        own: &ServiceAddresses,
    ) -> SpecDigest {
        let digest = placed(spec.digest(), own);
        match self.registry.service(project, service) {
            Some(before)
                if before.digest != digest
                    && before.spec.says_the_same(spec)
                    && before.addresses.networks().eq(own.networks()) =>
            {
                before.digest.clone()
            }
            _ => digest,
        }
    }

    /// The secrets that a service had and no longer has, newest last.
    fn retired_secrets(
        &self,
        project: &ProjectName,
        service: &ServiceName,
        spec: &ServiceSpec,
    ) -> Arc<Vec<SecretString>> {
        let Some(before) = self.registry.service(project, service) else {
            return Arc::default();
        };
        let (had, has) = (before.spec.secrets(), spec.secrets());
        if had.iter().all(|secret| has.contains(secret)) {
            return Arc::clone(&before.retired_secrets);
        }
        let mut retired: Vec<SecretString> = before.retired_secrets.to_vec();
        for secret in had {
            if !has.contains(&secret) && !retired.contains(&secret) && !spec.shows(&secret) {
                retired.push(secret);
            }
        }
        let surplus = retired.len().saturating_sub(RETIRED_SECRETS);
        retired.drain(..surplus);
        Arc::new(retired)
    }
}

fn inherited(
    inherit: &InheritEnv,
    environment: &BTreeMap<String, SecretString>,
) -> BTreeMap<String, SecretString> {
    environment
        .iter()
        .filter(|(name, _)| inherit.takes(name))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}

/// What the machine must know of a service.
pub(super) fn definition(prepared: &Prepared) -> Definition {
    let spec: &ServiceSpec = &prepared.spec;
    Definition {
        digest: prepared.digest.clone(),
        dependencies: spec.dependencies.clone(),
        restart: spec.restart,
        oneshot: spec.oneshot,
        health: spec.health_check.as_ref().map(health_policy),
        startup_timeout: spec.startup_timeout,
        shutdown_timeout: spec.shutdown_timeout,
        hooks: limits(spec),
    }
}

/// What the machine must know of a health check.
pub(super) fn health_policy(check: &HealthCheck) -> HealthPolicy {
    HealthPolicy {
        interval: check.interval,
        timeout: check.timeout,
        retries: check.retries,
        eager: if matches!(check.probe, Probe::Command(_)) {
            EAGER_COMMAND
        } else {
            EAGER
        },
    }
}

/// A container keeps its addresses for its whole life. If they change, it is another container.
fn placed(digest: SpecDigest, own: &ServiceAddresses) -> SpecDigest {
    let at: Vec<String> = own
        .networks()
        .map(|at| format!("{} {}", at.ip, at.subnet))
        .collect();
    if at.is_empty() {
        return digest;
    }
    SpecDigest::from_text(format!("{digest}@{}", at.join(",")))
}

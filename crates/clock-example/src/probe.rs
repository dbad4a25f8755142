//! `health_check: {ticks: 3}`: whether a clock has ticked often enough.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use harness_model::ServiceSpec;
use harness_model::spec::Setting;
use service_orchestration::executor::{LaunchError, Order, ProbeKind};
use service_orchestration::health::Prober;
use service_orchestration::machine::ProbeOutcome;

use crate::clock::Clocks;

/// The kind of probe.
pub(crate) struct Ticks(Arc<Clocks>);

impl Ticks {
    pub(crate) fn new(clocks: Arc<Clocks>) -> Self {
        Self(clocks)
    }
}

fn wanted(setting: &Setting) -> Option<u64> {
    match setting {
        Setting::Number(number) => number.as_u64(),
        _ => None,
    }
}

fn refused() -> LaunchError {
    LaunchError::NotForType {
        key: "ticks",
        why: "must be a whole number, and the service a clock".to_owned(),
    }
}

impl ProbeKind for Ticks {
    fn name(&self) -> &'static str {
        "ticks"
    }

    fn check(&self, spec: &ServiceSpec, setting: &Setting) -> Result<(), LaunchError> {
        let fits = spec.kind.name() == "clock" && wanted(setting).is_some();
        if fits { Ok(()) } else { Err(refused()) }
    }

    fn prober(&self, order: &Arc<Order>, setting: &Setting) -> Result<Box<dyn Prober>, LaunchError> {
        Ok(Box::new(Counter {
            clocks: Arc::clone(&self.0),
            run_dir: order.run_dir.clone(),
            wanted: wanted(setting).ok_or_else(refused)?,
        }))
    }
}

struct Counter {
    clocks: Arc<Clocks>,
    run_dir: PathBuf,
    wanted: u64,
}

#[async_trait]
impl Prober for Counter {
    async fn probe(&self, _timeout: Duration) -> ProbeOutcome {
        match self.clocks.ticks(&self.run_dir) {
            Some(ticks) if ticks >= self.wanted => ProbeOutcome::Healthy,
            Some(ticks) => ProbeOutcome::Unhealthy(format!("ticked {ticks} of {} times", self.wanted)),
            None => ProbeOutcome::Unknown("the clock does not run".to_owned()),
        }
    }
}

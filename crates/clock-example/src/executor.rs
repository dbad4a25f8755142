//! Runs `type: clock`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use blocking::unblock;
use harness_model::spec::Kind;
use harness_model::{ExitStatus, ServiceSpec};
use harness_shim::run_dir::LogLimits;
use service_orchestration::executor::{
    CommandAnswer, Description, Executor, Expiry, Fate, HookPlace, KindOf, Known, LaunchError, Order,
    PlaceCommand, RunTrace, Session,
};
use service_orchestration::machine::{Ended, Hook};
use service_registry::address::Wants;

use crate::clock::{Beat, Clock, ClockError, ClockRecord, Clocks};
use crate::kind::{ClockSettings, check};

/// Runs clocks in the daemon.
pub(crate) struct ClockExecutor {
    clocks: Arc<Clocks>,
}

impl ClockExecutor {
    pub(crate) fn new(clocks: Arc<Clocks>) -> Self {
        Self { clocks }
    }
}

fn settings(spec: &ServiceSpec) -> Result<ClockSettings, LaunchError> {
    match &spec.kind {
        Kind::Other { settings, .. } => Ok(settings.read()?),
        other => Err(LaunchError::NoExecutor {
            type_name: other.name().to_owned(),
        }),
    }
}

fn beat(spec: &ServiceSpec) -> Result<Beat, LaunchError> {
    let ClockSettings { every, say } = settings(spec)?;
    Ok(Beat {
        every: Duration::from_millis(every),
        say,
        limits: LogLimits {
            max_size: spec.logs.max_size,
            max_files: spec.logs.max_files,
        },
    })
}

fn failed(error: ClockError) -> LaunchError {
    LaunchError::Place(Box::new(error))
}

/// Nobody can run a command in a clock.
fn no_commands<T>() -> Result<T, LaunchError> {
    Err(LaunchError::Refused {
        why: "no command can run in a clock".to_owned(),
    })
}

#[async_trait]
impl KindOf for ClockExecutor {
    fn types(&self) -> &'static [&'static str] {
        &["clock"]
    }

    fn check(&self, spec: &ServiceSpec) -> Result<(), LaunchError> {
        let Kind::Other { settings, .. } = &spec.kind else {
            return Ok(());
        };
        match check(settings).into_iter().next() {
            Some(mistake) => Err(LaunchError::Refused { why: mistake.message }),
            None => Ok(()),
        }
    }

    fn wants(&self, _spec: &ServiceSpec) -> Wants {
        Wants::Nothing
    }

    fn describe(&self, spec: &ServiceSpec) -> Description {
        let Kind::Other { settings, .. } = &spec.kind else {
            return Description::default();
        };
        let more = settings.0.iter().map(|(key, value)| {
            let unit = if key == "every" { "ms" } else { "" };
            (key.clone(), format!("{value}{unit}"))
        });
        Description {
            more: more.collect(),
            ..Description::default()
        }
    }
}

#[async_trait]
impl Executor for ClockExecutor {
    async fn launch(&self, order: &Order) -> Fate {
        let beat = match beat(&order.spec) {
            Ok(beat) => beat,
            Err(error) => return Fate::never(error),
        };
        let (run_dir, clocks) = (order.run_dir.clone(), Arc::clone(&self.clocks));
        match unblock(move || Clock::begin(&run_dir, beat, clocks)).await {
            Ok(clock) => Fate::running(Arc::new(clock)),
            Err(error) => Fate::never(failed(error)),
        }
    }

    async fn adopt(&self, order: &Order, _trace: Option<&RunTrace>) -> Fate {
        let (run_dir, clocks) = (order.run_dir.clone(), Arc::clone(&self.clocks));
        let beat = match beat(&order.spec) {
            Ok(beat) => beat,
            Err(error) => return Fate::ended(Ended::Lost(order.words(&error))),
        };
        let found = unblock(move || {
            let Some(record) = ClockRecord::read(&run_dir)? else {
                return Ok(Fate::never(LaunchError::Refused {
                    why: "it never began".to_owned(),
                }));
            };
            if record.ended.is_some() {
                return Ok(Fate::Known(Known::Ended {
                    ended: Ended::Exit(ExitStatus::Code(0)),
                    at: record.ended,
                }));
            }
            let clock = Clock::go_on(&run_dir, record, beat, clocks)?;
            Ok::<_, ClockError>(Fate::running(Arc::new(clock)))
        });
        let found = found.await;
        found.unwrap_or_else(|error| Fate::ended(Ended::Lost(error.to_string())))
    }

    fn hook_place(&self, _hook: Hook) -> HookPlace {
        HookPlace::Host
    }

    async fn exec(&self, _order: &Order, _command: &PlaceCommand) -> Result<Box<dyn Session>, LaunchError> {
        no_commands()
    }

    async fn run(
        &self,
        _order: &Order,
        _command: &PlaceCommand,
        _expiry: Expiry<'_>,
    ) -> Result<CommandAnswer, LaunchError> {
        no_commands()
    }
}

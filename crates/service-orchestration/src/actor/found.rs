//! What a new daemon makes of a service that it has found: the machine is told, and what runs is followed.

use std::sync::Arc;
use std::time::Duration;

use command_executor::boot_clock::since_boot;
use harness_model::{Redactor, ServiceState, WallTime};
use service_registry::ChangeKind;
use service_registry::record::ServiceRecord;

use super::driver::{Driver, Last, Live, Prepared, Service};
use super::hooks::{Hooks, terms};
use super::prepare::definition;
use super::probes::Prober;
use super::recover::{Said, Sought};
use crate::executor::{Instance, Known};
use crate::machine::{Ended, Event, FailureCause, Found, Hook, Recovered};

impl Driver {
    /// Tells the machine what was found of a service, and follows what runs. If it was not known at first, this
    /// happens once more when it is.
    pub(super) fn take_found(&mut self, sought: &Sought, said: Said) {
        let Sought {
            record,
            prepared,
            order,
            owed,
            ..
        } = sought;
        let generation = order.generation;
        let of_record = record.generation == generation;
        let mut last = Last {
            pid: None,
            started_at: record.started_at,
            up_since_ns: None,
            ended_at: record.ended_at,
        };
        // If a generation is newer than its record, it was launched with what was recorded last.
        let digest = record
            .launched_digest
            .clone()
            .filter(|_| of_record)
            .unwrap_or_else(|| prepared.digest.clone());
        let was_ready = record.was_ready && of_record;
        let live = |instance| Live {
            order: Arc::clone(order),
            instance,
            stop_when_launched: false,
            image_health: None,
            prober: Prober::new(order, &self.executors, was_ready).map(Arc::new),
            probing: None,
            lost: Arc::default(),
        };
        let (mut is_live, mut runs) = (None, None);
        let found = match said {
            Said::Known(Known::Running(instance)) => {
                last.pid = instance.pid();
                last.started_at = Some(instance.started_at());
                let recorded = record.up_since_ns.filter(|_| of_record);
                last.up_since_ns = Some(up_since(instance.as_ref(), recorded));
                last.ended_at = None;
                is_live = Some(live(Some(Arc::clone(&instance))));
                runs = Some(instance);
                let up_since = Duration::from_nanos(last.up_since_ns.unwrap_or_default());
                Found::Running {
                    terms: terms(&order.spec),
                    for_: since_boot().saturating_sub(up_since),
                    was_ready,
                    going: is_going(record, generation),
                }
            }
            Said::NotYet(why) => {
                is_live = Some(live(None));
                Found::NotKnown {
                    terms: terms(&order.spec),
                    going: is_going(record, generation),
                    why,
                }
            }
            Said::Known(Known::Ended {
                ended: Ended::Rebooted,
                ..
            }) if record.state.is_live() || record.wanted => Found::Rebooted,
            Said::Known(
                Known::Ended {
                    ended: Ended::Rebooted,
                    ..
                }
                | Known::Never(_),
            ) => recorded_end(record, generation),
            // How it ended is not known any more, except for what was recorded then.
            Said::Known(Known::Ended {
                ended: Ended::SupervisorDied | Ended::Lost(_),
                ..
            }) if has_settled(record, generation) => recorded_end(record, generation),
            Said::Known(Known::Ended { ended, at }) => {
                last.ended_at = at.or(last.ended_at);
                found_ended(record, generation, ended)
            }
        };
        let description = describe(&found);
        let recovered = Recovered {
            generation,
            digest,
            restarts: record.restarts,
            found,
        };
        // If it runs, its hook runs when it has ended.
        let owed = owed.clone().filter(|_| is_live.is_none());
        let limit = owed
            .as_ref()
            .and_then(|order| terms(&order.spec).hooks.remove(&Hook::AfterStop));
        let hooks = Some(Hooks::new(owed.unwrap_or_else(|| Arc::clone(order)), generation));
        let Some(project) = self.projects.get_mut(&record.project) else {
            return;
        };
        let definition = definition(prepared);
        let is_late = project.services.contains_key(&record.name);
        match project.services.get_mut(&record.name) {
            // It was not known at first. What somebody ordered meanwhile stays.
            Some(entry) => {
                (entry.live, entry.last) = (is_live, last);
                if limit.is_some() {
                    entry.hooks = hooks;
                }
            }
            None => {
                let prepared = prepared.clone();
                let entry = Service {
                    prepared,
                    live: is_live,
                    hooks,
                    last,
                };
                project.services.insert(record.name.clone(), entry);
            }
        }
        self.registry.changes().publish(
            record.project.clone(),
            Some(record.name.clone()),
            ChangeKind::Adopted,
            description,
            None,
        );
        if let Some(instance) = runs.as_ref().filter(|_| is_late) {
            // Its dependents must not take it for one without a health check.
            self.take_image_health(&record.project, &record.name, instance.as_ref(), was_ready);
        }
        if let Some(instance) = &runs {
            self.follow(&record.project, &record.name, generation, Arc::clone(instance));
        }
        self.step(
            &record.project,
            Event::Recover {
                service: record.name.clone(),
                definition,
                wanted: record.wanted,
                defined: record.in_file,
                found: recovered,
                owed: limit,
            },
        );
        if let Some(instance) = runs {
            if instance.is_homeless() {
                self.lose(&record.project, &record.name, generation);
            }
            if !is_late {
                self.take_image_health(&record.project, &record.name, instance.as_ref(), was_ready);
            }
        }
    }
}

fn found_ended(record: &ServiceRecord, generation: u64, ended: Ended) -> Found {
    if let Some(cause) = had_failed(record, generation) {
        return Found::Failed {
            ended: Some(ended),
            cause,
            reason: record.error.clone().unwrap_or_else(|| "failed".to_owned()),
        };
    }
    if record.wanted && waits_to_start(record, generation) {
        return Found::Idle;
    }
    Found::Ended {
        ended,
        failed: had_to_go(record, generation),
        fresh: !has_settled(record, generation),
        was_ready: record.was_ready && record.generation == generation,
    }
}

/// When it started, in nanoseconds since the machine booted: as the instance says, else as recorded, else by the
/// clock.
fn up_since(instance: &dyn Instance, recorded: Option<u64>) -> u64 {
    let now = since_boot();
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let by_the_clock = || now.saturating_sub(WallTime::now().since(instance.started_at()));
    let recorded = recorded.filter(|recorded| *recorded <= nanos(now));
    match instance.started_after_boot() {
        Some(started) => nanos(started),
        None => recorded.unwrap_or_else(|| nanos(by_the_clock())),
    }
}

/// The record of a service that the store had lost, from what was found of it. `None` if it has ended and is not in
/// its file: it may have been forgotten on purpose.
pub(super) fn found_again(
    lost: &ServiceRecord,
    generation: u64,
    said: &Said,
    owes: bool,
) -> Option<ServiceRecord> {
    let mut record = lost.clone();
    match said {
        Said::Known(Known::Running(_)) | Said::NotYet(_) => record.wanted = true,
        _ if !record.in_file && !owes => return None,
        Said::Known(Known::Ended { ended, .. })
            if record.in_file && record.spec.oneshot && succeeded(ended) =>
        {
            (record.wanted, record.generation) = (true, generation);
            record.state = ServiceState::Completed;
        }
        _ => record.wanted = false,
    }
    Some(record)
}

pub(super) fn redact_strings(value: &mut serde_json::Value, redactor: &Redactor) {
    use serde_json::Value as V;
    match value {
        V::String(text) => *text = redactor.redact(text),
        V::Array(values) => values
            .iter_mut()
            .for_each(|value| redact_strings(value, redactor)),
        V::Object(values) => values
            .values_mut()
            .for_each(|value| redact_strings(value, redactor)),
        V::Null | V::Bool(_) | V::Number(_) => {}
    }
}

fn succeeded(ended: &Ended) -> bool {
    // The same as for the machine where the service is a one-shot; one that is not has a failure then.
    matches!(ended, Ended::Exit(exit) | Ended::Unsupervised(exit) | Ended::Background { exit, .. } if exit.success())
}

/// Whether the former daemon was about to start the service again, after this generation was stopped or had ended.
fn waits_to_start(record: &ServiceRecord, generation: u64) -> bool {
    let asked = record.failure.is_none() && !record.ended_well;
    let on_the_way = match record.state {
        ServiceState::Pending => true,
        ServiceState::Stopping => asked,
        _ => false,
    };
    record.generation == generation && on_the_way
}

/// Why this generation was being stopped, or had ended, if it failed and the restart policy has not decided about
/// that yet.
fn had_to_go(record: &ServiceRecord, generation: u64) -> Option<(FailureCause, String)> {
    let going = record.generation == generation && record.state == ServiceState::Stopping;
    let cause = record.failure.as_ref().filter(|_| going)?;
    let cause = serde_json::from_value(cause.clone()).ok()?;
    Some((cause, record.error.clone().unwrap_or_else(|| "failed".to_owned())))
}

/// Whether the former daemon was stopping this generation in order to start it again. A generation that was stopped
/// because it failed is not included: when it ends, the restart policy decides.
fn is_going(record: &ServiceRecord, generation: u64) -> bool {
    let stopping = record.generation == generation && record.state == ServiceState::Stopping;
    record.wanted && stopping && record.failure.is_none()
}

/// Why the former daemon gave this generation up, if it did.
fn had_failed(record: &ServiceRecord, generation: u64) -> Option<FailureCause> {
    let failed = record.generation == generation && record.state == ServiceState::Failed;
    let cause = record.failure.as_ref().filter(|_| failed)?;
    serde_json::from_value(cause.clone()).ok()
}

/// Whether the former daemon had finished with the end of this generation.
fn has_settled(record: &ServiceRecord, generation: u64) -> bool {
    let settled = matches!(
        record.state,
        ServiceState::Stopped | ServiceState::Completed | ServiceState::Failed
    );
    record.generation == generation && settled
}

/// What the record alone says of a service with nothing on disk.
fn recorded_end(record: &ServiceRecord, generation: u64) -> Found {
    let ended = record
        .ended
        .clone()
        .and_then(|ended| serde_json::from_value(ended).ok());
    // Earlier versions recorded no more than the exit.
    let ended = ended.or_else(|| record.exit.map(Ended::Exit));
    if let Some(cause) = had_failed(record, generation) {
        let reason = record.error.clone().unwrap_or_else(|| "failed".to_owned());
        return Found::Failed { ended, cause, reason };
    }
    match (record.state, ended) {
        (ServiceState::Completed | ServiceState::Failed, Some(ended)) => Found::Ended {
            ended,
            failed: None,
            fresh: false,
            was_ready: record.was_ready,
        },
        _ => Found::Idle,
    }
}

fn describe(found: &Found) -> String {
    match found {
        Found::Running { .. } => "found running, managed again".to_owned(),
        Found::NotKnown { why, .. } => why.clone(),
        Found::Ended {
            ended: Ended::Exit(exit),
            fresh: true,
            ..
        } => format!("{exit} while no daemon ran"),
        Found::Ended {
            ended: Ended::SupervisorDied,
            ..
        } => "its supervisor died".to_owned(),
        Found::Ended {
            ended: Ended::Unsupervised(exit),
            fresh: true,
            ..
        } => format!("its supervisor died, and it {exit} while no daemon ran"),
        Found::Ended { .. } => "had ended before".to_owned(),
        Found::Failed { .. } => "had failed before".to_owned(),
        Found::Rebooted => "the machine was rebooted".to_owned(),
        Found::Idle => "was not running".to_owned(),
    }
}

/// What a service was recorded with.
pub(super) fn prepared(record: &ServiceRecord) -> Prepared {
    Prepared {
        spec: Arc::clone(&record.spec),
        digest: record.digest.clone(),
        inherited: Arc::clone(&record.environment),
        umask: record.umask,
        dependency_addresses: record.dependency_addresses.clone(),
        addresses: record.addresses.clone(),
        retired_secrets: Arc::clone(&record.retired_secrets),
    }
}

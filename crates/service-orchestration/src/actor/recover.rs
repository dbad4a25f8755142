//! Takes over what a former daemon left. Every recorded service is looked for where it ran, including those that only
//! the disk remembers (see `rebuild`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use blocking::unblock;
use command_executor::boot_clock::since_boot;
use harness_model::{Redactor, ServiceState, WallTime};
use service_registry::ChangeKind;
use service_registry::record::ServiceRecord;

use super::Message;
use super::driver::{Driver, Last, Live, Prepared, Service};
use super::hooks::{Hooks, terms};
use super::orders::StopOrder;
use super::probes::Prober;
use super::start::{definition, new_project};
use crate::executor::{Found, Instance, Order};
use crate::layout::remove_discarded;
use crate::machine::{Ended, Event, FailureCause, Hook, Recovered};

impl Driver {
    /// Looks for every recorded service, all at once, and tells the machines before the first order is taken.
    pub(super) async fn recover(&mut self) {
        for executor in self.executors.all() {
            executor.end_leftover_commands().await;
        }
        for executor in self.executors.all() {
            executor.survey().await;
        }
        let layout = self.layout.clone();
        self.spawn(unblock(move || {
            layout.discarded().iter().for_each(|path| remove_discarded(path));
        }));
        let (layout, registry) = (self.layout.clone(), self.registry.clone());
        let lost = unblock(move || super::rebuild::lost(&layout, &registry)).await;
        for project in self.registry.projects() {
            self.projects
                .insert(project.name.clone(), new_project(&project.name));
        }
        let (sender, found) = async_channel::unbounded();
        let mut records = Vec::new();
        for project in self.registry.projects() {
            let known = self.registry.services(&project.name);
            records.extend(known.into_iter().map(|record| (record, false)));
        }
        records.extend(lost.into_iter().map(|record| (Arc::new(record), true)));
        for (record, was_lost) in records {
            let record = self.masked(record);
            let owed = super::rebuild::owed(&self.layout, &record.project, &record.name);
            // A launch reaches the disk before its record does, so the newest folder counts.
            let on_disk = self.layout.generations(&record.project, &record.name);
            let generation = on_disk.last().copied().unwrap_or(0).max(record.generation);
            let owed = owed.filter(|owed| owed.spec.hooks.after_stop.is_some());
            // It may have been launched with another specification than the one that is recorded now.
            let launched_by = match &owed {
                Some(owed) if owed.generation == generation => Some(prepared(owed)),
                _ => {
                    super::rebuild::launched_by(&self.layout, &record, generation).map(|kept| prepared(&kept))
                }
            };
            let prepared = prepared(&record);
            let by = launched_by.as_ref().unwrap_or(&prepared);
            let order = Arc::new(self.order(&record.project, &record.name, by, generation));
            let owed = owed.map(|owed| {
                let by = self::prepared(&owed);
                Arc::new(self.order(&record.project, &record.name, &by, owed.generation))
            });
            let executor = self.executors.of(&record.spec).map(Arc::clone);
            let (sender, registry) = (sender.clone(), self.registry.clone());
            let trace = record.trace.clone().filter(|_| record.generation == generation);
            self.spawn(async move {
                let found = match executor {
                    Ok(executor) if generation > 0 => executor.adopt(&order, trace.as_deref()).await,
                    _ => Found::NeverStarted,
                };
                let record = match was_lost {
                    true => found_again(&record, generation, &found, owed.is_some()).map(|record| {
                        registry.upsert_service(record, ChangeKind::Registered, "found on the disk")
                    }),
                    false => Some(record),
                };
                // The receiver lives until every sender is gone.
                let _ = sender.send((record, prepared, order, found, owed)).await;
            });
        }
        drop(sender);
        let mut all = Vec::new();
        while let Ok(one) = found.recv().await {
            all.push(one);
        }
        let any_homeless = all
            .iter()
            .any(|(_, _, _, found, _)| matches!(found, Found::Homeless(_)));
        self.end_strays(any_homeless).await;
        for (record, prepared, order, found, owed) in all {
            if let Some(record) = record {
                self.recovered(&record, prepared, order, found, owed);
            }
        }
    }

    /// A record without the secrets that an earlier version let into it.
    fn masked(&self, record: Arc<ServiceRecord>) -> Arc<ServiceRecord> {
        if record.is_masked {
            return record;
        }
        let redactor = self.redactors.of(&record.project);
        let mut masked = ServiceRecord::clone(&record);
        for text in [&mut masked.error, &mut masked.doing, &mut masked.last_probe] {
            *text = text.take().map(|text| redactor.redact(&text));
        }
        if let Some(failure) = &mut masked.failure {
            redact_strings(failure, &redactor);
        }
        masked.is_masked = true;
        if self.registry.service(&record.project, &record.name).is_some() {
            return self.registry.upsert_service(
                masked,
                ChangeKind::Registered,
                "taken over from an earlier version",
            );
        }
        Arc::new(masked)
    }

    /// Ends what belongs to nothing that is known. Orders wait until that is gone, and until everything that lost its
    /// run directory is gone: an order could start the same again, or take it for something that is to stay.
    async fn end_strays(&mut self, any_homeless: bool) {
        let mut ending = Vec::new();
        for executor in self.executors.all() {
            for stray in executor.strays().await {
                tracing::warn!(
                    what = stray.what,
                    "stopping what still runs although its home or run directory is gone"
                );
                ending.push(self.tasks.spawn(stray.ended));
            }
        }
        if ending.is_empty() && !any_homeless {
            return;
        }
        self.behind = Some(VecDeque::new());
        self.spawn_message(async move {
            for one in ending {
                one.await;
            }
            Some(Message::StraysEnded)
        });
    }

    /// Stops everything that was recovered. The machines have decided nothing yet, so nothing is started before that.
    pub(super) fn stop_recovered(&mut self) {
        for project in self.projects.keys().cloned().collect::<Vec<_>>() {
            let order = StopOrder {
                project,
                targets: None,
            };
            // Every project here is known, so this cannot fail.
            let begun = self.stop(order).ok();
            self.begun.extend(begun);
        }
    }

    /// `owed` is what was launched with an `after_stop` hook that must still run, unless the service runs.
    fn recovered(
        &mut self,
        record: &ServiceRecord,
        prepared: Prepared,
        order: Arc<Order>,
        found: Found,
        owed: Option<Arc<Order>>,
    ) {
        let generation = order.generation;
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
            .filter(|_| record.generation == generation)
            .unwrap_or_else(|| prepared.digest.clone());
        let mut live = None;
        let mut runs = None;
        let is_homeless = matches!(found, Found::Homeless(_));
        let recovered = match found {
            Found::Running(instance) | Found::Homeless(instance) => {
                last.pid = instance.pid();
                last.started_at = Some(instance.started_at());
                let recorded = record.up_since_ns.filter(|_| record.generation == generation);
                last.up_since_ns = Some(up_since(instance.as_ref(), recorded));
                last.ended_at = None;
                let was_ready = record.was_ready && record.generation == generation;
                let prober = Prober::new(&order, &self.executors, was_ready).map(Arc::new);
                live = Some(Live {
                    order: Arc::clone(&order),
                    instance: Some(Arc::clone(&instance)),
                    unsettled: false,
                    stop_when_launched: false,
                    image_health: None,
                    prober,
                    probing: None,
                    lost: Arc::default(),
                });
                let up_since = Duration::from_nanos(last.up_since_ns.unwrap_or_default());
                let running_for = since_boot().saturating_sub(up_since);
                runs = Some((instance, was_ready));
                Recovered::Running {
                    generation,
                    digest,
                    terms: terms(&order.spec),
                    for_: running_for,
                    was_ready,
                    going: is_going(record, generation),
                    restarts: record.restarts,
                }
            }
            Found::Launching(settled) => {
                live = Some(Live {
                    order: Arc::clone(&order),
                    instance: None,
                    unsettled: true,
                    stop_when_launched: false,
                    image_health: None,
                    prober: Prober::new(&order, &self.executors, false).map(Arc::new),
                    probing: None,
                    lost: Arc::default(),
                });
                let (project, service) = (record.project.clone(), record.name.clone());
                self.spawn_message(async move {
                    let result = Ok(settled.await);
                    Some(Message::Launched {
                        project,
                        service,
                        generation,
                        result,
                    })
                });
                Recovered::Launching {
                    generation,
                    digest,
                    terms: terms(&order.spec),
                    going: is_going(record, generation),
                    restarts: record.restarts,
                }
            }
            // How it ended is not known any more, except for what was recorded then.
            Found::Ended {
                ended: Ended::SupervisorDied | Ended::Lost(_),
                ..
            } if has_settled(record, generation) => recorded_end(record, generation, digest),
            Found::Ended { ended, at } => {
                last.ended_at = at.or(last.ended_at);
                if let Some(cause) = had_failed(record, generation) {
                    let reason = record.error.clone().unwrap_or_else(|| "failed".to_owned());
                    let (ended, restarts) = (Some(ended), record.restarts);
                    Recovered::Failed {
                        generation,
                        digest,
                        ended,
                        cause,
                        reason,
                        restarts,
                    }
                } else if record.wanted && waits_to_start(record, generation) {
                    Recovered::Idle { generation }
                } else {
                    let fresh = !has_settled(record, generation);
                    Recovered::Ended {
                        generation,
                        digest,
                        ended,
                        failed: had_to_go(record, generation),
                        fresh,
                        was_ready: record.was_ready && record.generation == generation,
                        restarts: record.restarts,
                    }
                }
            }
            Found::Rebooted if record.state.is_live() || record.wanted => Recovered::Rebooted { generation },
            Found::Rebooted | Found::NeverStarted => recorded_end(record, generation, digest),
        };
        // If it runs, its hook runs when it has ended.
        let owed = owed.filter(|_| live.is_none());
        let limit = owed
            .as_ref()
            .and_then(|order| terms(&order.spec).hooks.remove(&Hook::AfterStop));
        let hooks = Some(Hooks::new(owed.unwrap_or(order), generation));
        let entry = Service {
            prepared,
            live,
            hooks,
            last,
        };
        let definition = definition(&entry.prepared);
        if let Some(project) = self.projects.get_mut(&record.project) {
            project.services.insert(record.name.clone(), entry);
        }
        self.registry.changes().publish(
            record.project.clone(),
            Some(record.name.clone()),
            ChangeKind::Adopted,
            describe(&recovered),
            None,
        );
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
        if let Some((instance, was_ready)) = runs {
            self.follow(&record.project, &record.name, generation, Arc::clone(&instance));
            if is_homeless {
                self.lose(&record.project, &record.name, generation);
            }
            self.take_image_health(&record.project, &record.name, instance.as_ref(), was_ready);
        }
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
fn found_again(lost: &ServiceRecord, generation: u64, found: &Found, owes: bool) -> Option<ServiceRecord> {
    let mut record = lost.clone();
    match found {
        Found::Running(_) | Found::Homeless(_) | Found::Launching(_) => record.wanted = true,
        _ if !record.in_file && !owes => return None,
        Found::Ended { ended, .. } if record.in_file && record.spec.oneshot && succeeded(ended) => {
            (record.wanted, record.generation) = (true, generation);
            record.state = ServiceState::Completed;
        }
        _ => record.wanted = false,
    }
    Some(record)
}

fn redact_strings(value: &mut serde_json::Value, redactor: &Redactor) {
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
fn recorded_end(
    record: &ServiceRecord,
    generation: u64,
    digest: harness_model::resolve::SpecDigest,
) -> Recovered {
    if let Some(cause) = had_failed(record, generation) {
        let ended = record.exit.map(Ended::Exit);
        let reason = record.error.clone().unwrap_or_else(|| "failed".to_owned());
        return Recovered::Failed {
            generation,
            digest,
            ended,
            cause,
            reason,
            restarts: record.restarts,
        };
    }
    match (record.state, record.exit) {
        (ServiceState::Completed | ServiceState::Failed, Some(exit)) => Recovered::Ended {
            generation,
            digest,
            ended: Ended::Exit(exit),
            failed: None,
            fresh: false,
            was_ready: record.was_ready,
            restarts: record.restarts,
        },
        _ => Recovered::Idle { generation },
    }
}

fn describe(found: &Recovered) -> String {
    match found {
        Recovered::Running { .. } => "found running, managed again".to_owned(),
        Recovered::Launching { .. } => "its supervisor has not yet said what runs".to_owned(),
        Recovered::Ended {
            ended: Ended::Exit(exit),
            fresh: true,
            ..
        } => format!("{exit} while no daemon ran"),
        Recovered::Ended {
            ended: Ended::SupervisorDied,
            ..
        } => "its supervisor died".to_owned(),
        Recovered::Ended {
            ended: Ended::Unsupervised(exit),
            fresh: true,
            ..
        } => format!("its supervisor died, and it {exit} while no daemon ran"),
        Recovered::Ended { .. } => "had ended before".to_owned(),
        Recovered::Failed { .. } => "had failed before".to_owned(),
        Recovered::Rebooted { .. } => "the machine was rebooted".to_owned(),
        Recovered::Idle { .. } => "was not running".to_owned(),
    }
}

fn prepared(record: &ServiceRecord) -> Prepared {
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

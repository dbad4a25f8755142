//! The promises, checked from what went in and came out. The checks know nothing of the machine's inside.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use harness_model::spec::{Condition, RestartMode};
use harness_model::{ExitStatus, Health, ServiceName, ServiceState};
use service_orchestration::machine::{
    Change, Definition, Effect, Ended, Event, Hook, LogPattern, Machine, OperationId, Outcome, ProbeOutcome,
    Snapshot, Terms, Time,
};

use super::hooks_check::HooksCheck;

/// What the current generation of a service was asked, and what was told about it.
#[derive(Debug, Clone, Default)]
pub struct View {
    pub generation: u64,
    pub digest: Option<harness_model::resolve::SpecDigest>,
    pub launch_asked: bool,
    asked_at: Time,
    forgiven: bool,
    pub launched: Option<Time>,
    pub stop_asked: bool,
    stop_begun: bool,
    pub over: bool,
    pub exited_well: bool,
    pub probing: bool,
    pub was_healthy: bool,
    bad_in_a_row: u32,
    unknown: bool,
    matched: BTreeSet<LogPattern>,
    row: u32,
}

impl View {
    pub fn live(&self) -> bool {
        self.launch_asked && !self.over
    }

    fn up(&self) -> bool {
        self.launched.is_some() && !self.over && !self.stop_asked
    }

    fn healthy(&self, retries: u32) -> bool {
        self.up() && self.was_healthy && !self.unknown && self.bad_in_a_row < retries.max(1)
    }

    /// Whether it ended well, and not before it was healthy.
    fn ended_ready(&self, definition: Option<&Definition>) -> bool {
        let awaited = definition.is_some_and(|d| d.health.is_some() && !d.oneshot);
        self.exited_well && (self.was_healthy || !awaited)
    }
}

#[derive(Default)]
pub struct Checker {
    pub views: BTreeMap<ServiceName, View>,
    /// Operations in flight, with the targets of the starts.
    pub open: BTreeMap<OperationId, BTreeSet<ServiceName>>,
    pub finished: BTreeMap<OperationId, Outcome>,
    pub published: BTreeMap<ServiceName, Snapshot>,
    pub hooks: HooksCheck,
    submitting: bool,
}

type Verdict = Result<(), String>;

impl Checker {
    /// Before the machine sees it.
    pub fn event(&mut self, event: &Event, now: Time) {
        self.submitting = matches!(event, Event::Submit { .. });
        self.hooks.event(event);
        match event {
            Event::Launched { service, generation } => {
                if let Some(view) = self.of(service, *generation) {
                    view.launched = Some(now);
                }
            }
            Event::LaunchFailed {
                service, generation, ..
            } => {
                if let Some(view) = self.of(service, *generation) {
                    view.over = true;
                }
            }
            Event::Exited {
                service,
                generation,
                ended,
            } => {
                if let Some(view) = self.of(service, *generation) {
                    view.over = true;
                    // Only one-shots that are done end in the second way.
                    let well = matches!(
                        ended,
                        Ended::Exit(ExitStatus::Code(0)) | Ended::Unsupervised(ExitStatus::Code(0))
                    );
                    view.exited_well = well && !view.stop_asked;
                    if view
                        .launched
                        .is_some_and(|at| now.since(at) >= Duration::from_secs(10))
                    {
                        view.row = 0;
                    }
                }
            }
            Event::Probed {
                service,
                generation,
                outcome,
            } => {
                if let Some(view) = self.of(service, *generation) {
                    view.probing = false;
                    match outcome {
                        ProbeOutcome::Healthy => {
                            view.was_healthy = true;
                            view.unknown = false;
                            view.bad_in_a_row = 0;
                        }
                        ProbeOutcome::Unhealthy(_) => view.bad_in_a_row += 1,
                        ProbeOutcome::Unknown(_) => view.unknown = true,
                    }
                }
            }
            Event::LogMatched {
                service,
                generation,
                pattern,
            } => {
                if let Some(view) = self.of(service, *generation) {
                    view.matched.insert(pattern.clone());
                }
            }
            Event::Submit { .. } => self.forgive(),
            _ => {}
        }
    }

    /// The next launch is not by a restart policy alone.
    pub fn forgive(&mut self) {
        self.views.values_mut().for_each(|view| view.forgiven = true);
    }

    /// A new daemon has adopted a process.
    pub fn adopted(&mut self, service: &ServiceName, launched_at: Time, was_ready: bool) {
        if let Some(view) = self.views.get_mut(service) {
            view.launched = Some(launched_at);
            view.probing = false;
            view.stop_asked = false;
            view.stop_begun = false;
            view.unknown = true;
            view.was_healthy &= was_ready;
            view.matched.clear();
            view.row = 0;
        }
    }

    fn of(&mut self, service: &ServiceName, generation: u64) -> Option<&mut View> {
        self.views
            .get_mut(service)
            .filter(|view| view.generation == generation)
    }

    /// One effect, in order.
    pub fn effect(&mut self, machine: &Machine, effect: &Effect, now: Time) -> Verdict {
        let desired = match effect {
            Effect::Launch { service, .. } => machine.definition(service).map(Terms::of),
            _ => None,
        };
        self.hooks.effect(effect, desired)?;
        match effect {
            Effect::Launch {
                service,
                generation,
                digest,
            } => self.launch(machine, service, *generation, digest, now),
            Effect::RunHook {
                service,
                hook: Hook::BeforeStop,
                ..
            } => self.begin_stop(machine, service),
            Effect::Stop { service, generation } => self.stop(machine, service, *generation),
            Effect::Kill { service, generation } => self.must_be_live("kill", service, *generation),
            Effect::Probe { service, generation } => {
                self.must_be_live("probe", service, *generation)?;
                let view = self.views.get_mut(service).unwrap();
                let fine = view.up() && !view.probing;
                view.probing = true;
                ensure(fine, || {
                    format!("probe of {service} while one is in flight or it is not up")
                })
            }
            Effect::WatchLog {
                service, generation, ..
            } => self.must_be_live("watch", service, *generation),
            Effect::Finished { operation, outcome } => {
                let Some(targets) = self.open.remove(operation) else {
                    return Err(format!("{operation:?} finished twice or was never asked"));
                };
                self.finished.insert(*operation, outcome.outcome.clone());
                if outcome.outcome != Outcome::Done {
                    return Ok(());
                }
                for (service, timing) in &outcome.timings {
                    // Another request may have started it after it was gone.
                    let former =
                        |view: &View| view.live() && timing.done.is_none_or(|done| view.asked_at < done);
                    let live = self.views.get(service).is_some_and(former);
                    let down = timing.change == Change::Stop || targets.is_empty();
                    ensure(!down || !live, || {
                        format!("{service} lives after a stop that was done")
                    })?;
                }
                targets
                    .iter()
                    .try_for_each(|service| self.must_be_ready(machine, service, now))
            }
            _ => Ok(()),
        }
    }

    fn must_be_ready(&self, machine: &Machine, service: &ServiceName, now: Time) -> Verdict {
        let ready = machine
            .snapshot(service, now)
            .is_some_and(|snapshot| snapshot.ready);
        let definition = machine.definition(service);
        let health = definition.and_then(|d| d.health.clone());
        let view = self.views.get(service).cloned().unwrap_or_default();
        let really =
            view.ended_ready(definition) || view.up() && health.is_none_or(|h| view.healthy(h.retries));
        ensure(ready && really, || {
            format!("start done, and {service} is not ready: {view:?}")
        })
    }

    fn must_be_live(&self, what: &str, service: &ServiceName, generation: u64) -> Verdict {
        let live = self
            .views
            .get(service)
            .is_some_and(|v| v.live() && v.generation == generation);
        ensure(live, || {
            format!("{what} of {service}.{generation}, which does not live")
        })
    }

    fn launch(
        &mut self,
        machine: &Machine,
        service: &ServiceName,
        generation: u64,
        digest: &harness_model::resolve::SpecDigest,
        now: Time,
    ) -> Verdict {
        let definition = machine
            .definition(service)
            .ok_or("launch of an unknown service")?
            .clone();
        ensure(definition.digest == *digest, || {
            format!("{service} launched by another spec")
        })?;
        for dependency in definition.dependencies.iter().filter(|d| d.required) {
            let on = &dependency.service;
            let holds = self.holds(machine, on, &dependency.condition);
            ensure(holds, || {
                format!(
                    "{service} launched while {on} does not {}",
                    dependency.condition.describe()
                )
            })?;
        }
        let view = self.views.entry(service.clone()).or_default();
        ensure(!view.live(), || {
            format!("{service}.{generation} launched beside {}", view.generation)
        })?;
        ensure(generation > view.generation, || {
            format!("{service}: generation {generation} again")
        })?;
        let by_policy = view.launch_asked && !view.stop_asked && !view.forgiven;
        let row = if by_policy { view.row + 1 } else { 0 };
        let most = match definition.restart.mode {
            RestartMode::No => Some(0),
            _ => definition.restart.max_restarts,
        };
        ensure(!by_policy || most.is_none_or(|most| row <= most), || {
            format!("{service} restarted {row} times in a row, at most {most:?}")
        })?;
        *view = View {
            generation,
            digest: Some(digest.clone()),
            launch_asked: true,
            asked_at: now,
            row,
            ..View::default()
        };
        Ok(())
    }

    fn holds(&self, machine: &Machine, on: &ServiceName, condition: &Condition) -> bool {
        let Some(view) = self.views.get(on) else {
            return *condition == Condition::None;
        };
        let definition: Option<&Definition> = machine.definition(on);
        match condition {
            Condition::None => true,
            Condition::Started => view.up() || view.exited_well,
            Condition::Ready if definition.is_none_or(|d| d.health.is_none()) => {
                view.up() || view.exited_well
            }
            Condition::Ready if view.ended_ready(definition) => true,
            Condition::Ready | Condition::Healthy => definition
                .and_then(|d| d.health.as_ref())
                .is_some_and(|h| view.healthy(h.retries)),
            // A rollback that follows from the launch in the same step may have forgotten a service that is not in
            // the file.
            Condition::Completed => {
                view.exited_well && definition.is_none_or(|d| view.digest.as_ref() == Some(&d.digest))
            }
            Condition::Log(pattern) => {
                (view.up() || view.exited_well) && view.matched.contains(&LogPattern(pattern.clone()))
            }
        }
    }

    fn stop(&mut self, machine: &Machine, service: &ServiceName, generation: u64) -> Verdict {
        self.must_be_live("stop", service, generation)?;
        self.begin_stop(machine, service)?;
        let view = self.views.get_mut(service).unwrap();
        ensure(!view.stop_asked, || format!("{service} stopped twice"))?;
        view.stop_asked = true;
        Ok(())
    }

    /// The first of hook and signal. Dependents that are to stop as well must be gone by then.
    fn begin_stop(&mut self, machine: &Machine, service: &ServiceName) -> Verdict {
        let view = self.views.get_mut(service).unwrap();
        if std::mem::replace(&mut view.stop_begun, true) {
            return Ok(());
        }
        let unwanted = |name: &ServiceName| {
            machine
                .snapshot(name, Time::default())
                .is_some_and(|snapshot| !snapshot.wanted)
        };
        if unwanted(service) {
            // A rollback may follow from a stop within one step. What it adds comes too late to be waited for.
            let before =
                |name: &ServiceName| self.published.get(name).is_some_and(|snapshot| !snapshot.wanted);
            let submitting = self.submitting;
            for dependent in machine
                .services()
                .filter(|name| unwanted(name) && (submitting || before(name)))
            {
                let depends = machine.definition(dependent).is_some_and(|d| {
                    d.dependencies
                        .iter()
                        .any(|d| d.service == *service && d.condition != Condition::None)
                });
                let lives = self.views.get(dependent).is_some_and(View::live);
                let adrift = machine
                    .snapshot(dependent, Time::default())
                    .is_some_and(|snapshot| snapshot.state == ServiceState::Unknown);
                ensure(!depends || !lives || adrift, || {
                    format!("{service} stopped before its dependent {dependent}")
                })?;
            }
        }
        Ok(())
    }

    /// After each step.
    pub fn step_over(&mut self, machine: &Machine, effects: &[Effect], now: Time) -> Verdict {
        if let Some(due) = machine.next_deadline() {
            ensure(due > now, || format!("deadline {due:?} is not ahead of {now:?}"))?;
        }
        let changed: BTreeSet<&ServiceName> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Changed { service, message } if !message.is_empty() => Some(service),
                _ => None,
            })
            .collect();
        for service in machine.services() {
            let snapshot = machine
                .snapshot(service, now)
                .ok_or("no snapshot of a known service")?;
            let same = self.published.get(service) == Some(&snapshot);
            ensure(same != changed.contains(service), || {
                format!("{service}: changed and not told, or told and not changed: {snapshot:?}")
            })?;
            let view = self.views.get(service).cloned().unwrap_or_default();
            let retries = machine
                .definition(service)
                .and_then(|d| d.health.as_ref())
                .map_or(1, |h| h.retries);
            ensure(
                snapshot.health != Health::Healthy || view.healthy(retries),
                || format!("{service} is shown as healthy: {view:?}"),
            )?;
            ensure(!view.live() || snapshot.state.is_live(), || {
                format!("{service} lives and is shown as {}", snapshot.state)
            })?;
            self.hooks.shown(service, snapshot.state)?;
            // If it was stopped for somebody, its next launch is no restart by policy, even if it then ends by
            // itself.
            if let Some(view) = self
                .views
                .get_mut(service)
                .filter(|_| snapshot.state == ServiceState::Stopping)
                .filter(|_| snapshot.failure.is_none() && !snapshot.ended_well)
            {
                view.forgiven = true;
            }
            self.published.insert(service.clone(), snapshot);
        }
        Ok(())
    }
}

fn ensure(fine: bool, message: impl FnOnce() -> String) -> Verdict {
    if fine { Ok(()) } else { Err(message()) }
}

//! The promises, checked from what went in and came out. The checks know nothing of the machine's inside.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use harness_model::spec::{Condition, RestartMode};
use harness_model::{ExitStatus, Health, ServiceName, ServiceState};
use service_orchestration::machine::{
    CONTACT_TIMEOUT, Change, Deed, Definition, Effect, Ended, Event, FailureCause, Happened, HealthPolicy,
    Hook, LogPattern, Lost, Machine, OperationId, Outcome, ProbeOutcome, Snapshot, Terms, Time,
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
    /// The health check of its image, if its definition has none.
    pub found_health: Option<HealthPolicy>,
    /// Since when it cannot be reached.
    pub lost_since: Option<Time>,
    paused: bool,
    /// It was reached again, so what was ordered before may be ordered again.
    may_repeat: bool,
    /// The first launch of the row of attempts, and for how long it was not reached since.
    row_since: Time,
    row_lost: Duration,
    bad_in_a_row: u32,
    unknown: bool,
    matched: BTreeSet<LogPattern>,
    row: u32,
}

impl View {
    pub fn live(&self) -> bool {
        self.launch_asked && !self.over
    }

    fn runs(&self) -> bool {
        self.launched.is_some() && !self.over && !self.stop_asked
    }

    fn up(&self) -> bool {
        self.runs() && self.lost_since.is_none() && !self.paused
    }

    /// It is reached again.
    fn back(&mut self, now: Time) {
        self.paused = false;
        if let Some(since) = self.lost_since.take() {
            self.row_lost += now.since(since);
            self.may_repeat = true;
            (self.unknown, self.bad_in_a_row) = (true, 0);
        }
    }

    fn happened(&mut self, happened: &Happened, now: Time) {
        match happened {
            Happened::Launched => {
                self.back(now);
                self.unknown = false;
                self.launched = Some(now);
            }
            Happened::Progressed(_) => self.back(now),
            Happened::HealthFound { policy, .. } => self.found_health = Some(policy.clone()),
            Happened::Contact(_) if !self.live() => {}
            Happened::Contact(Some(Lost::Contact(_))) => {
                self.lost_since.get_or_insert(now);
            }
            Happened::Contact(Some(Lost::Paused(_))) => {
                self.back(now);
                self.paused = true;
            }
            Happened::Contact(None) => {
                self.back(now);
                (self.unknown, self.bad_in_a_row) = (true, 0);
            }
            Happened::LaunchFailed(_) => {
                self.back(now);
                self.over = true;
            }
            Happened::Exited(ended) => {
                self.back(now);
                self.over = true;
                // Only one-shots that are done end in the second way.
                let well = matches!(
                    ended,
                    Ended::Exit(ExitStatus::Code(0)) | Ended::Unsupervised(ExitStatus::Code(0))
                );
                self.exited_well = well && !self.stop_asked;
                if self
                    .launched
                    .is_some_and(|at| now.since(at) >= Duration::from_secs(10))
                {
                    self.row = 0;
                }
            }
            Happened::Probed(outcome) => {
                self.probing = false;
                let vague = self.lost_since.is_some() || self.paused;
                match outcome {
                    ProbeOutcome::Unhealthy(_) if vague => self.unknown = true,
                    ProbeOutcome::Healthy => {
                        self.was_healthy = true;
                        (self.unknown, self.bad_in_a_row) = (false, 0);
                    }
                    ProbeOutcome::Unhealthy(_) => self.bad_in_a_row += 1,
                    ProbeOutcome::Unknown(_) => self.unknown = true,
                }
            }
            Happened::LogMatched(pattern) => {
                self.matched.insert(pattern.clone());
            }
            Happened::HookFinished { .. } | Happened::HooksEnded => {}
        }
    }

    fn health<'a>(&'a self, definition: Option<&'a Definition>) -> Option<&'a HealthPolicy> {
        definition
            .and_then(|d| d.health.as_ref())
            .or(self.found_health.as_ref())
    }

    /// Whether nobody waits for it any more.
    fn long_lost(&self, now: Time) -> bool {
        self.lost_since
            .is_some_and(|since| now.since(since) >= CONTACT_TIMEOUT)
    }

    fn healthy(&self, retries: u32) -> bool {
        self.up() && self.was_healthy && !self.unknown && self.bad_in_a_row < retries.max(1)
    }

    /// Whether it ended well, and not before it was healthy.
    fn ended_ready(&self, definition: Option<&Definition>) -> bool {
        let awaited = definition.is_some_and(|d| self.health(Some(d)).is_some() && !d.oneshot);
        self.exited_well && (self.was_healthy || !awaited)
    }
}

#[derive(Default)]
pub struct Checker {
    pub views: BTreeMap<ServiceName, View>,
    /// Operations in flight, with the targets of the starts.
    pub open: BTreeMap<OperationId, BTreeSet<ServiceName>>,
    submitted: BTreeMap<OperationId, Time>,
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
            Event::Generation {
                service,
                generation,
                happened,
            } => {
                if let Some(view) = self.of(service, *generation) {
                    view.happened(happened, now);
                }
            }
            Event::Submit { operation, .. } => {
                self.submitted.insert(*operation, now);
                self.forgive();
            }
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
            view.paused = false;
            view.lost_since = None;
            view.stop_asked = false;
            view.stop_begun = false;
            view.unknown = true;
            view.was_healthy &= was_ready;
            view.matched.clear();
            view.row = 0;
        }
    }

    /// A new daemon does not know what became of a process.
    pub fn not_known(&mut self, service: &ServiceName, now: Time) {
        if let Some(view) = self.views.get_mut(service) {
            view.lost_since = Some(now);
            view.probing = false;
            // Its place tells that as well, if it runs.
            view.found_health = None;
            view.stop_begun = false;
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
            Effect::Generation {
                service,
                deed: Deed::Launch(_),
                ..
            } => machine.definition(service).map(Terms::of),
            _ => None,
        };
        self.hooks.effect(effect, desired)?;
        self.must_be_reached(effect)?;
        match effect {
            Effect::Generation {
                service,
                generation,
                deed: Deed::Launch(digest),
            } => self.launch(machine, service, *generation, digest, now),
            Effect::Generation {
                service,
                deed: Deed::RunHook(Hook::BeforeStop),
                ..
            } => self.begin_stop(machine, service, now),
            Effect::Generation {
                service,
                generation,
                deed: Deed::Stop,
            } => self.stop(machine, service, *generation, now),
            Effect::Generation {
                service,
                generation,
                deed: Deed::Kill,
            } => self.must_be_live("kill", service, *generation),
            Effect::Generation {
                service,
                generation,
                deed: Deed::Probe,
            } => {
                self.must_be_live("probe", service, *generation)?;
                let view = self.views.get_mut(service).unwrap();
                let fine = view.runs() && !view.probing;
                view.probing = true;
                ensure(fine, || {
                    format!("probe of {service} while one is in flight or it is not up")
                })
            }
            Effect::Generation {
                service,
                generation,
                deed: Deed::WatchLog(_),
            } => self.must_be_live("watch", service, *generation),
            Effect::Finished { operation, outcome } => {
                let Some(targets) = self.open.remove(operation) else {
                    return Err(format!("{operation:?} finished twice or was never asked"));
                };
                self.finished.insert(*operation, outcome.outcome.clone());
                self.waited_for_contact(*operation, &outcome.outcome, now)?;
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

    /// Nothing is ordered of what cannot be reached.
    fn must_be_reached(&self, effect: &Effect) -> Verdict {
        let Effect::Generation { service, deed, .. } = effect else {
            return Ok(());
        };
        if matches!(deed, Deed::Probe | Deed::WatchLog(_)) {
            return Ok(());
        }
        let lost = self
            .views
            .get(service)
            .is_some_and(|view| view.live() && view.lost_since.is_some());
        ensure(!lost, || format!("{effect:?}, and {service} cannot be reached"))
    }

    /// An order that gives up a place has waited for it.
    fn waited_for_contact(&mut self, operation: OperationId, outcome: &Outcome, now: Time) -> Verdict {
        let submitted = self.submitted.remove(&operation).unwrap_or_default();
        let Outcome::Failed(roots) = outcome else {
            return Ok(());
        };
        for root in roots.iter().filter(|root| root.cause == FailureCause::NotReached) {
            // A rollback may have followed, and it may be reached since.
            let Some(since) = self.views.get(&root.service).and_then(|view| view.lost_since) else {
                continue;
            };
            ensure(now.since(since.max(submitted)) >= CONTACT_TIMEOUT, || {
                format!("{} was given up too soon", root.service)
            })?;
        }
        Ok(())
    }

    fn must_be_ready(&self, machine: &Machine, service: &ServiceName, now: Time) -> Verdict {
        let ready = machine
            .snapshot(service, now)
            .is_some_and(|snapshot| snapshot.ready);
        let definition = machine.definition(service);
        let view = self.views.get(service).cloned().unwrap_or_default();
        let health = view.health(definition).cloned();
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
        // Without a restart before it, it begins a new row.
        let restarts = machine
            .snapshot(service, now)
            .map_or(0, |snapshot| snapshot.restarts);
        let (row_since, row_lost) = match restarts {
            0 => (now, Duration::ZERO),
            _ => (view.row_since, view.row_lost),
        };
        *view = View {
            generation,
            row_since,
            row_lost,
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
            Condition::Ready if view.health(definition).is_none() => view.up() || view.exited_well,
            Condition::Ready if view.ended_ready(definition) => true,
            Condition::Ready | Condition::Healthy => {
                view.health(definition).is_some_and(|h| view.healthy(h.retries))
            }
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

    fn stop(&mut self, machine: &Machine, service: &ServiceName, generation: u64, now: Time) -> Verdict {
        self.must_be_live("stop", service, generation)?;
        self.begin_stop(machine, service, now)?;
        let view = self.views.get_mut(service).unwrap();
        let again = std::mem::take(&mut view.may_repeat);
        ensure(!view.stop_asked || again, || format!("{service} stopped twice"))?;
        view.stop_asked = true;
        Ok(())
    }

    /// The first of hook and signal. Dependents that are to stop as well must be gone by then.
    fn begin_stop(&mut self, machine: &Machine, service: &ServiceName, now: Time) -> Verdict {
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
                let waited_for = |view: &View| view.live() && !view.long_lost(now);
                let lives = self.views.get(dependent).is_some_and(waited_for);
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
            let definition = machine.definition(service);
            let retries = view.health(definition).map_or(1, |h| h.retries);
            ensure(
                snapshot.health != Health::Healthy || view.healthy(retries),
                || format!("{service} is shown as healthy: {view:?}"),
            )?;
            ensure(!view.live() || snapshot.state.is_live(), || {
                format!("{service} lives and is shown as {}", snapshot.state)
            })?;
            self.hooks.shown(service, snapshot.state)?;
            let before = self
                .published
                .get(service)
                .and_then(|before| before.failure.clone());
            let newly = |cause| snapshot.failure == Some(cause) && snapshot.failure != before;
            if view.live() && view.lost_since.is_some() {
                let vague = matches!(snapshot.state, ServiceState::Unknown | ServiceState::Stopping);
                ensure(vague, || {
                    format!("{service} cannot be reached and is shown as {}", snapshot.state)
                })?;
                ensure(!newly(FailureCause::WouldNotStop), || {
                    format!("{service} cannot be reached and is said to have survived a kill")
                })?;
            }
            if newly(FailureCause::StartupTimeout) {
                let lost = view.lost_since.map_or(Duration::ZERO, |since| now.since(since));
                let had = now.since(view.row_since).saturating_sub(view.row_lost + lost);
                let within = definition.map_or(Duration::ZERO, |d| d.startup_timeout);
                ensure(had >= within, || {
                    format!("{service} had {had:?} to start, and {within:?} are its due")
                })?;
            }
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

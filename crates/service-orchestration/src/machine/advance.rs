//! Brings services up: each takes every step that it can take, and then the services that this affects are asked
//! again.

use std::collections::BTreeSet;

use harness_model::spec::{Condition, RestartMode};
use harness_model::{Health, ServiceName};

use super::Machine;
use super::effect::{Deed, Effect};
use super::health::{Due, Probing};
use super::restart::STABLE;
use super::service::{Active, Failure, Halt, MARGIN, Phase, Rest, SETTLE, Service, Stage};
use super::terms::Terms;
use super::types::{FailureCause, Hook, LogPattern, Time};
use super::words;

impl Machine {
    /// Lets every affected service take every step that it can take, until no step is left.
    pub(super) fn settle(&mut self) {
        while let Some(name) = self.dirty.pop_first() {
            while self.advance(&name) {}
            self.note_facts(name);
        }
    }

    fn advance(&mut self, name: &ServiceName) -> bool {
        let now = self.now;
        if self.is_given_up_now(name) {
            return true;
        }
        let Some(service) = self.services.get(name) else {
            return false;
        };
        match &service.phase {
            Phase::Idle(_) => {
                if !service.defined && !service.wanted {
                    self.forget(name);
                }
                false
            }
            Phase::Pending => {
                let open = self.may_start(service);
                if open {
                    self.begin(name);
                }
                open
            }
            Phase::Backoff { until } => {
                let due = *until <= now;
                if due && let Some(service) = self.services.get_mut(name) {
                    service.phase = Phase::Pending;
                }
                due
            }
            Phase::Active(_) => self.advance_active(name),
            Phase::Stopping(stopping) => {
                let due = stopping.until <= now && !service.is_unreached();
                if due {
                    self.stop_stage_overdue(name);
                }
                due
            }
            Phase::Adrift(_) => false,
        }
    }

    /// Notifies the others if something has changed that they depend on, and sets the timer again.
    fn note_facts(&mut self, name: ServiceName) {
        self.touched.insert(name.clone());
        let Some(service) = self.services.get(&name) else {
            return;
        };
        let (facts, timer) = (self.facts(&name, service), service.deadline());
        if timer != service.timer {
            if let Some(old) = service.timer {
                self.timers.remove(&(old, name.clone()));
            }
            if let Some(new) = timer {
                self.timers.insert((new, name.clone()));
            }
        }
        if facts != service.facts {
            self.dirty
                .extend(self.dependents.get(&name).into_iter().flatten().cloned());
            let (now, before) = (&facts, &service.facts);
            if now.going != before.going
                || now.state != before.state
                || now.long_unreached != before.long_unreached
            {
                // They may be waiting until this service is gone.
                let going = service.definition.dependencies.iter().map(|d| &d.service);
                let going = going.filter(|d| self.services.get(*d).is_some_and(Service::is_going));
                self.dirty.extend(going.cloned());
            }
        }
        if let Some(service) = self.services.get_mut(&name) {
            service.facts = facts;
            service.timer = timer;
        }
    }

    /// Begins a new generation. Nothing of a former one runs, because only a pending service gets here.
    fn begin(&mut self, name: &ServiceName) {
        let now = self.now;
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        service.generation = service.generation.saturating_add(1);
        service.digest = Some(service.definition.digest.clone());
        service.matched.clear();
        service.absence = None;
        service.found_health = None;
        service.hook_note = None;
        let terms = Terms::of(&service.definition);
        let prepares = terms.has(Hook::BeforeStart);
        let until = now.after(terms.limit(Hook::BeforeStart)).after(MARGIN);
        service.phase = Phase::Active(Active {
            stage: Stage::Preparing { until },
            halt: None,
            terms,
        });
        if !prepares {
            return self.launch(name);
        }
        service.note("running its before_start hook");
        let (generation, hook) = (service.generation, Hook::BeforeStart);
        self.actions.push(Effect::Generation {
            service: name.clone(),
            generation,
            deed: Deed::RunHook(hook),
        });
    }

    /// Launches a generation that is prepared.
    pub(super) fn launch(&mut self, name: &ServiceName) {
        let now = self.now;
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        let Phase::Active(active) = &mut service.phase else {
            return;
        };
        active.stage = Stage::Launching {
            since: now,
            doing: None,
            before: None,
        };
        let window = now.after(service.startup_timeout());
        service.series.window.get_or_insert(window);
        service.note("launching");
        let generation = service.generation;
        self.actions.push(Effect::Generation {
            service: name.clone(),
            generation,
            deed: Deed::Launch(service.definition.digest.clone()),
        });
        self.operations_saw_launch(name);
        if generation > 1 {
            for dependent in self.restarting_with(name) {
                self.halt(&dependent, Halt::Asked, &format!("restarting with {name}"));
            }
        }
    }

    /// The running services that ask to be restarted when this one is.
    pub(super) fn restarting_with(&self, name: &ServiceName) -> Vec<ServiceName> {
        let wants = |dependent: &ServiceName| {
            self.services.get(dependent).is_some_and(|service| {
                service.is_staying()
                    && service
                        .definition
                        .dependencies
                        .iter()
                        .any(|d| d.restart && d.service == *name && d.condition != Condition::None)
            })
        };
        self.dependents_of(name).filter(|d| wants(d)).cloned().collect()
    }

    fn advance_active(&mut self, name: &ServiceName) -> bool {
        let now = self.now;
        let Some(service) = self.services.get(name) else {
            return false;
        };
        let Phase::Active(active) = &service.phase else {
            return false;
        };
        if let Some(halt) = &active.halt {
            // What cannot be reached is stopped when it is reached again, by the order that holds then.
            let open = !service.is_unreached()
                && (matches!(halt, Halt::Failed(_)) || !self.has_going_dependents(name));
            if open {
                self.begin_stop(name);
            }
            return open;
        }
        let counts = !service.is_unreached();
        if let Stage::Preparing { until } = active.stage {
            let due = until <= now && counts;
            if due {
                self.preparing_failed(name, "it did not end in time".into());
            }
            return due;
        }
        let ready = service
            .up()
            .is_some_and(|up| up.was_ready || service.up_is_ready(up));
        if !ready && counts && service.series.window.is_some_and(|window| window <= now) {
            self.startup_timed_out(name);
            return true;
        }
        match service.up() {
            None => false,
            Some(_) => self.advance_up(name),
        }
    }

    fn startup_timed_out(&mut self, name: &ServiceName) {
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        let goal = if service.definition.oneshot {
            "completed"
        } else if service.up().is_none() {
            "launched"
        } else {
            "healthy"
        };
        let mut reason = format!("not {goal} within {}", words::brief(service.startup_timeout()));
        if let Some(lost) = service.lost() {
            reason = format!("{reason}: {}", lost.why());
        } else if let Some(answer) = service
            .up()
            .and_then(|up| up.probing.as_ref())
            .and_then(Probing::last)
        {
            reason = format!("{reason}: {answer}");
        } else if let Some(doing) = service.doing() {
            reason = format!("{reason}: {doing}");
        }
        service.series.overdue = true;
        let failure = Failure {
            cause: FailureCause::StartupTimeout,
            reason: reason.clone(),
        };
        let retries = service.retries();
        match service.up_mut() {
            // The order that waited for it fails; the service runs on, and may still become healthy.
            Some(up) if !retries => {
                if let Some(probing) = &mut up.probing {
                    probing.start_is_over();
                }
                service.series.window = None;
                service.series.failure = Some(failure);
                service.series.failed = service.generation;
                service.note(format!("{reason}; it keeps running"));
            }
            _ => self.halt(name, Halt::Failed(failure), &reason),
        }
    }

    /// Advances a running service: readiness, stability, patterns, probes.
    fn advance_up(&mut self, name: &ServiceName) -> bool {
        let now = self.now;
        let patterns = self.patterns_of(name);
        let Some(service) = self.services.get_mut(name) else {
            return false;
        };
        let generation = service.generation;
        let counts = !service.is_unreached();
        let Some(up) = service.up_mut() else {
            return false;
        };
        for pattern in patterns {
            if up.watched.insert(pattern.clone()) {
                self.actions.push(Effect::Generation {
                    service: name.clone(),
                    generation,
                    deed: Deed::WatchLog(pattern),
                });
            }
        }
        up.settled |= counts && up.launched_at.after(SETTLE) <= now;
        match up.probing.as_mut().and_then(|probing| probing.due(now)) {
            Some(Due::Probe) => {
                self.actions.push(Effect::Generation {
                    service: name.clone(),
                    generation,
                    deed: Deed::Probe,
                });
            }
            Some(Due::NothingButHealthLost) => service.note("its probe does not answer"),
            None => {}
        }
        let first = follow_readiness(service, now);
        if first {
            self.run_after_healthy(name);
        }
        let Some(service) = self.services.get(name) else {
            return false;
        };
        let ill = service.health() == Health::Unhealthy && service.definition.restart.mode != RestartMode::No;
        if ill {
            let failure = unhealthy(service);
            let reason = failure.reason.clone();
            self.halt(name, Halt::Failed(failure), &reason);
        }
        ill
    }

    fn run_after_healthy(&mut self, name: &ServiceName) {
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        let generation = service.generation;
        if let Phase::Active(Active {
            stage: Stage::Up(up),
            terms,
            ..
        }) = &mut service.phase
            && terms.has(Hook::AfterHealthy)
        {
            up.hook_runs = true;
            let hook = Hook::AfterHealthy;
            self.actions.push(Effect::Generation {
                service: name.clone(),
                generation,
                deed: Deed::RunHook(hook),
            });
        }
    }

    /// Whether a dependent waits for a line of this service's output.
    pub fn waits_for_output_of(&self, name: &ServiceName) -> bool {
        self.patterns
            .get(name)
            .is_some_and(|patterns| !patterns.is_empty())
    }

    fn patterns_of(&self, name: &ServiceName) -> BTreeSet<LogPattern> {
        self.patterns.get(name).cloned().unwrap_or_default()
    }

    fn forget(&mut self, name: &ServiceName) {
        let Some(service) = self.services.remove(name) else {
            return;
        };
        if let Some(timer) = service.timer {
            self.timers.remove(&(timer, name.clone()));
        }
        self.unlink(name, &service.definition);
        self.dirty
            .extend(self.dependents.get(name).into_iter().flatten().cloned());

        self.heard.insert(name.clone());
        self.retired.insert(name.clone(), service.generation);
        self.forgotten.push(name.clone());
    }
}

/// Updates the marks of being ready. Returns `true` when the service is ready for the first time.
fn follow_readiness(service: &mut Service, now: Time) -> bool {
    let ready = service.is_ready();
    let streak_over = service
        .up()
        .and_then(|up| up.stable_since)
        .is_some_and(|since| since.after(STABLE) <= now);
    let Some(up) = service.up_mut() else {
        return false;
    };
    let first = ready && !up.was_ready;
    let launched_at = up.launched_at;
    let probed = up.probing.is_some();
    up.was_ready |= ready;
    up.stable_since = if ready {
        up.stable_since.or(Some(now))
    } else {
        None
    };
    if ready {
        service.series.window = None;
        if std::mem::take(&mut service.series.overdue) {
            service.series.failure = None;
        }
    }
    if ready && streak_over {
        service.series.streak = 0;
        service.series.failure = None;
    }
    if first && probed {
        service.note(format!("healthy after {}", words::brief(now.since(launched_at))));
    }
    first
}

/// Why a running service is not healthy. One that was never ready says how long it had.
pub(super) fn unhealthy(service: &Service) -> Failure {
    if let Some(failure) = service.missed_start() {
        return failure;
    }
    let last = service
        .up()
        .and_then(|up| up.probing.as_ref())
        .and_then(Probing::last);
    Failure {
        cause: FailureCause::Unhealthy,
        reason: match last {
            Some(answer) => format!("unhealthy: {answer}"),
            None => "unhealthy".into(),
        },
    }
}

impl Service {
    /// Puts a service to rest: nothing of it runs any more, and it is not wanted.
    pub(super) fn rest(&mut self, rest: Rest) {
        self.phase = Phase::Idle(rest);
        self.series = Default::default();
    }
}

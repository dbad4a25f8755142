//! Stops services: dependents first, then hook, signal, grace period, kill. What follows is in `ending`.
//!
//! A generation that is to be stopped stays in its phase until no service that is stopped as well depends on it. A
//! generation that failed without ending (not ready in time, unhealthy) does not wait: its dependents stay.

use harness_model::ServiceName;
use harness_model::spec::Condition;

use super::Machine;
use super::effect::{Deed, Effect};
use super::service::{Active, Adrift, Failure, Halt, Next, Phase, Rest, Stage, Stopping};
use super::stop_stage::StopStage;
use super::types::{FailureCause, Hook};

impl Machine {
    /// Marks a generation, so that it is stopped as soon as it is its turn. Does nothing if nothing runs.
    pub(super) fn halt(&mut self, name: &ServiceName, halt: Halt, why: &str) {
        if let Some(service) = self.services.get_mut(name)
            && let Phase::Active(active) = &mut service.phase
            && active.halt.is_none()
        {
            active.halt = Some(halt);
            service.note(why);
            self.dirty.insert(name.clone());
        }
    }

    /// The service is no longer wanted.
    pub(super) fn release(&mut self, name: &ServiceName) {
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        service.wanted = false;
        self.dirty.insert(name.clone());
        match &mut service.phase {
            Phase::Idle(rest) => {
                if !matches!(rest, Rest::Stopped | Rest::Rebooted) {
                    service.rest(Rest::Stopped);
                    service.note("stopped");
                }
            }
            Phase::Pending | Phase::Backoff { .. } => {
                service.rest(Rest::Stopped);
                service.note("stopped");
            }
            Phase::Active(Active { halt: Some(halt), .. }) => *halt = Halt::Asked,
            Phase::Active(_) => self.halt(name, Halt::Asked, "stopping"),
            Phase::Stopping(stopping) => stopping.next = Next::Asked,
            Phase::Adrift(_) => self.kill_again(name),
        }
    }

    /// Tries once more to kill what would not stop.
    pub(super) fn kill_again(&mut self, name: &ServiceName) {
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        match std::mem::replace(&mut service.phase, Phase::Pending) {
            Phase::Adrift(Adrift { held, .. }) => {
                let stage = held.stage;
                service.phase = Phase::Stopping(Stopping {
                    next: Next::Asked,
                    ..held
                });
                service.note("killing it again");
                self.dirty.insert(name.clone());
                self.enter(name, stage);
            }
            other => service.phase = other,
        }
    }

    /// Whether a dependent of it is being stopped and is not gone yet.
    pub(super) fn has_going_dependents(&self, name: &ServiceName) -> bool {
        self.dependents_of(name).any(|dependent| {
            self.services.get(dependent).is_some_and(|service| {
                service.is_going()
                    && !service.is_long_unreached()
                    && !self.loose_edges.contains(&(dependent.clone(), name.clone()))
                    && service
                        .definition
                        .dependencies
                        .iter()
                        .any(|d| d.service == *name && d.condition != Condition::None)
            })
        })
    }

    /// Stops a generation when its turn has come.
    pub(super) fn begin_stop(&mut self, name: &ServiceName) {
        let now = self.now;
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        let Phase::Active(Active {
            stage,
            halt: Some(halt),
            terms,
        }) = &service.phase
        else {
            return;
        };
        let (stage, launched_at) = match stage {
            Stage::Preparing { .. } => (StopStage::EndingHooks { ran: false }, None),
            Stage::Unseen | Stage::Launching { .. } => (StopStage::Signalled, None),
            Stage::Up(up) if up.hook_runs => (StopStage::Interrupting, Some(up.launched_at)),
            Stage::Up(up) if terms.has(Hook::BeforeStop) => (StopStage::BeforeStop, Some(up.launched_at)),
            Stage::Up(up) => (StopStage::Signalled, Some(up.launched_at)),
        };
        service.phase = Phase::Stopping(Stopping {
            stage,
            until: now,
            is_ordered: false,
            next: Next::from(halt.clone()),
            launched_at,
            terms: terms.clone(),
        });
        self.enter(name, stage);
    }

    /// Goes on with a generation that is being stopped: performs what this stage requires.
    pub(super) fn enter(&mut self, name: &ServiceName, stage: StopStage) {
        let now = self.now;
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        let (generation, unreached) = (service.generation, service.is_unreached());
        let Phase::Stopping(stopping) = &mut service.phase else {
            return;
        };
        stopping.stage = stage;
        stopping.until = now.after(stage.patience(&stopping.terms));
        stopping.is_ordered = !unreached;
        if unreached {
            return;
        }
        let service = name.clone();
        let run = |service, hook| Effect::Generation {
            service,
            generation,
            deed: Deed::RunHook(hook),
        };
        self.actions.push(match stage {
            StopStage::Owed => return,
            StopStage::Interrupting => Effect::Generation {
                service,
                generation,
                deed: Deed::EndHook(Hook::AfterHealthy),
            },
            StopStage::BeforeStop => run(service, Hook::BeforeStop),
            StopStage::Signalled => Effect::Generation {
                service,
                generation,
                deed: Deed::Stop,
            },
            StopStage::Killed => Effect::Generation {
                service,
                generation,
                deed: Deed::Kill,
            },
            StopStage::AfterHealthy => run(service, Hook::AfterHealthy),
            StopStage::AfterStop => run(service, Hook::AfterStop),
            StopStage::EndingHooks { .. } | StopStage::EndingAfterStop => Effect::Generation {
                service,
                generation,
                deed: Deed::EndHooks,
            },
        });
    }

    /// The time of a stage is over.
    pub(super) fn stop_stage_overdue(&mut self, name: &ServiceName) {
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        let Phase::Stopping(stopping) = &service.phase else {
            return;
        };
        match stopping.stage {
            StopStage::Interrupting => self.hook_interrupted(name),
            StopStage::BeforeStop => self.enter(name, StopStage::Signalled),
            StopStage::Signalled => {
                service.note("did not stop in time, killing it");
                self.enter(name, StopStage::Killed);
            }
            StopStage::Killed => self.set_adrift(name, "it did not end when it was stopped or killed"),
            StopStage::AfterHealthy => self.end_hooks(name, true),
            StopStage::Owed => {
                service.note("running its after_stop hook, left over from a former daemon");
                self.enter(name, StopStage::AfterStop);
            }
            StopStage::AfterStop => self.enter(name, StopStage::EndingAfterStop),
            StopStage::EndingHooks { .. } | StopStage::EndingAfterStop => {
                self.set_adrift(name, "its hooks did not end when they were killed");
            }
        }
    }

    fn set_adrift(&mut self, name: &ServiceName, reason: &str) {
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        match std::mem::replace(&mut service.phase, Phase::Pending) {
            Phase::Stopping(held) => {
                let failure = Failure {
                    cause: FailureCause::WouldNotStop,
                    reason: reason.to_owned(),
                };
                service.phase = Phase::Adrift(Adrift { failure, held });
                service.note(reason);
            }
            other => service.phase = other,
        }
    }

    /// The `after_healthy` hook that still ran when the stop began is over.
    fn hook_interrupted(&mut self, name: &ServiceName) {
        let before_stop = self.services.get(name).is_some_and(|service| {
            matches!(&service.phase, Phase::Stopping(stopping) if stopping.terms.has(Hook::BeforeStop))
        });
        self.enter(
            name,
            if before_stop {
                StopStage::BeforeStop
            } else {
                StopStage::Signalled
            },
        );
    }

    /// A hook ended while its service was being stopped.
    pub(super) fn hook_of_stop_finished(
        &mut self,
        name: &ServiceName,
        hook: Hook,
        result: Result<(), String>,
    ) {
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        let Phase::Stopping(Stopping { stage, .. }) = service.phase else {
            return;
        };
        match (stage, hook) {
            // Its result says nothing: it was ended from outside.
            (StopStage::Interrupting, Hook::AfterHealthy) => return self.hook_interrupted(name),
            (StopStage::BeforeStop, Hook::BeforeStop)
            | (StopStage::AfterHealthy, Hook::AfterHealthy)
            | (StopStage::AfterStop | StopStage::EndingAfterStop, Hook::AfterStop) => {}
            _ => return,
        }
        if let Err(why) = result {
            service.hook_failed(hook, &why);
        }
        match stage {
            StopStage::BeforeStop => self.enter(name, StopStage::Signalled),
            StopStage::AfterHealthy => self.end_hooks(name, true),
            StopStage::AfterStop => self.follow_end(name),
            _ => {}
        }
    }
}

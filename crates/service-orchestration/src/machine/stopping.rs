//! Taking services down: dependents first, then hook, signal, grace, kill.
//!
//! A generation that is to be stopped keeps its phase until nobody who is stopped as well depends on it. One
//! that failed without ending (not ready in time, unhealthy) does not wait: its dependents stay.

use harness_model::ServiceName;
use harness_model::spec::Condition;

use super::Machine;
use super::service::{Active, Failure, Halt, MARGIN, Phase, Rest, Service, Stage, StopStage, Stopping};
use super::types::{Effect, FailureCause, Hook};
use super::words;

impl Machine {
    /// Marks a generation to be stopped as soon as that is its turn. Nothing to do where nothing runs.
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

    /// The service is not wanted any more.
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
            Phase::Stopping(stopping) => stopping.halt = Halt::Asked,
            Phase::Adrift(_) => self.kill_again(name),
        }
    }

    /// Tries once more what would not stop.
    pub(super) fn kill_again(&mut self, name: &ServiceName) {
        let now = self.now;
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        if matches!(service.phase, Phase::Adrift(_)) {
            let generation = service.generation;
            let stage = StopStage::Killed {
                until: now.after(MARGIN),
            };
            service.phase = Phase::Stopping(Stopping {
                stage,
                halt: Halt::Asked,
                launched_at: None,
            });
            service.note("killing it again");
            self.dirty.insert(name.clone());
            self.actions.push(Effect::Kill {
                service: name.clone(),
                generation,
            });
        }
    }

    /// Whether a dependent of it is on its way down and not gone.
    pub(super) fn has_going_dependents(&self, name: &ServiceName) -> bool {
        self.dependents_of(name).any(|dependent| {
            self.services.get(dependent).is_some_and(|service| {
                service.is_going()
                    && !self.loose_edges.contains(&(dependent.clone(), name.clone()))
                    && service
                        .definition
                        .dependencies
                        .iter()
                        .any(|d| d.service == *name && d.condition != Condition::None)
            })
        })
    }

    /// Its turn has come.
    pub(super) fn begin_stop(&mut self, name: &ServiceName) {
        let now = self.now;
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        let patience = now.after(service.definition.shutdown_timeout).after(MARGIN);
        let hook = service.has_hook(Hook::BeforeStop);
        let Phase::Active(Active {
            stage,
            halt: Some(halt),
        }) = &service.phase
        else {
            return;
        };
        let halt = halt.clone();
        let (stage, launched_at) = match stage {
            Stage::Preparing { until } => (
                StopStage::Preparing {
                    until: patience.min(*until),
                },
                None,
            ),
            Stage::Up(up) if hook => (StopStage::BeforeStop { until: patience }, Some(up.launched_at)),
            Stage::Up(up) => (StopStage::Signalled { until: patience }, Some(up.launched_at)),
            Stage::Launching { .. } => (StopStage::Signalled { until: patience }, None),
        };
        service.phase = Phase::Stopping(Stopping {
            stage,
            halt,
            launched_at,
        });
        let (service, generation) = (name.clone(), service.generation);
        match stage {
            StopStage::BeforeStop { .. } => {
                let hook = Hook::BeforeStop;
                self.actions.push(Effect::RunHook {
                    service,
                    generation,
                    hook,
                });
            }
            StopStage::Signalled { .. } => self.actions.push(Effect::Stop { service, generation }),
            _ => {}
        }
    }

    /// The patience of a stage is over.
    pub(super) fn stop_stage_overdue(&mut self, name: &ServiceName) {
        let now = self.now;
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        let generation = service.generation;
        let Phase::Stopping(stopping) = &mut service.phase else {
            return;
        };
        match stopping.stage {
            StopStage::Preparing { .. } | StopStage::AfterStop { .. } => self.stopped(name),
            StopStage::BeforeStop { .. } => self.signal(name),
            StopStage::Signalled { .. } => {
                stopping.stage = StopStage::Killed {
                    until: now.after(MARGIN),
                };
                service.note("did not stop in time, killing it");
                self.actions.push(Effect::Kill {
                    service: name.clone(),
                    generation,
                });
            }
            StopStage::Killed { .. } => {
                let reason = "it did not end when stopped, nor when killed".to_owned();
                service.note(reason.clone());
                service.phase = Phase::Adrift(Failure {
                    cause: FailureCause::WouldNotStop,
                    reason,
                });
            }
        }
    }

    fn signal(&mut self, name: &ServiceName) {
        let now = self.now;
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        let until = now.after(service.definition.shutdown_timeout).after(MARGIN);
        let generation = service.generation;
        if let Phase::Stopping(stopping) = &mut service.phase {
            stopping.stage = StopStage::Signalled { until };
            self.actions.push(Effect::Stop {
                service: name.clone(),
                generation,
            });
        }
    }

    /// A hook ended while its service is being taken down.
    pub(super) fn hook_of_stop_finished(
        &mut self,
        name: &ServiceName,
        hook: Hook,
        result: Result<(), String>,
    ) {
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        let Phase::Stopping(Stopping { stage, .. }) = &service.phase else {
            return;
        };
        let awaited = match stage {
            StopStage::Preparing { .. } => Hook::BeforeStart,
            StopStage::BeforeStop { .. } => Hook::BeforeStop,
            StopStage::AfterStop { .. } => Hook::AfterStop,
            StopStage::Signalled { .. } | StopStage::Killed { .. } => return,
        };
        if hook != awaited {
            return;
        }
        if let Err(why) = result {
            let note = format!("{} hook failed: {why}", words::hook(hook));
            service.note(note.clone());
            service.hook_note = Some(note);
        }
        match hook {
            Hook::BeforeStop => self.signal(name),
            Hook::BeforeStart | Hook::AfterStop | Hook::AfterHealthy => self.stopped(name),
        }
    }

    /// Everything of a generation that was to be stopped is gone.
    pub(super) fn gone(&mut self, name: &ServiceName) {
        let now = self.now;
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        let launched_at = match &service.phase {
            Phase::Stopping(Stopping {
                stage: StopStage::AfterStop { .. },
                ..
            }) => return,
            Phase::Stopping(stopping) => stopping.launched_at,
            Phase::Active(_) => service.up().map(|up| up.launched_at),
            Phase::Adrift(_) => return self.stopped(name),
            Phase::Idle(_) | Phase::Pending | Phase::Backoff { .. } => return,
        };
        if launched_at.is_none() || !service.has_hook(Hook::AfterStop) {
            return self.stopped(name);
        }
        let halt = halt_of(service);
        let until = now.after(service.definition.shutdown_timeout).after(MARGIN);
        let stage = StopStage::AfterStop { until };
        service.phase = Phase::Stopping(Stopping {
            stage,
            halt,
            launched_at,
        });
        let (generation, hook) = (service.generation, Hook::AfterStop);
        self.actions.push(Effect::RunHook {
            service: name.clone(),
            generation,
            hook,
        });
    }

    /// It is gone and its hook has run: what next?
    fn stopped(&mut self, name: &ServiceName) {
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        match halt_of(service) {
            _ if !service.wanted => {
                service.rest(Rest::Stopped);
                service.note("stopped");
            }
            Halt::Asked => service.begin_series(),
            Halt::Failed(failure) => self.attempt_over(name, Some(failure)),
        }
    }
}

fn halt_of(service: &Service) -> Halt {
    match &service.phase {
        Phase::Active(Active { halt: Some(halt), .. }) => halt.clone(),
        Phase::Stopping(stopping) => stopping.halt.clone(),
        _ => Halt::Asked,
    }
}

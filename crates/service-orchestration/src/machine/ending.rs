//! The end of a generation: first its process ends, then its hooks, then `after_stop` runs, and then what follows is
//! decided.
//!
//! ```text
//! stopped ----------------+
//! ended by itself --------+--> hooks ended --> after_stop --> launched again, at rest, or as the policy decides
//! not launched after all -+----------------------------------^
//! ```

use harness_model::ServiceName;

use super::Machine;
use super::service::{Active, Adrift, Failure, Halt, Next, Phase, Rest, Service, Stopping};
use super::stop_stage::StopStage;
use super::types::Hook;

impl Machine {
    /// A generation that nobody asked to stop is over. Either its process ended by itself (`failure` says why, `None`
    /// that it ended well), or it never `ran`.
    pub(super) fn over(&mut self, name: &ServiceName, failure: Option<Failure>, ran: bool) {
        let now = self.now;
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        let Some(terms) = service.active().map(|active| active.terms.clone()) else {
            return;
        };
        let launched_at = service.up().map(|up| up.launched_at);
        // A one-shot becomes ready when it has completed.
        let completed = failure.is_none() && service.definition.oneshot && ran;
        let after_healthy = completed && terms.has(Hook::AfterHealthy);
        if terms.may_leave_something() || ran && terms.has(Hook::AfterStop) {
            service.note(failure.as_ref().map_or("exited 0", |failure| &failure.reason));
        }
        service.phase = Phase::Stopping(Stopping {
            stage: StopStage::EndingHooks { ran },
            until: now,
            is_ordered: false,
            next: Next::Over(failure),
            launched_at,
            terms,
        });
        if after_healthy {
            return self.enter(name, StopStage::AfterHealthy);
        }
        self.end_hooks(name, ran);
    }

    /// The `before_start` hook has run, but a condition that held before it does not hold any more.
    pub(super) fn wait_again(&mut self, name: &ServiceName) {
        let now = self.now;
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        let Some(terms) = service.active().map(|active| active.terms.clone()) else {
            return;
        };
        service.phase = Phase::Stopping(Stopping {
            stage: StopStage::EndingHooks { ran: false },
            until: now,
            is_ordered: false,
            next: Next::Wait,
            launched_at: None,
            terms,
        });
        self.end_hooks(name, false);
    }

    /// The process of a generation that was to be stopped is gone. If it never `ran`, there was no process.
    pub(super) fn gone(&mut self, name: &ServiceName, ran: bool) {
        let now = self.now;
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        let launched_at = service.up().map(|up| up.launched_at);
        match std::mem::replace(&mut service.phase, Phase::Pending) {
            Phase::Active(Active { halt, terms, .. }) => {
                service.phase = Phase::Stopping(Stopping {
                    stage: StopStage::EndingHooks { ran },
                    until: now,
                    is_ordered: false,
                    next: halt.map_or(Next::Asked, Next::from),
                    launched_at,
                    terms,
                });
            }
            Phase::Adrift(Adrift { held, .. }) | Phase::Stopping(held) => {
                service.phase = Phase::Stopping(held)
            }
            other => {
                service.phase = other;
                return;
            }
        }
        self.end_hooks(name, ran);
    }

    /// Ends the hooks of a generation, with everything that they left. The generation's process is gone.
    pub(super) fn end_hooks(&mut self, name: &ServiceName, ran: bool) {
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        let Phase::Stopping(stopping) = &mut service.phase else {
            return;
        };
        if stopping.terms.may_leave_something() {
            return self.enter(name, StopStage::EndingHooks { ran });
        }
        self.run_after_stop(name, ran);
    }

    /// Nothing of a generation's hooks is left.
    pub(super) fn hooks_ended(&mut self, name: &ServiceName, generation: u64) {
        let Some(service) = self.current(name, generation) else {
            return;
        };
        let stage = match &service.phase {
            Phase::Stopping(stopping) => stopping.stage,
            Phase::Adrift(adrift) => adrift.held.stage,
            _ => return,
        };
        let (StopStage::EndingHooks { .. } | StopStage::EndingAfterStop) = stage else {
            return;
        };
        service.phase = match std::mem::replace(&mut service.phase, Phase::Pending) {
            Phase::Adrift(Adrift { held, .. }) => Phase::Stopping(held),
            other => other,
        };
        match stage {
            StopStage::EndingHooks { ran } => self.run_after_stop(name, ran),
            _ => self.follow_end(name),
        }
    }

    fn run_after_stop(&mut self, name: &ServiceName, ran: bool) {
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        match &service.phase {
            Phase::Stopping(stopping) if ran && stopping.terms.has(Hook::AfterStop) => {
                self.enter(name, StopStage::AfterStop);
            }
            _ => self.follow_end(name),
        }
    }

    /// All of a generation is gone and its hooks have run. Decides what follows.
    pub(super) fn follow_end(&mut self, name: &ServiceName) {
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        let next = match std::mem::replace(&mut service.phase, Phase::Pending) {
            Phase::Stopping(stopping) => stopping.next,
            other => {
                service.phase = other;
                return;
            }
        };
        match next {
            Next::Rest(rest) => service.rest(rest),
            _ if !service.wanted => {
                service.rest(Rest::Stopped);
                service.note("stopped");
            }
            Next::Asked => service.begin_series(),
            Next::Over(failure) => self.attempt_over(name, failure),
            Next::Wait => {}
        }
    }
}

impl From<Halt> for Next {
    fn from(halt: Halt) -> Self {
        match halt {
            Halt::Asked => Self::Asked,
            Halt::Failed(failure) => Self::Over(Some(failure)),
        }
    }
}

impl Service {
    fn active(&self) -> Option<&Active> {
        match &self.phase {
            Phase::Active(active) => Some(active),
            _ => None,
        }
    }
}

//! Handles what happens to an attempt: prepared, launched, not launched, ended.

use std::time::Duration;

use harness_model::ServiceName;

use super::Machine;
use super::health::Probing;
use super::service::{Active, Adrift, Failure, Phase, Stage, Up};
use super::types::{Ended, FailureCause, HealthPolicy, Hook};
use super::words;

impl Machine {
    pub(super) fn launched(&mut self, name: &ServiceName, generation: u64) {
        let now = self.now;
        let Some(service) = self.current(name, generation) else {
            return;
        };
        let policy = service.health_policy().cloned();
        match &mut service.phase {
            Phase::Active(Active {
                stage: stage @ (Stage::Unseen | Stage::Launching { .. }),
                ..
            }) => {
                *stage = Stage::Up(Up::new(now, policy.map(|policy| Probing::new(policy, now))));
                service.note("launched");
                self.launch_was_worth_it(name);
            }
            Phase::Stopping(stopping) => {
                stopping.launched_at.get_or_insert(now);
            }
            _ => {}
        }
    }

    /// Takes the health check that the image of a generation has.
    pub(super) fn health_found(
        &mut self,
        name: &ServiceName,
        generation: u64,
        policy: HealthPolicy,
        needs: Option<Duration>,
    ) {
        let now = self.now;
        let Some(service) = self.current(name, generation) else {
            return;
        };
        service.found_health = Some(policy);
        let policy = service.health_policy().cloned();
        if let (Some(policy), Some(up)) = (policy, service.up_mut())
            && up.probing.is_none()
        {
            // It was already running when it was found.
            up.probing = Some(Probing::adopted(policy, now, up.was_ready));
            up.stable_since = None;
        }
        let more = needs.map_or(Duration::ZERO, |needs| {
            needs.saturating_sub(service.startup_timeout())
        });
        if !more.is_zero() {
            service.series.startup_timeout = needs;
            service.series.window = service.series.window.map(|window| window.after(more));
            self.be_patient(name);
        }
    }

    /// A launch reports progress. While it does, the time to start begins anew; if the launch fails in the end, that
    /// extra time is taken back.
    pub(super) fn progressed(&mut self, name: &ServiceName, generation: u64, said: String) {
        let now = self.now;
        let Some(service) = self.current(name, generation) else {
            return;
        };
        if let Phase::Active(Active {
            stage: Stage::Launching { doing, before, .. },
            halt: None,
            ..
        }) = &mut service.phase
        {
            *doing = Some(said.clone());
            *before = before.or(service.series.window);
            service.series.window = Some(now.after(service.startup_timeout()));
            service.note(said);
            self.be_patient_while_launching(name);
        }
    }

    pub(super) fn launch_failed(&mut self, name: &ServiceName, generation: u64, reason: String) {
        let now = self.now;
        let Some(service) = self.current(name, generation) else {
            return;
        };
        match &service.phase {
            Phase::Active(Active {
                stage: stage @ (Stage::Unseen | Stage::Launching { .. }),
                halt: None,
                ..
            }) => {
                if let Stage::Launching {
                    before: Some(before), ..
                } = *stage
                {
                    service.series.overdue |= before <= now;
                    service.series.window = Some(before).filter(|before| *before > now);
                }
                self.be_as_patient_as_before(name);
                let failure = Failure {
                    reason: format!("could not be launched: {reason}"),
                    cause: FailureCause::Launch(reason),
                };
                self.over(name, Some(failure), false);
            }
            Phase::Active(Active {
                stage: Stage::Unseen | Stage::Launching { .. },
                ..
            }) => self.gone(name, false),
            Phase::Stopping(held) | Phase::Adrift(Adrift { held, .. }) if held.stage.may_be_live() => {
                self.gone(name, false);
            }
            _ => {}
        }
    }

    pub(super) fn exited(&mut self, name: &ServiceName, generation: u64, ended: Ended) {
        let now = self.now;
        let Some(service) = self.current(name, generation) else {
            return;
        };
        service.absence = None;
        let active = match &service.phase {
            Phase::Active(Active {
                stage: Stage::Preparing { .. },
                ..
            }) => return,
            Phase::Active(active) => active,
            Phase::Stopping(held) | Phase::Adrift(Adrift { held, .. }) if held.stage.may_be_live() => {
                service.note(words::ended(&ended));
                service.ended = Some(ended);
                return self.gone(name, true);
            }
            _ => return,
        };
        service.ended = Some(ended.clone());
        if active.halt.is_some() {
            service.note(words::ended(&ended));
            return self.gone(name, true);
        }
        let (since, was_ready) = match &active.stage {
            Stage::Launching { since, .. } => (*since, service.health_policy().is_none()),
            Stage::Unseen => (now, service.health_policy().is_none()),
            Stage::Up(up) => (up.launched_at, up.was_ready),
            Stage::Preparing { .. } => return,
        };
        let was_ready = was_ready || service.definition.oneshot;
        let oneshot = service.definition.oneshot;
        let succeeded = words::succeeded(&ended, oneshot);
        let early = succeeded && !was_ready;
        if succeeded && !early {
            if let Some(remedy) = words::remedy(&ended) {
                service.note(format!("{}: {remedy}", words::ended(&ended)));
            }
            return self.over(name, None, true);
        }
        let reason = if early {
            "exited 0 before it was healthy".to_owned()
        } else {
            let reason = format!(
                "{} after {}",
                words::ended(&ended),
                words::brief(now.since(since))
            );
            match words::remedy(&ended) {
                Some(remedy) => format!("{reason}: {remedy}"),
                None => reason,
            }
        };
        let cause = FailureCause::Ended(ended);
        self.over(name, Some(Failure { cause, reason }), true);
    }

    /// The `before_start` hook of the current attempt has ended.
    pub(super) fn prepared(&mut self, name: &ServiceName, generation: u64, result: Result<(), String>) {
        let Some(service) = self.current(name, generation) else {
            return;
        };
        match &service.phase {
            Phase::Active(Active {
                stage: Stage::Preparing { .. },
                halt: None,
                ..
            }) => {}
            Phase::Active(Active {
                stage: Stage::Preparing { .. },
                ..
            }) => return self.gone(name, false),
            _ => return,
        }
        match result {
            Err(why) => self.preparing_failed(name, why),
            // The conditions that held before the hook may not hold any more.
            Ok(()) => match self.services.get(name).map(|service| self.may_start(service)) {
                Some(true) => self.launch(name),
                _ => self.wait_again(name),
            },
        }
    }

    pub(super) fn preparing_failed(&mut self, name: &ServiceName, why: String) {
        let reason = format!("before_start hook failed: {why}");
        let cause = FailureCause::Hook(Hook::BeforeStart, why);
        self.over(name, Some(Failure { cause, reason }), false);
    }
}

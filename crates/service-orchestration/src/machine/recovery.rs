//! What a new daemon does with what a former one left.
//!
//! | found | wanted | not wanted |
//! |---|---|---|
//! | running | adopted; then replaced or restarted if that had begun | its stop is continued |
//! | not known yet | unknown, as out of contact; when it is known, as found then | the same |
//! | ended, nobody has dealt with it | its restart policy decides | stopped |
//! | ended or failed before | completed or failed, as it was | stopped |
//! | rebooted | `always`, `unless-stopped`: started; else stopped, "the machine was rebooted" | stopped |
//! | idle | its start is continued | stopped |
//!
//! If a service does not run and its `after_stop` hook must still run, that hook runs first.
//!
//! Recoveries come one by one, so nothing is done (and nothing published) before the first other event. Only then is
//! it known which dependencies exist. Until then a deadline is due at once.

use std::time::Duration;

use harness_model::ServiceName;
use harness_model::spec::RestartMode;

use super::Machine;
use super::event::{Found, Recovered};
use super::health::Probing;
use super::restart::STABLE;
use super::service::{
    Absence, Active, Failure, Halt, Next, Phase, Rest, SETTLE, Service, Stage, Stopping, Up,
};
use super::stop_stage::StopStage;
use super::terms::Terms;
use super::types::{Definition, FailureCause, Hook, Lost, Time};
use super::words;

impl Machine {
    pub(super) fn recover(
        &mut self,
        name: ServiceName,
        definition: Definition,
        wanted: bool,
        defined: bool,
        found: Recovered,
        owed: Option<Duration>,
    ) {
        self.recovering = true;
        self.define(&name, definition);
        if let Some(service) = self.services.get_mut(&name) {
            (service.wanted, service.defined) = (wanted, defined);
        }
        self.take_found(&name, found, owed);
    }

    /// Takes over what was found of a service.
    pub(super) fn take_found(&mut self, name: &ServiceName, found: Recovered, owed: Option<Duration>) {
        let now = self.now;
        self.dirty.insert(name.clone());
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        let wanted = service.wanted;
        let Recovered {
            generation,
            digest,
            restarts,
            found,
        } = found;
        service.generation = generation;
        match found {
            Found::Running {
                terms,
                for_,
                was_ready,
                going,
            } => {
                service.restarts = restarts;
                let changed = digest != service.definition.digest;
                service.digest = Some(digest);
                let launched_at = Time(now.0.saturating_sub(for_));
                let policy = service.health_policy().cloned();
                let mut up = Up::new(
                    launched_at,
                    policy.map(|policy| Probing::adopted(policy, now, was_ready)),
                );
                up.settled = for_ >= SETTLE;
                up.was_ready = was_ready && !service.definition.oneshot;
                // A service without a probe was ready all the time. With a probe, the next answer tells since when it
                // is healthy.
                up.stable_since = (up.probing.is_none() && up.was_ready).then_some(launched_at);
                service.series.streak = if was_ready && for_ >= STABLE { 0 } else { restarts };
                service.series.window = Some(now.after(service.definition.startup_timeout));
                let halt = (changed || going || !wanted).then_some(Halt::Asked);
                service.phase = Phase::Active(Active {
                    stage: Stage::Up(up),
                    halt,
                    terms,
                });
                service.note("adopted");
            }
            Found::NotKnown { terms, going, why } => {
                service.restarts = restarts;
                let changed = digest != service.definition.digest;
                service.digest = Some(digest);
                service.series.streak = restarts;
                service.series.window = Some(now.after(service.definition.startup_timeout));
                let halt = (changed || going || !wanted).then_some(Halt::Asked);
                service.phase = Phase::Active(Active {
                    stage: Stage::Unseen,
                    halt,
                    terms,
                });
                service.note(why.clone());
                service.absence = Some(Absence::new(Lost::Contact(why), now));
            }
            Found::Ended {
                ended,
                failed,
                fresh,
                was_ready,
            } => {
                service.digest = Some(digest);
                service.restarts = restarts;
                service.ended = Some(ended.clone());
                let oneshot = service.definition.oneshot;
                let awaited = fresh && !was_ready && !oneshot && service.health_policy().is_some();
                let reason = match words::succeeded(&ended, oneshot) {
                    true if awaited => Some("exited 0 before it was seen to be healthy".to_owned()),
                    true => None,
                    false => Some(match words::remedy(&ended) {
                        Some(remedy) => format!("{}: {remedy}", words::ended(&ended)),
                        None => words::ended(&ended),
                    }),
                };
                let failure = match failed {
                    Some((cause, reason)) => Some(Failure { cause, reason }),
                    None => reason.map(|reason| Failure {
                        reason,
                        cause: FailureCause::Ended(ended),
                    }),
                };
                if fresh {
                    service.series.streak = restarts;
                    match owed {
                        Some(limit) => service.owe(Next::Over(failure), limit, now),
                        None => self.attempt_over(name, failure),
                    }
                    return;
                } else {
                    service.phase = Phase::Idle(match failure {
                        _ if !wanted => Rest::Stopped,
                        Some(failure) => Rest::Failed(failure),
                        None => Rest::Completed,
                    });
                }
            }
            Found::Failed { ended, cause, reason } => {
                service.digest = Some(digest);
                service.restarts = restarts;
                service.ended = ended;
                service.phase = Phase::Idle(match wanted {
                    true => Rest::Failed(Failure { cause, reason }),
                    false => Rest::Stopped,
                });
            }
            Found::Rebooted => {
                let again = matches!(
                    service.definition.restart.mode,
                    RestartMode::Always | RestartMode::UnlessStopped
                );
                if wanted && again {
                    service.begin_series();
                    service.note("starting again after a reboot");
                } else {
                    service.wanted = false;
                    service.phase = Phase::Idle(Rest::Rebooted);
                    service.note("the machine was rebooted");
                }
            }
            Found::Idle if wanted => service.begin_series(),
            Found::Idle => {}
        }
        if let Some(limit) = owed {
            match std::mem::replace(&mut service.phase, Phase::Pending) {
                Phase::Idle(rest) => service.owe(Next::Rest(rest), limit, now),
                Phase::Pending => service.owe(Next::Asked, limit, now),
                other => service.phase = other,
            }
        }
    }
}

impl Service {
    /// Runs its `after_stop` hook before anything else.
    fn owe(&mut self, next: Next, limit: Duration, now: Time) {
        self.phase = Phase::Stopping(Stopping {
            stage: StopStage::Owed,
            until: now,
            is_ordered: false,
            next,
            launched_at: None,
            terms: Terms {
                hooks: [(Hook::AfterStop, limit)].into(),
                shutdown_timeout: self.definition.shutdown_timeout,
            },
        });
    }

    /// Whether nothing runs and nothing is going to run.
    pub(super) fn is_at_rest(&self) -> bool {
        matches!(self.phase, Phase::Idle(_))
    }
}

//! Follows the health of one generation.
//!
//! ```text
//!             good                     `retries` bad in a row
//! starting ---------> healthy <----------------------------> unhealthy
//!     \                  |                   good                |
//!      \---- unknown <---+------ the prober failed --------------+
//! ```
//! Bad answers do not count before the first good one (only `startup_timeout` does; when that has passed, a service is
//! unhealthy until the first good answer). From `unknown`, only a good
//! answer or `retries` bad ones lead out: an unknown state is never shown as good.

use std::time::Duration;

use harness_model::Health;

use super::service::MARGIN;
use super::types::{HealthPolicy, ProbeOutcome, Time};

/// How long after the launch probes come at short intervals.
const EAGER_FOR: Duration = Duration::from_secs(1);
/// A pause lasts this part of the time since the launch. After [`EAGER_FOR`], it is this part of the time since then.
/// So a change is noticed late only in proportion to the time that it took.
const GROWTH: u32 = 8;
/// The first pause is this part of the longest short one.
const FIRST: u32 = 8;
/// Keeps a zero interval from probing again and again at the same instant.
const SHORTEST: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(super) struct Probing {
    policy: HealthPolicy,
    launched_at: Time,
    next: Next,
    health: Health,
    /// Bad answers in a row since the last good one.
    failures: u32,
    was_healthy: bool,
    /// Whether the time for becoming healthy is over.
    is_overdue: bool,
    last: Option<String>,
}

#[derive(Debug, Clone, Copy)]
enum Next {
    At(Time),
    /// The probe was sent. The answer is overdue at this time.
    InFlight {
        overdue: Time,
    },
    /// The probe was sent, and the prober has not kept its own timeout. It is not sent again, so that two are never
    /// in flight.
    Lost,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Probe,
    NothingButHealthLost,
}

impl Probing {
    /// For a process that was just launched.
    pub(super) fn new(policy: HealthPolicy, launched_at: Time) -> Self {
        Self {
            policy,
            launched_at,
            next: Next::At(launched_at),
            health: Health::Starting,
            failures: 0,
            was_healthy: false,
            is_overdue: false,
            last: None,
        }
    }

    /// For a process that a former daemon launched.
    pub(super) fn adopted(policy: HealthPolicy, now: Time, was_healthy: bool) -> Self {
        Self {
            health: Health::Unknown,
            was_healthy,
            ..Self::new(policy, now)
        }
    }

    pub(super) fn health(&self) -> Health {
        self.health
    }

    pub(super) fn last(&self) -> Option<&String> {
        self.last.as_ref()
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        match self.next {
            Next::At(time) | Next::InFlight { overdue: time } => Some(time),
            Next::Lost => None,
        }
    }

    /// Returns what is due at `now`, and marks it as taken.
    pub(super) fn due(&mut self, now: Time) -> Option<Due> {
        match self.next {
            Next::At(time) if time <= now => {
                let overdue = now.after(self.policy.timeout).after(MARGIN);
                self.next = Next::InFlight { overdue };
                Some(Due::Probe)
            }
            Next::InFlight { overdue } if overdue <= now => {
                self.next = Next::Lost;
                self.health = Health::Unknown;
                self.last = Some("the probe did not answer".into());
                Some(Due::NothingButHealthLost)
            }
            _ => None,
        }
    }

    /// Takes an answer; `false` if no probe was in flight.
    pub(super) fn answered(&mut self, outcome: ProbeOutcome, now: Time) -> bool {
        if matches!(self.next, Next::At(_)) {
            return false;
        }
        match outcome {
            ProbeOutcome::Healthy => {
                self.health = Health::Healthy;
                self.was_healthy = true;
                self.failures = 0;
                self.last = None;
            }
            ProbeOutcome::Unhealthy(answer) => {
                self.last = Some(answer);
                if self.was_healthy {
                    self.failures = self.failures.saturating_add(1);
                    if self.failures >= self.policy.retries.max(1) {
                        self.health = Health::Unhealthy;
                    }
                } else {
                    self.health = match self.is_overdue {
                        true => Health::Unhealthy,
                        false => Health::Starting,
                    };
                }
            }
            ProbeOutcome::Unknown(why) => {
                self.last = Some(why);
                self.health = Health::Unknown;
            }
        }
        self.next = Next::At(now.after(self.pause(now)));
        true
    }

    /// The time for becoming healthy is over. From now on only a good answer leads out of `unhealthy`.
    pub(super) fn start_is_over(&mut self) {
        self.is_overdue = true;
        if self.health == Health::Starting {
            self.health = Health::Unhealthy;
        }
    }

    /// Its health is unknown now. Probes again at once; the next answer decides.
    pub(super) fn ask_again(&mut self, now: Time) {
        self.health = Health::Unknown;
        self.failures = 0;
        if let Next::At(time) = &mut self.next {
            *time = now;
        }
    }

    fn pause(&self, now: Time) -> Duration {
        let interval = self.policy.interval.max(SHORTEST);
        if self.was_healthy {
            return interval;
        }
        let longest = self.policy.eager.max(SHORTEST);
        let since = now.since(self.launched_at);
        let eager = (since / GROWTH).clamp((longest / FIRST).max(SHORTEST), longest);
        let beyond = since.saturating_sub(EAGER_FOR);
        eager.saturating_add(beyond / GROWTH).min(interval)
    }
}

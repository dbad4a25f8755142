//! The phases from running to gone.
//!
//! ```text
//!            main exits                          nobody left
//! Running -------------------> Draining ------------------------> gone
//!    | stop                    ^  |                                ^
//!    v          main exits     |  | grace over, kill               | nobody left
//! Stopping --------------------+  v                                |
//!    +----- grace over, kill --> Killing --------------------------+
//! ```

use std::time::{Duration, Instant};

use super::complain;
use super::family::Family;
use crate::control::Reply;
use crate::run_dir::{Background, Outcome, StopMode, StopPolicy};

/// How long the rest of the tree has at least, between the exit of the main process and SIGKILL.
const LEAST_GRACE: Duration = Duration::from_millis(250);
/// The pause between two rounds of killing: the first one, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// After this time a message names the processes that cannot be killed.
const COMPLAIN_AFTER: Duration = Duration::from_secs(5);
/// Used for a grace period that is too long to compute with.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

#[derive(Debug, Clone, Copy)]
enum Phase {
    Running,
    Stopping {
        policy: StopPolicy,
        deadline: Instant,
    },
    Draining {
        deadline: Instant,
    },
    Killing {
        next_round: Instant,
        pause: Duration,
        complain_at: Option<Instant>,
    },
}

/// Stops the tree.
pub(super) struct Stopping {
    phase: Phase,
    /// How to treat the rest when the main process exits by itself.
    default: StopPolicy,
    stop_requested: bool,
    killed: bool,
    outcome: Option<Outcome>,
    background: Option<Background>,
}

impl Stopping {
    pub(super) fn new(default: StopPolicy) -> Self {
        Self {
            phase: Phase::Running,
            default,
            stop_requested: false,
            killed: false,
            outcome: None,
            background: None,
        }
    }

    /// How the main process ended, if it has.
    pub(super) fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// Whether somebody asked for a stop or kill before the main process ended.
    pub(super) fn stop_requested(&self) -> bool {
        self.stop_requested
    }

    /// Whether something had to be killed.
    pub(super) fn killed(&self) -> bool {
        self.killed
    }

    /// What went into the background when the main process exited 0 unasked.
    pub(super) fn background(&self) -> Option<&Background> {
        self.background.as_ref()
    }

    /// When [`Stopping::advance`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Running => None,
            Phase::Stopping { deadline, .. } | Phase::Draining { deadline } => Some(deadline),
            Phase::Killing { next_round, .. } => Some(next_round),
        }
    }

    /// Stops the tree. If that has begun already, it sends the signal again and the earlier of both deadlines counts.
    pub(super) fn stop(&mut self, family: &Family, policy: StopPolicy, now: Instant) -> Reply {
        let deadline = after(now, policy.grace);
        match &mut self.phase {
            Phase::Running => self.phase = Phase::Stopping { policy, deadline },
            Phase::Stopping {
                policy: old,
                deadline: earlier,
            } => {
                *old = policy;
                *earlier = deadline.min(*earlier);
            }
            Phase::Draining { deadline: earlier } => {
                *earlier = deadline.min(*earlier);
                send_to_all(family, policy.signal);
                return Reply::Ok;
            }
            Phase::Killing { .. } => return Reply::Ok,
        }
        self.stop_requested = true;
        match policy.mode {
            StopMode::Group => send_to_all(family, policy.signal),
            StopMode::Mixed => {
                if family.signal_main(policy.signal).is_err() {
                    return Reply::Failed;
                }
                // A stopped process (SIGSTOP) handles the signal only after it continues, and a shell only after its
                // child continues.
                family.signal_all(libc::SIGCONT);
            }
        }
        Reply::Ok
    }

    /// Kills the tree.
    pub(super) fn kill(&mut self, family: &mut Family, now: Instant) {
        self.stop_requested |= self.outcome.is_none();
        self.begin_killing(family, now);
    }

    /// Must be called with what [`Family::reap`] and [`Family::kill_round`] return.
    pub(super) fn main_ended(&mut self, family: &Family, outcome: Option<Outcome>, now: Instant) {
        let Some(outcome) = outcome else { return };
        let exited_well = outcome == Outcome::Exited(0);
        self.outcome = Some(outcome);
        let (policy, deadline) = match self.phase {
            Phase::Running => {
                if exited_well && !family.is_gone() {
                    self.background = family.background();
                }
                (self.default, after(now, self.default.grace))
            }
            Phase::Stopping { policy, deadline } => (policy, deadline.max(after(now, LEAST_GRACE))),
            Phase::Draining { .. } | Phase::Killing { .. } => return,
        };
        if !family.is_gone() {
            send_to_all(family, policy.signal);
        }
        self.phase = Phase::Draining { deadline };
    }

    /// Does what is due.
    pub(super) fn advance(&mut self, family: &mut Family, now: Instant) {
        match self.phase {
            _ if family.is_gone() => {}
            Phase::Running => {}
            Phase::Stopping { deadline, .. } | Phase::Draining { deadline } => {
                if now >= deadline {
                    self.begin_killing(family, now);
                }
            }
            Phase::Killing { next_round, .. } => {
                if now >= next_round {
                    self.kill_round(family, now);
                }
            }
        }
    }

    fn begin_killing(&mut self, family: &mut Family, now: Instant) {
        if matches!(self.phase, Phase::Killing { .. }) || family.is_gone() {
            return;
        }
        self.killed = true;
        self.phase = Phase::Killing {
            next_round: now,
            pause: FIRST_PAUSE,
            complain_at: Some(now + COMPLAIN_AFTER),
        };
        self.kill_round(family, now);
    }

    fn kill_round(&mut self, family: &mut Family, now: Instant) {
        let outcome = family.kill_round();
        self.main_ended(family, outcome, now);
        if let Phase::Killing {
            next_round,
            pause,
            complain_at,
        } = &mut self.phase
        {
            *next_round = now + *pause;
            *pause = (*pause * 2).min(LONGEST_PAUSE);
            if complain_at.is_some_and(|at| now >= at) {
                *complain_at = None;
                // They are stuck in the kernel, or belong to another user. They stay supervised: ending now would
                // orphan them.
                complain(format_args!(
                    "these processes still exist after SIGKILL: {:?}",
                    family.left()
                ));
            }
        }
    }
}

fn send_to_all(family: &Family, signal: i32) {
    family.signal_all(signal);
    if signal != libc::SIGKILL {
        family.signal_all(libc::SIGCONT);
    }
}

fn after(now: Instant, duration: Duration) -> Instant {
    now.checked_add(duration).unwrap_or(now + FOREVER)
}

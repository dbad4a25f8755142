//! What follows when an attempt has ended: it completed, it failed, or it is tried again after a pause.
//!
//! The first restart is immediate. The next comes after 100 ms, and the pause doubles up to 30 s. Each pause is up to
//! a fifth longer or shorter. The jitter comes from the seed, the name and the generation, so that a schedule can be
//! replayed. When a service has been ready for ten seconds without interruption, the row ends.

use std::time::Duration;

use harness_model::ServiceName;
use harness_model::spec::RestartMode;

use super::Machine;
use super::service::{Failure, Phase, Rest, Service};
use super::types::FailureCause;
use super::words;

/// Being ready for this long ends a row of restarts.
pub(super) const STABLE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

impl Machine {
    /// The generation has ended by itself: `failure` says why, `None` that it ended well.
    pub(super) fn attempt_over(&mut self, name: &ServiceName, failure: Option<Failure>) {
        let (now, seed) = (self.now, self.seed);
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        if !service.wanted {
            service.phase = Phase::Idle(Rest::Stopped);
            service.note("stopped");
            return;
        }
        let again = match service.definition.restart.mode {
            RestartMode::No => false,
            _ if service.definition.oneshot && failure.is_none() => false,
            RestartMode::OnFailure => failure.is_some(),
            RestartMode::Always | RestartMode::UnlessStopped => true,
        };
        let most = service.definition.restart.max_restarts;
        let exhausted = most.is_some_and(|most| service.series.streak >= most);
        let failure = failure.map(|failure| numbered(service, failure));
        match failure {
            failure if again && !exhausted => {
                let pause = pause(seed, name, service.generation, service.series.streak);
                service.note(format!(
                    "{}, restarting {}",
                    failure.as_ref().map_or("exited 0", |f| &f.reason),
                    if pause.is_zero() {
                        "now".into()
                    } else {
                        format!("in {}", words::brief(pause))
                    }
                ));
                if matches!(
                    &failure,
                    Some(Failure {
                        cause: FailureCause::StartupTimeout,
                        ..
                    })
                ) {
                    service.series.window = None;
                }
                service.series.streak = service.series.streak.saturating_add(1);
                service.restarts = service.restarts.saturating_add(1);
                service.series.failure = failure;
                service.series.failed = service.generation;
                service.phase = Phase::Backoff {
                    until: now.after(pause),
                };
            }
            Some(failure) => {
                service.note(failure.reason.clone());
                service.series.failure = Some(failure.clone());
                service.series.failed = service.generation;
                service.phase = Phase::Idle(Rest::Failed(failure));
            }
            None => {
                service.note("completed");
                service.series = Default::default();
                service.phase = Phase::Idle(Rest::Completed);
            }
        }
    }
}

/// Adds the number of the attempt: `exited 3 after 0.2s (attempt 3 of 3)`.
fn numbered(service: &Service, failure: Failure) -> Failure {
    if !service.retries() {
        return failure;
    }
    let attempt = service.series.streak.saturating_add(1);
    let of = match service.definition.restart.max_restarts {
        Some(most) => format!(" of {}", most.saturating_add(1)),
        None => String::new(),
    };
    Failure {
        reason: format!("{} (attempt {attempt}{of})", failure.reason),
        ..failure
    }
}

fn pause(seed: u64, name: &ServiceName, generation: u64, streak: u32) -> Duration {
    let Some(doublings) = streak.checked_sub(1) else {
        return Duration::ZERO;
    };
    let plain = FIRST_PAUSE
        .saturating_mul(1_u32.checked_shl(doublings.min(20)).unwrap_or(u32::MAX))
        .min(LONGEST_PAUSE);
    let fifths_of_a_thousandth = u32::try_from(scatter(seed, name, generation) % 401).unwrap_or(200);
    plain.saturating_mul(800 + fifths_of_a_thousandth) / 1000
}

/// FNV-1a over what decides the jitter, mixed once more because its low bits are poor.
fn scatter(seed: u64, name: &ServiceName, generation: u64) -> u64 {
    let bytes = seed
        .to_le_bytes()
        .into_iter()
        .chain(name.as_str().bytes())
        .chain(generation.to_le_bytes());
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_begin_at_once_double_and_end_at_thirty_seconds() {
        let name = ServiceName::new("api").unwrap();
        assert_eq!(pause(7, &name, 1, 0), Duration::ZERO);
        for streak in 1..40 {
            let plain = (100_u64 << (streak - 1).min(20)).min(30_000);
            let got = u64::try_from(pause(7, &name, 9, streak).as_millis()).unwrap();
            assert!(
                got >= plain * 8 / 10 && got <= plain * 12 / 10,
                "{streak}: {got} for {plain}"
            );
            assert_eq!(pause(7, &name, 9, streak), pause(7, &name, 9, streak));
        }
        let distinct: std::collections::BTreeSet<_> = (0..20).map(|g| pause(7, &name, g, 5)).collect();
        assert!(distinct.len() > 10, "jitter scatters");
    }
}

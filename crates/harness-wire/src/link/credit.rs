//! Credit: how many bytes a sender may still send on one request.
//!
//! Every request has a window in each direction. A sender may send while its credit is above zero, and the last
//! message may overdraw it, so no message is too big for a window. The receiver grants back what its consumer took.
//! So a consumer that stops taking stops only its own sender, and nobody else on the connection.

use std::sync::{Mutex, MutexGuard, PoisonError};

use event_listener::Event;

/// How many bytes of events and data a server may send on a request before the client grants more.
pub(crate) const CLIENT_WINDOW: u64 = 1 << 20;
/// How many bytes of stdin a client may send on a request before the server grants more.
pub(crate) const STDIN_WINDOW: u64 = 256 << 10;

/// The sender's side of a window.
#[derive(Debug)]
pub(crate) struct Credit {
    state: Mutex<State>,
    changed: Event,
}

#[derive(Debug)]
struct State {
    available: i64,
    closed: bool,
}

impl Credit {
    pub(crate) fn new(window: u64) -> Self {
        Self {
            state: Mutex::new(State {
                available: clamp(window),
                closed: false,
            }),
            changed: Event::new(),
        }
    }

    /// Adds credit: the receiver takes this many more bytes.
    pub(crate) fn grant(&self, bytes: u64) {
        let mut state = self.lock();
        state.available = state.available.saturating_add(clamp(bytes));
        drop(state);
        self.changed.notify(usize::MAX);
    }

    /// Ends sending. Everybody who waits for credit stops waiting.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify(usize::MAX);
    }

    /// Waits until something may be sent, and takes at most `want` bytes of credit; `None` once closed.
    pub(crate) async fn take_part(&self, want: usize) -> Option<usize> {
        self.when_positive(|available| {
            let part = want.min(usize::try_from(*available).unwrap_or(usize::MAX));
            *available -= clamp(part as u64);
            part
        })
        .await
    }

    /// Waits until something may be sent, and takes `bytes` of credit, even if that overdraws it; `None` once closed.
    pub(crate) async fn take_whole(&self, bytes: usize) -> Option<()> {
        self.when_positive(|available| *available -= clamp(bytes as u64))
            .await
    }

    async fn when_positive<R>(&self, take: impl FnOnce(&mut i64) -> R) -> Option<R> {
        loop {
            let changed = {
                let mut state = self.lock();
                if state.closed {
                    return None;
                }
                if state.available > 0 {
                    return Some(take(&mut state.available));
                }
                // Register while holding the lock, so that no later grant is missed.
                self.changed.listen()
            };
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The receiver's side of a window: counts what the consumer took, and says when to send a grant.
#[derive(Debug)]
pub(crate) struct Consumed {
    window: u64,
    owed: u64,
}

impl Consumed {
    pub(crate) fn new(window: u64) -> Self {
        Self { window, owed: 0 }
    }

    /// The consumer took this many bytes; returns what to grant now, if anything.
    pub(crate) fn take(&mut self, bytes: usize) -> Option<u64> {
        self.owed = self.owed.saturating_add(bytes as u64);
        (self.owed >= self.window / 4).then(|| std::mem::take(&mut self.owed))
    }
}

fn clamp(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_once};

    #[test]
    fn a_sender_waits_at_zero_and_goes_on_after_a_grant() {
        block_on(async {
            let credit = Credit::new(10);
            assert_eq!(credit.take_part(4).await, Some(4));
            assert_eq!(credit.take_part(100).await, Some(6));
            let mut waiting = std::pin::pin!(credit.take_part(5));
            assert_eq!(poll_once(&mut waiting).await, None);
            credit.grant(3);
            assert_eq!(waiting.await, Some(3));
        });
    }

    #[test]
    fn an_overdraft_is_paid_back_first() {
        block_on(async {
            let credit = Credit::new(1);
            assert_eq!(credit.take_whole(10).await, Some(()));
            credit.grant(9);
            let mut waiting = std::pin::pin!(credit.take_whole(1));
            assert_eq!(poll_once(&mut waiting).await, None);
            credit.grant(1);
            assert_eq!(waiting.await, Some(()));
        });
    }

    #[test]
    fn closing_releases_who_waits_and_absurd_grants_do_not_overflow() {
        block_on(async {
            let credit = Credit::new(0);
            let mut waiting = std::pin::pin!(credit.take_whole(1));
            assert_eq!(poll_once(&mut waiting).await, None);
            credit.close();
            assert_eq!(waiting.await, None);
            credit.grant(u64::MAX);
            credit.grant(u64::MAX);
            assert_eq!(credit.take_part(1).await, None);
        });
    }

    #[test]
    fn grants_are_collected() {
        let mut consumed = Consumed::new(100);
        assert_eq!(consumed.take(24), None);
        assert_eq!(consumed.take(1), Some(25));
        assert_eq!(consumed.take(1), None);
    }
}

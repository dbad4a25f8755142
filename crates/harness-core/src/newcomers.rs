//! The connections whose handshake is not over: when there are too many, the oldest makes room for the newest.
//!
//! Refusing the newest instead would let anybody who holds a few idle connections open keep the owner out. A
//! handshake that is honest takes milliseconds, so an old one is more likely not.

use std::collections::VecDeque;

use async_channel::{Receiver, Sender};
use futures_lite::FutureExt;
use harness_wire::server::{Admission, Admitted, AtCapacity};

/// How often the tasks of displaced connections are given a turn to give their places back.
const TURNS: usize = 16;

/// The connections in the handshake, oldest first.
#[derive(Default)]
pub(crate) struct Newcomers(VecDeque<Sender<()>>);

/// A connection's own side: notices when it has to go.
pub(crate) struct Newcomer(Receiver<()>);

impl Newcomers {
    /// A place for one more; the oldest goes if there is none.
    ///
    /// # Errors
    /// When there is none even so.
    pub(crate) async fn admit(&mut self, admission: &Admission) -> Result<Admitted, AtCapacity> {
        if let Ok(admitted) = admission.enter() {
            return Ok(admitted);
        }
        self.forget_arrived();
        if let Some(oldest) = self.0.pop_front() {
            oldest.close();
        }
        for _ in 0..TURNS {
            futures_lite::future::yield_now().await;
            if let Ok(admitted) = admission.enter() {
                return Ok(admitted);
            }
        }
        admission.enter()
    }

    /// A connection that was admitted and begins its handshake.
    pub(crate) fn enter(&mut self) -> Newcomer {
        self.forget_arrived();
        let (sender, receiver) = async_channel::bounded(1);
        self.0.push_back(sender);
        Newcomer(receiver)
    }

    fn forget_arrived(&mut self) {
        self.0.retain(|newcomer| !newcomer.is_closed());
    }
}

impl Newcomer {
    /// Runs its handshake; `None` when it had to make room.
    pub(crate) async fn unless_displaced<T>(self, handshake: impl Future<Output = T>) -> Option<T> {
        let displaced = async {
            // Nothing is ever sent: it ends by being closed.
            let _ = self.0.recv().await;
            None
        };
        async { Some(handshake.await) }.or(displaced).await
    }
}

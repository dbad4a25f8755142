//! The connections that are still in the handshake. If there are too many, the oldest is closed to make room for the
//! newest.
//!
//! If the newest were refused instead, anybody with a few idle connections could keep the owner out. An honest
//! handshake takes milliseconds, so an old one is probably not honest.

use std::collections::VecDeque;

use async_channel::{Receiver, Sender};
use futures_lite::FutureExt;
use harness_wire::server::{Admission, Admitted, AtCapacity};

/// How often to yield to the tasks of closed connections, so that they give their places back.
const TURNS: usize = 16;

/// The connections in the handshake, oldest first.
#[derive(Default)]
pub(crate) struct Newcomers(VecDeque<Sender<()>>);

/// The connection's side: notices when the connection must close.
pub(crate) struct Newcomer(Receiver<()>);

impl Newcomers {
    /// Gets a place for one more connection. Closes the oldest if there is none.
    ///
    /// # Errors
    /// When there is still no place.
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

    /// Adds a connection that was admitted and begins its handshake.
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
    /// Runs the handshake. `None` if the connection had to make room.
    pub(crate) async fn unless_displaced<T>(self, handshake: impl Future<Output = T>) -> Option<T> {
        let displaced = async {
            // Nothing is ever sent; the channel is only closed.
            let _ = self.0.recv().await;
            None
        };
        async { Some(handshake.await) }.or(displaced).await
    }
}

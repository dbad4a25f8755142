//! The queue of messages to the peer, and the loop that writes them.
//!
//! Senders wait for a permit, which their message holds until it is written, so the queue is bounded. A message from
//! code that cannot wait (a drop) needs no permit. There is at most one of those per request.

use std::sync::Arc;

use async_channel::{Receiver, Sender};
use async_lock::{Semaphore, SemaphoreGuardArc};
use async_tungstenite::tungstenite::{Error, Message};
use async_tungstenite::{WebSocketSender, tungstenite};
use futures_lite::{AsyncRead, AsyncWrite};
use futures_util::SinkExt;

/// The most messages that may wait to be written.
const QUEUE: usize = 8;

/// The sending end.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    queue: Sender<Outgoing>,
    permits: Arc<Semaphore>,
}

/// The receiving end. Dropping it refuses all further messages, and wakes senders that wait for a permit.
#[derive(Debug)]
pub(crate) struct Outgoings(Receiver<Outgoing>);

/// One message on its way out.
#[derive(Debug)]
pub(crate) struct Outgoing {
    message: Message,
    /// The request whose last message this is.
    ends: Option<u64>,
    _permit: Option<SemaphoreGuardArc>,
}

/// The connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

impl Outbox {
    pub(crate) fn new() -> (Self, Outgoings) {
        let (queue, outgoings) = async_channel::unbounded();
        let permits = Arc::new(Semaphore::new(QUEUE));
        (Self { queue, permits }, Outgoings(outgoings))
    }

    /// Queues a message once there is room.
    pub(crate) async fn send(&self, message: Message) -> Result<(), Gone> {
        let permit = self.permits.acquire_arc().await;
        self.enqueue(message, None, Some(permit))
    }

    /// Queues the last message of request `id` once there is room.
    pub(crate) async fn finish(&self, id: u64, message: Message) -> Result<(), Gone> {
        let permit = self.permits.acquire_arc().await;
        self.enqueue(message, Some(id), Some(permit))
    }

    /// Queues a small message without waiting for room.
    pub(crate) fn push(&self, message: Message) -> Result<(), Gone> {
        self.enqueue(message, None, None)
    }

    /// Queues the last message of request `id` without waiting for room.
    pub(crate) fn push_finish(&self, id: u64, message: Message) -> Result<(), Gone> {
        self.enqueue(message, Some(id), None)
    }

    /// Takes no more messages. Queued messages are still written, then the connection closes.
    pub(crate) fn close(&self) {
        self.queue.close();
    }

    fn enqueue(
        &self,
        message: Message,
        ends: Option<u64>,
        permit: Option<SemaphoreGuardArc>,
    ) -> Result<(), Gone> {
        let outgoing = Outgoing {
            message,
            ends,
            _permit: permit,
        };
        self.queue.try_send(outgoing).map_err(|_| Gone)
    }
}

impl Outgoings {
    /// Writes messages until the outbox closes, then closes the connection. Calls `on_end` for each request just
    /// before its last message is written.
    pub(crate) async fn write_to<S>(
        &self,
        socket: &mut WebSocketSender<S>,
        mut on_end: impl FnMut(u64),
    ) -> Result<(), tungstenite::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        while let Ok(first) = self.0.recv().await {
            let mut next = Some(first);
            // Flush once for all queued messages, so that many small messages become one TLS record.
            while let Some(outgoing) = next {
                if let Some(id) = outgoing.ends {
                    on_end(id);
                }
                socket.feed(outgoing.message).await?;
                next = self.0.try_recv().ok();
            }
            socket.flush().await?;
        }
        match socket.close(None).await {
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => Ok(()),
            other => other,
        }
    }
}

impl Drop for Outgoings {
    fn drop(&mut self) {
        self.0.close();
        while self.0.try_recv().is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_once};

    #[test]
    fn a_full_queue_makes_senders_wait_until_it_is_gone() {
        block_on(async {
            let (outbox, outgoings) = Outbox::new();
            for _ in 0..QUEUE {
                outbox.send(Message::text("x")).await.unwrap();
            }
            let mut waiting = std::pin::pin!(outbox.send(Message::text("x")));
            assert_eq!(poll_once(&mut waiting).await, None);
            outbox.push(Message::text("urgent")).unwrap();
            drop(outgoings);
            assert_eq!(waiting.await, Err(Gone));
            assert_eq!(outbox.push(Message::text("x")), Err(Gone));
        });
    }
}

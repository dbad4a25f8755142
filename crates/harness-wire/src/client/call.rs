//! One request in flight, seen from the client.

use std::sync::Arc;

use async_channel::{Receiver, Sender};
use async_tungstenite::tungstenite::Message;

use super::driver::{Shared, encode};
use super::error::ClientError;
use crate::link::{self, CHUNK, CLIENT_WINDOW, Consumed, Credit, Gone, Outbox, STDIN_WINDOW};
use crate::message::{Channel, ClientBody, ErrorBody, Event, Response, TerminalSize};

/// An item that comes back for a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// An event before the response.
    Event(Box<Event>),
    /// Bytes of logs, exec or attach.
    Data {
        /// The kind of bytes.
        channel: Channel,
        /// The bytes.
        payload: Vec<u8>,
    },
    /// The answer. Nothing comes after it.
    Response(Box<Response>),
}

/// An item or refusal and the bytes of credit it used.
#[derive(Debug)]
pub(super) struct Delivered {
    pub(super) item: Result<Item, ErrorBody>,
    pub(super) credit: usize,
}

/// What the driver knows about a request in flight.
#[derive(Debug)]
pub(super) struct CallState {
    /// The channel has no limit of its own, but the server cannot send more than the credit that we gave it.
    pub(super) items: Sender<Delivered>,
    pub(super) stdin: Credit,
}

impl CallState {
    pub(super) fn new() -> (Arc<Self>, Receiver<Delivered>) {
        let (items, delivered) = async_channel::unbounded();
        let stdin = Credit::new(STDIN_WINDOW);
        (Arc::new(Self { items, stdin }), delivered)
    }

    /// Ends the call. Nothing more will come.
    pub(super) fn end(&self) {
        self.items.close();
        self.stdin.close();
    }
}

/// A request in flight. Dropping it before its response cancels it.
#[derive(Debug)]
pub struct Call {
    handle: CallHandle,
    delivered: Receiver<Delivered>,
    consumed: Consumed,
    answered: bool,
}

/// Sends to a request in flight, from anywhere.
#[derive(Debug, Clone)]
pub struct CallHandle {
    id: u64,
    state: Arc<CallState>,
    shared: Arc<Shared>,
    outbox: Outbox,
}

impl Call {
    pub(super) fn new(
        id: u64,
        state: Arc<CallState>,
        delivered: Receiver<Delivered>,
        shared: Arc<Shared>,
        outbox: Outbox,
    ) -> Self {
        Self {
            handle: CallHandle {
                id,
                state,
                shared,
                outbox,
            },
            delivered,
            consumed: Consumed::new(CLIENT_WINDOW),
            answered: false,
        }
    }

    /// The id of the request on its connection, for logs.
    pub fn id(&self) -> u64 {
        self.handle.id
    }

    /// The next item. The response comes last. While nobody takes items, the daemon stops sending on this request,
    /// but not on others. Nothing is lost if the future is dropped.
    ///
    /// # Errors
    /// When the request was refused, or the connection lost.
    pub async fn next(&mut self) -> Result<Item, ClientError> {
        if self.answered {
            return Err(ClientError::Answered);
        }
        let Ok(Delivered { item, credit }) = self.delivered.recv().await else {
            self.answered = true;
            return Err(self.handle.shared.disconnected());
        };
        if let Some(grant) = self.consumed.take(credit) {
            // If the connection is gone, items that were delivered can still be taken.
            let _ = self.handle.push(ClientBody::Credit(grant));
        }
        self.answered = matches!(item, Ok(Item::Response(_)) | Err(_));
        item.map_err(ClientError::Refused)
    }

    /// Waits for the response, and ignores everything before it.
    ///
    /// # Errors
    /// When the request was refused, or the connection lost.
    pub async fn response(&mut self) -> Result<Response, ClientError> {
        loop {
            if let Item::Response(response) = self.next().await? {
                return Ok(*response);
            }
        }
    }

    /// A handle to send to the request while something else waits for [`next`](Self::next).
    pub fn handle(&self) -> CallHandle {
        self.handle.clone()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.handle.state.end();
        if !self.answered {
            self.handle.shared.forget(self.handle.id);
            // Without a connection there is nothing to cancel.
            let _ = self.handle.cancel();
        }
    }
}

impl CallHandle {
    /// Sends bytes to stdin, as fast as the process takes them.
    ///
    /// # Errors
    /// When the request has ended or the connection is lost.
    pub async fn send_stdin(&self, mut bytes: &[u8]) -> Result<(), ClientError> {
        while !bytes.is_empty() {
            let part = bytes.len().min(CHUNK);
            let part = self
                .state
                .stdin
                .take_part(part)
                .await
                .ok_or_else(|| self.ended())?;
            let (now, later) = bytes.split_at(part);
            let message = link::data_message(self.id, Channel::Stdin, now);
            self.outbox.send(message).await.map_err(|Gone| self.ended())?;
            bytes = later;
        }
        Ok(())
    }

    /// Says that no more stdin will come.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn close_stdin(&self) -> Result<(), ClientError> {
        self.push(ClientBody::CloseStdin {})
    }

    /// Sends the terminal's new size.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn resize(&self, size: TerminalSize) -> Result<(), ClientError> {
        self.push(ClientBody::Resize(size))
    }

    /// Sends a signal number to the process.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn signal(&self, number: i32) -> Result<(), ClientError> {
        self.push(ClientBody::Signal(number))
    }

    /// Cancels the request. The call still gets a response, usually a refusal as cancelled. What the request started
    /// continues.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn cancel(&self) -> Result<(), ClientError> {
        self.push(ClientBody::Cancel {})
    }

    /// Queues a message that is too small to wait for room.
    fn push(&self, body: ClientBody) -> Result<(), ClientError> {
        let json = encode(self.id, body)?;
        self.outbox.push(Message::text(json)).map_err(|Gone| self.ended())
    }

    fn ended(&self) -> ClientError {
        if self.shared.is_connected() {
            ClientError::Answered
        } else {
            self.shared.disconnected()
        }
    }
}

//! Answers one request.

use std::sync::Arc;

use async_tungstenite::tungstenite::Message;

use super::error::refusal;
use super::request::{Input, RequestState, Stop};
use crate::link::{self, CHUNK, Consumed, EncodeError, Outbox, STDIN_WINDOW};
use crate::message::{
    Channel, ErrorBody, ErrorCode, Event, PROTOCOL_VERSION, Response, ServerBody, ServerMessage,
};

/// Why something could not be sent to the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The client cancelled the request, and wants only a response.
    #[error("the client cancelled the request")]
    Cancelled,
    /// The client is gone.
    #[error("the client is gone")]
    Disconnected,
    /// The message is larger than the protocol allows.
    #[error("the message has {size} bytes, more than the {max} allowed")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// The message cannot be written as JSON.
    #[error("the message cannot be written as JSON")]
    Unencodable,
}

impl From<Stop> for SendError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Cancelled => Self::Cancelled,
            Stop::Disconnected => Self::Disconnected,
        }
    }
}

impl From<EncodeError> for SendError {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::Json(_) => Self::Unencodable,
            EncodeError::TooLarge { size, max } => Self::TooLarge { size, max },
        }
    }
}

/// Sends to the client for one request: any number of events and bytes, then one response. If it is dropped without a
/// response, it answers with an internal error.
///
/// Sending events and bytes waits while the client does not read. To do something else, drop the future, or race it
/// with [`cancelled`](Self::cancelled).
#[derive(Debug)]
pub struct Responder {
    id: u64,
    state: Arc<RequestState>,
    outbox: Outbox,
    limits: MessageLimits,
    answered: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct MessageLimits {
    pub(super) text: usize,
    pub(super) binary: usize,
}

impl Responder {
    pub(super) fn new(id: u64, state: Arc<RequestState>, outbox: Outbox, limits: MessageLimits) -> Self {
        Self {
            id,
            state,
            outbox,
            limits,
            answered: false,
        }
    }

    /// The id that the client gave the request, for logs.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Sends an event. Waits until the client takes more.
    ///
    /// # Errors
    /// When the request is cancelled, the client is gone, or the event is too large.
    pub async fn event(&self, event: Event) -> Result<(), SendError> {
        let json = self.encode(ServerBody::Event(Box::new(event)))?;
        self.send(json.len(), Message::text(json)).await
    }

    /// Sends bytes, as fast as the client takes them. Byte streams may be cut into several messages. The lines of
    /// [`Channel::Log`] are sent in one message, so they must fit into one (1 MiB).
    ///
    /// # Errors
    /// When the request is cancelled, the client is gone, or the log lines are too large.
    pub async fn data(&self, channel: Channel, mut bytes: &[u8]) -> Result<(), SendError> {
        if channel == Channel::Log {
            if bytes.len() > self.limits.binary {
                return Err(SendError::TooLarge {
                    size: bytes.len(),
                    max: self.limits.binary,
                });
            }
            let message = link::data_message(self.id, channel, bytes);
            return self.send(bytes.len(), message).await;
        }
        while !bytes.is_empty() {
            let part = bytes.len().min(CHUNK);
            let part = self
                .state
                .credit
                .take_part(part)
                .await
                .ok_or_else(|| self.stopped())?;
            let (now, later) = bytes.split_at(part);
            let message = link::data_message(self.id, channel, now);
            self.outbox
                .send(message)
                .await
                .map_err(|_| SendError::Disconnected)?;
            bytes = later;
        }
        Ok(())
    }

    /// The input that the client sends to the process.
    pub fn input(&self) -> Inputs {
        Inputs {
            id: self.id,
            state: Arc::clone(&self.state),
            outbox: self.outbox.clone(),
            consumed: Consumed::new(STDIN_WINDOW),
        }
    }

    /// Waits until the client cancels the request or is gone.
    pub async fn cancelled(&self) -> Stop {
        self.state.when_stopped().await
    }

    /// Whether the client cancelled the request or is gone.
    pub fn stop(&self) -> Option<Stop> {
        self.state.stopped()
    }

    /// Answers the request, also if it was cancelled.
    ///
    /// # Errors
    /// When the client is gone, or the answer was too large and an error was sent instead.
    pub async fn respond(mut self, answer: Result<Response, ErrorBody>) -> Result<(), SendError> {
        let body = match answer {
            Ok(response) => ServerBody::Response(Box::new(response)),
            Err(error) => ServerBody::Error(error),
        };
        let (json, problem) = match self.encode(body) {
            Ok(json) => (json, Ok(())),
            Err(problem) => {
                let body = refusal(
                    ErrorCode::Internal,
                    format!("the answer cannot be sent: {problem}"),
                );
                (self.encode(ServerBody::Error(body))?, Err(problem))
            }
        };
        self.outbox
            .finish(self.id, Message::text(json))
            .await
            .map_err(|_| SendError::Disconnected)?;
        self.answered = true;
        problem.map_err(SendError::from)
    }

    async fn send(&self, size: usize, message: Message) -> Result<(), SendError> {
        self.state
            .credit
            .take_whole(size)
            .await
            .ok_or_else(|| self.stopped())?;
        self.outbox
            .send(message)
            .await
            .map_err(|_| SendError::Disconnected)
    }

    fn stopped(&self) -> SendError {
        self.state.stopped().unwrap_or(Stop::Disconnected).into()
    }

    fn encode(&self, body: ServerBody) -> Result<String, EncodeError> {
        encode(self.id, body, self.limits.text)
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let body = match self.state.stopped() {
            Some(_) => refusal(ErrorCode::Cancelled, "the request was cancelled"),
            None => refusal(ErrorCode::Internal, "the request was dropped without an answer"),
        };
        if let Ok(json) = self.encode(ServerBody::Error(body)) {
            // If the connection is gone, nobody would read it.
            let _ = self.outbox.push_finish(self.id, Message::text(json));
        }
    }
}

/// The JSON of a message of the server.
pub(super) fn encode(id: u64, body: ServerBody, max: usize) -> Result<String, EncodeError> {
    let message = ServerMessage {
        v: PROTOCOL_VERSION,
        id,
        body,
    };
    link::encode(&message, max)
}

/// The input that a client sends to the process of its exec or attach, in order.
#[derive(Debug)]
pub struct Inputs {
    id: u64,
    state: Arc<RequestState>,
    outbox: Outbox,
    consumed: Consumed,
}

impl Inputs {
    /// The next input; `None` once the request is cancelled or the client is gone. Taking stdin lets the client send
    /// more of it.
    pub async fn next(&mut self) -> Option<Input> {
        let input = self.state.next_input().await?;
        if let Input::Stdin(bytes) = &input
            && let Some(grant) = self.consumed.take(bytes.len())
        {
            self.state.allow_stdin(grant);
            if let Ok(json) = encode(self.id, ServerBody::Credit(grant), usize::MAX) {
                // This is only a few bytes per quarter of a window, so it never has to wait for room. Without a
                // connection nobody needs it.
                let _ = self.outbox.push(Message::text(json));
            }
        }
        Some(input)
    }
}

//! One accepted connection: reads the client's messages and hands out its requests.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use async_channel::{Receiver, Sender};
use async_io::Timer;
use async_net::TcpStream;
use async_tungstenite::tungstenite::{Error, Message, error::ProtocolError};
use async_tungstenite::{WebSocketReceiver, WebSocketStream};
use futures_lite::{StreamExt, future};
use futures_rustls::server::TlsStream;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::accept::linger;
use super::error::{ConnectionError, Violation, refusal};
use super::request::{Input, RequestState, Stop};
use super::responder::{self, MessageLimits, Responder};
use super::{Limits, SendError};
use crate::link::{self, GOODBYE, Gone, MalformedMessage, Outbox, Outgoings};
use crate::message::{
    Channel, ClientBody, ClientMessage, DataFrame, ErrorBody, ErrorCode, Hello, PROTOCOL_VERSION, Request,
    ServerBody,
};

pub(super) type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// The future that reads and writes a connection. Run it at the same time as the code that takes the requests. It
/// ends with the connection: `Ok` if either side left, an error if the client broke the protocol or the transport
/// failed. Dropping it cuts the connection.
pub type Driver = Pin<Box<dyn Future<Output = Result<(), ConnectionError>> + Send>>;

/// A request and the way to answer it.
#[derive(Debug)]
pub struct IncomingRequest {
    /// The client's request.
    pub request: Request,
    /// Sends the answer.
    pub responder: Responder,
}

/// An accepted client. Dropping it refuses further requests; those in flight continue.
#[derive(Debug)]
pub struct Connection {
    requests: Receiver<IncomingRequest>,
    outbox: Outbox,
    program: String,
}

impl Connection {
    /// The next request; `None` once the connection is gone.
    pub async fn next_request(&self) -> Option<IncomingRequest> {
        self.requests.recv().await.ok()
    }

    /// The client's program and version, as the client reports it.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// Tells the client why it is refused, for example at capacity, and closes the connection. Run the driver to its
    /// end.
    pub fn refuse(self, why: ErrorBody) {
        if let Ok(json) = responder::encode(0, ServerBody::Error(why), usize::MAX) {
            // If the client has left already, nobody needs this.
            let _ = self.outbox.push(Message::text(json));
        }
        self.outbox.close();
    }

    /// Closes the connection after the queued messages are written, so that answers given before this arrive.
    /// Requests still in flight end as disconnected.
    pub fn close(&self) {
        self.outbox.close();
    }
}

struct Shared {
    outbox: Outbox,
    in_flight: Mutex<HashMap<u64, Arc<RequestState>>>,
    limits: Limits,
}

impl Shared {
    fn in_flight<R>(&self, f: impl FnOnce(&mut HashMap<u64, Arc<RequestState>>) -> R) -> R {
        f(&mut self.in_flight.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn find(&self, id: u64) -> Option<Arc<RequestState>> {
        self.in_flight(|requests| requests.get(&id).cloned())
    }

    async fn refuse(&self, id: u64, code: ErrorCode, message: String) -> Result<(), Gone> {
        let body = ServerBody::Error(refusal(code, message));
        match responder::encode(id, body, usize::MAX) {
            Ok(json) => self.outbox.send(Message::text(json)).await,
            Err(_) => Ok(()),
        }
    }
}

/// Tells every request that its client is gone, however the driver ends. Created before the driver, because a driver
/// that is dropped before its first poll runs no code.
struct Teardown(Arc<Shared>);

impl Drop for Teardown {
    fn drop(&mut self) {
        self.0.outbox.close();
        for state in self.0.in_flight(std::mem::take).into_values() {
            state.stop(Stop::Disconnected);
        }
    }
}

pub(super) fn start(socket: Socket, tcp: TcpStream, hello: Hello, limits: &Limits) -> (Connection, Driver) {
    let (outbox, outgoings) = Outbox::new();
    // Room for as many requests as may be in flight, so that handing one over never waits.
    let (hand_over, requests) = async_channel::bounded(limits.max_requests_per_connection.max(1));
    let shared = Arc::new(Shared {
        outbox: outbox.clone(),
        in_flight: Mutex::default(),
        limits: *limits,
    });
    let connection = Connection {
        requests,
        outbox,
        program: hello.program,
    };
    (
        connection,
        Box::pin(drive(socket, tcp, Teardown(shared), hand_over, outgoings)),
    )
}

async fn drive(
    socket: Socket,
    tcp: TcpStream,
    teardown: Teardown,
    hand_over: Sender<IncomingRequest>,
    outgoings: Outgoings,
) -> Result<(), ConnectionError> {
    enum First {
        Read(Result<(), ConnectionError>),
        Wrote(Result<(), Error>),
    }
    let shared = &teardown.0;
    let (mut sender, mut receiver) = socket.split();
    let mut write = std::pin::pin!(outgoings.write_to(&mut sender, |id| {
        shared.in_flight(|requests| requests.remove(&id));
    }));
    let first = {
        let read = async { First::Read(read(&mut receiver, shared, hand_over).await) };
        let wrote = async { First::Wrote(write.as_mut().await) };
        future::or(read, wrote).await
    };
    let deadline = async {
        Timer::after(GOODBYE).await;
    };
    match first {
        First::Read(Ok(())) => Ok(()),
        First::Read(Err(error)) => {
            let told = error
                .refusal()
                .and_then(|body| responder::encode(0, ServerBody::Error(body), usize::MAX).ok());
            if let Some(json) = told {
                let _ = shared.outbox.push(Message::text(json));
                shared.outbox.close();
                let goodbye = async {
                    let _ = write.as_mut().await;
                };
                future::or(goodbye, deadline).await;
                linger(tcp).await;
            }
            Err(error)
        }
        First::Wrote(Ok(())) => {
            let answer = async { while let Some(Ok(_)) = receiver.next().await {} };
            future::or(answer, deadline).await;
            Ok(())
        }
        First::Wrote(Err(error)) => ended(error, &shared.limits),
    }
}

async fn read(
    socket: &mut WebSocketReceiver<TlsStream<TcpStream>>,
    shared: &Arc<Shared>,
    hand_over: Sender<IncomingRequest>,
) -> Result<(), ConnectionError> {
    let limits = &shared.limits;
    while let Some(message) = socket.next().await {
        let handled = match message {
            Ok(Message::Text(text)) if text.len() > limits.max_message => {
                return Err(ConnectionError::TooLarge {
                    max: limits.max_message,
                });
            }
            Ok(Message::Text(text)) => text_message(&text, shared, &hand_over).await?,
            Ok(Message::Binary(bytes)) => {
                if bytes.len() > limits.max_binary + link::BINARY_HEADER {
                    return Err(ConnectionError::TooLarge {
                        max: limits.max_binary,
                    });
                }
                let frame = DataFrame::decode(&bytes).map_err(ConnectionError::MalformedFrame)?;
                stdin(frame, shared).map_err(ConnectionError::Protocol)?;
                Ok(())
            }
            // Also after the client's close: reading on writes the answer to it, then the stream ends.
            Ok(_) => Ok(()),
            Err(error) => return ended(error, limits),
        };
        // The writer failed. Its error says more.
        if handled.is_err() {
            return future::pending().await;
        }
    }
    Ok(())
}

/// Decides what the end of a socket means: a client may leave without a close message, but another protocol is an
/// error.
fn ended(error: Error, limits: &Limits) -> Result<(), ConnectionError> {
    match error {
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake | ProtocolError::SendAfterClosing) => {
            Ok(())
        }
        Error::Io(e)
            if matches!(
                e.kind(),
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
            ) =>
        {
            Ok(())
        }
        Error::Capacity(_) => Err(ConnectionError::TooLarge {
            max: limits.max_message,
        }),
        Error::Io(_) | Error::Tls(_) => Err(ConnectionError::Transport(Box::new(error))),
        error => Err(ConnectionError::WebSocket(Box::new(error))),
    }
}

fn stdin(frame: DataFrame, shared: &Shared) -> Result<(), Violation> {
    if frame.channel != Channel::Stdin {
        return Err(Violation::Channel);
    }
    // The request may have ended before this message arrived.
    match shared.find(frame.id) {
        Some(state) => state.stdin(frame.id, frame.payload),
        None => Ok(()),
    }
}

async fn text_message(
    text: &str,
    shared: &Arc<Shared>,
    hand_over: &Sender<IncomingRequest>,
) -> Result<Result<(), Gone>, ConnectionError> {
    let message: ClientMessage = match link::decode(text) {
        Ok(message) => message,
        Err(problem) => return unreadable(text, problem, shared).await,
    };
    let (id, state) = (message.id, shared.find(message.id));
    if message.v != PROTOCOL_VERSION {
        return Err(ConnectionError::Protocol(Violation::Version(message.v)));
    }
    let input = match (message.body, state) {
        (ClientBody::Hello(_), _) => return Err(ConnectionError::Protocol(Violation::SecondHello)),
        (ClientBody::Request(_), Some(_)) => {
            return Err(ConnectionError::Protocol(Violation::RequestId(id)));
        }
        (ClientBody::Request(_), None) if id == 0 => {
            return Err(ConnectionError::Protocol(Violation::RequestId(id)));
        }
        (ClientBody::Request(request), None) => return Ok(begin(id, *request, shared, hand_over).await),
        // The request may have ended before this message arrived.
        (_, None) => return Ok(Ok(())),
        (ClientBody::Cancel {}, Some(state)) => {
            state.stop(Stop::Cancelled);
            return Ok(Ok(()));
        }
        (ClientBody::Credit(bytes), Some(state)) => {
            state.credit.grant(bytes);
            return Ok(Ok(()));
        }
        (ClientBody::Resize(size), Some(state)) => state.control(id, Input::Resize(size)),
        (ClientBody::CloseStdin {}, Some(state)) => state.control(id, Input::CloseStdin),
        (ClientBody::Signal(number), Some(state)) => state.control(id, Input::Signal(number)),
    };
    input.map_err(ConnectionError::Protocol).map(Ok)
}

async fn begin(
    id: u64,
    request: Request,
    shared: &Arc<Shared>,
    hand_over: &Sender<IncomingRequest>,
) -> Result<(), Gone> {
    let max = shared.limits.max_requests_per_connection;
    if shared.in_flight(|requests| requests.len()) >= max {
        let message =
            format!("this connection already has {max} requests in flight, the most that are allowed");
        return shared.refuse(id, ErrorCode::Invalid, message).await;
    }
    let state = Arc::new(RequestState::new());
    shared.in_flight(|requests| requests.insert(id, Arc::clone(&state)));
    let limits = MessageLimits {
        text: shared.limits.max_message,
        binary: shared.limits.max_binary,
    };
    let responder = Responder::new(id, state, shared.outbox.clone(), limits);
    match hand_over.send(IncomingRequest { request, responder }).await {
        Ok(()) => Ok(()),
        Err(async_channel::SendError(refused)) => {
            let body = refusal(ErrorCode::ShuttingDown, "the daemon is shutting down");
            match refused.responder.respond(Err(body)).await {
                Err(SendError::Disconnected) => Err(Gone),
                _ => Ok(()),
            }
        }
    }
}

/// Handles a message with an unknown shape. If its envelope says that it is a request, for example from a newer
/// client, refuses the request and keeps the connection.
async fn unreadable(
    text: &str,
    problem: MalformedMessage,
    shared: &Shared,
) -> Result<Result<(), Gone>, ConnectionError> {
    #[derive(Deserialize)]
    struct Envelope {
        v: u32,
        id: u64,
        #[serde(rename = "request")]
        _request: IgnoredAny,
    }
    match link::decode::<Envelope>(text) {
        Ok(Envelope { v, id, .. }) if v == PROTOCOL_VERSION && id != 0 && shared.find(id).is_none() => {
            let message = format!("this daemon does not understand the request: {problem}");
            Ok(shared.refuse(id, ErrorCode::Invalid, message).await)
        }
        _ => Err(ConnectionError::Malformed(problem)),
    }
}

//! Runs a client's connection, and passes incoming messages to the calls they belong to.

use std::collections::HashMap;
use std::future::Future;
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_channel::Receiver;
use async_io::Timer;
use async_net::TcpStream;
use async_tungstenite::tungstenite::{Error, Message};
use async_tungstenite::{WebSocketReceiver, WebSocketStream};
use futures_lite::{StreamExt, future};
use futures_rustls::client::TlsStream;

use super::call::{CallState, Delivered, Item};
use super::error::{ClientError, Disconnect};
use crate::link::{self, EncodeError, GOODBYE, MAX_TEXT, Outgoings};
use crate::message::{ClientBody, ClientMessage, DataFrame, PROTOCOL_VERSION, ServerBody, ServerMessage};

pub(super) type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// The future that reads and writes a connection. Requests make progress only while it is polled, so spawn it or race
/// it with them. It ends with the connection, or after the last handle was dropped. Dropping it cuts the connection.
pub type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// State that the handles of a connection share with its driver.
#[derive(Debug)]
pub(super) struct Shared {
    calls: Mutex<Calls>,
    next_id: AtomicU64,
}

#[derive(Debug)]
struct Calls {
    open: HashMap<u64, Arc<CallState>>,
    ended: Option<Arc<Disconnect>>,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            calls: Mutex::new(Calls {
                open: HashMap::new(),
                ended: None,
            }),
            next_id: AtomicU64::new(1),
        }
    }

    /// Adds a new call, which the driver knows from now on.
    pub(super) fn begin(&self) -> Result<(u64, Arc<CallState>, Receiver<Delivered>), ClientError> {
        let mut calls = self.lock();
        if let Some(why) = &calls.ended {
            return Err(ClientError::Disconnected(Arc::clone(why)));
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (state, delivered) = CallState::new();
        calls.open.insert(id, Arc::clone(&state));
        Ok((id, state, delivered))
    }

    pub(super) fn forget(&self, id: u64) -> Option<Arc<CallState>> {
        self.lock().open.remove(&id)
    }

    pub(super) fn is_connected(&self) -> bool {
        self.lock().ended.is_none()
    }

    /// The error of a call whose connection is lost.
    pub(super) fn disconnected(&self) -> ClientError {
        let why = self.lock().ended.clone();
        ClientError::Disconnected(why.unwrap_or_else(|| Arc::new(Disconnect::Closed)))
    }

    fn find(&self, id: u64) -> Option<Arc<CallState>> {
        self.lock().open.get(&id).cloned()
    }

    /// Ends all calls. The first reason is kept.
    fn end(&self, why: Disconnect) {
        let open = {
            let mut calls = self.lock();
            calls.ended.get_or_insert_with(|| Arc::new(why));
            std::mem::take(&mut calls.open)
        };
        for call in open.into_values() {
            call.end();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends all calls, however the driver ends. Created before the driver, because a driver that is dropped before its
/// first poll runs no code.
pub(super) struct Teardown(pub(super) Arc<Shared>);

impl Drop for Teardown {
    fn drop(&mut self) {
        self.0.end(Disconnect::Dropped);
    }
}

pub(super) async fn drive(socket: Socket, teardown: Teardown, outgoings: Outgoings) {
    let shared = &teardown.0;
    let (mut sender, mut receiver) = socket.split();
    let read = async { Some(read(&mut receiver, shared).await) };
    let write = async {
        match outgoings.write_to(&mut sender, |_| {}).await {
            Ok(()) => None,
            // The daemon's last message says more than the failed write, so give the reader time to get it.
            Err(Error::Io(_) | Error::ConnectionClosed | Error::AlreadyClosed | Error::Protocol(_)) => {
                Timer::after(GOODBYE).await;
                Some(Disconnect::Closed)
            }
            Err(error) => Some(Disconnect::Transport(Box::new(error))),
        }
    };
    match future::or(read, write).await {
        Some(why) => shared.end(why),
        None => {
            shared.end(Disconnect::Closed);
            let answer = async { while let Some(Ok(_)) = receiver.next().await {} };
            let deadline = async {
                Timer::after(GOODBYE).await;
            };
            future::or(answer, deadline).await;
        }
    }
}

/// Why the connection ended. A daemon that was killed sends no close message, in TLS or TCP; that does not count as a
/// failure of the connection.
fn lost(error: Error) -> Disconnect {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => Disconnect::Closed,
        Error::Io(error)
            if matches!(
                error.kind(),
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
            ) =>
        {
            Disconnect::Closed
        }
        error => Disconnect::Transport(Box::new(error)),
    }
}

async fn read(socket: &mut WebSocketReceiver<TlsStream<TcpStream>>, shared: &Shared) -> Disconnect {
    while let Some(message) = socket.next().await {
        let handled = match message {
            Ok(Message::Text(text)) => text_message(&text, shared),
            Ok(Message::Binary(bytes)) => DataFrame::decode(&bytes)
                .map(|frame| data(frame, shared))
                .map_err(Disconnect::MalformedFrame),
            Ok(_) => Ok(()),
            Err(error) => Err(lost(error)),
        };
        if let Err(why) = handled {
            return why;
        }
    }
    Disconnect::Closed
}

/// Frames for calls that have been dropped are ignored.
fn data(frame: DataFrame, shared: &Shared) {
    if let Some(call) = shared.find(frame.id) {
        let credit = frame.payload.len();
        let item = Item::Data {
            channel: frame.channel,
            payload: frame.payload,
        };
        deliver(&call, Ok(item), credit);
    }
}

fn text_message(text: &str, shared: &Shared) -> Result<(), Disconnect> {
    let message: ServerMessage = link::decode(text).map_err(Disconnect::Malformed)?;
    if message.v != PROTOCOL_VERSION {
        return Err(Disconnect::Unexpected);
    }
    let id = message.id;
    match message.body {
        ServerBody::Hello(_) => return Err(Disconnect::Unexpected),
        ServerBody::Error(body) if id == 0 => return Err(Disconnect::Refused(body)),
        ServerBody::Event(event) => {
            if let Some(call) = shared.find(id) {
                deliver(&call, Ok(Item::Event(event)), text.len());
            }
        }
        ServerBody::Credit(bytes) => {
            if let Some(call) = shared.find(id) {
                call.stdin.grant(bytes);
            }
        }
        ServerBody::Response(response) => finish(id, Ok(Item::Response(response)), shared),
        ServerBody::Error(body) => finish(id, Err(body), shared),
    }
    Ok(())
}

fn finish(id: u64, item: Result<Item, crate::message::ErrorBody>, shared: &Shared) {
    if let Some(call) = shared.forget(id) {
        // Close stdin first, so that it is closed when the caller has the response.
        call.stdin.close();
        deliver(&call, item, 0);
        call.items.close();
    }
}

fn deliver(call: &CallState, item: Result<Item, crate::message::ErrorBody>, credit: usize) {
    // A call that is being dropped does not need it.
    let _ = call.items.try_send(Delivered { item, credit });
}

/// Encodes a message of the client as JSON.
pub(super) fn encode(id: u64, body: ClientBody) -> Result<String, ClientError> {
    let message = ClientMessage {
        v: PROTOCOL_VERSION,
        id,
        body,
    };
    link::encode(&message, MAX_TEXT).map_err(|e| match e {
        EncodeError::Json(_) => ClientError::Unencodable,
        EncodeError::TooLarge { size, max } => ClientError::TooLarge { size, max },
    })
}

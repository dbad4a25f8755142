//! Code for both ends of a connection: socket settings, message encoding, the outgoing queue, credit.

mod credit;
mod outbox;

use std::io;
use std::net::TcpStream;
use std::time::Duration;

use async_io::Async;
use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::protocol::WebSocketConfig;
use rustix::net::sockopt;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use credit::{CLIENT_WINDOW, Consumed, Credit, STDIN_WINDOW};
pub(crate) use outbox::{Gone, Outbox, Outgoings};

use crate::message::Channel;

/// The HTTP path that is upgraded to a WebSocket.
pub(crate) const PATH: &str = "/harness";

/// The largest text message, in bytes.
pub(crate) const MAX_TEXT: usize = 16 << 20;
/// The largest payload of a binary message, in bytes.
pub(crate) const MAX_BINARY: usize = 1 << 20;
/// How many bytes come before the payload of a binary message.
pub(crate) const BINARY_HEADER: usize = 9;
/// Byte streams are cut into messages of this size, so that requests on one connection take turns.
pub(crate) const CHUNK: usize = 64 << 10;

/// How long to wait for the peer's close message after sending our own.
pub(crate) const GOODBYE: Duration = Duration::from_secs(1);

/// WebSocket settings. Buffers are small, because most connections serve one request.
pub(crate) fn web_socket_config(max_message: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(16 << 10)
        .write_buffer_size(16 << 10)
        .max_message_size(Some(max_message))
        .max_frame_size(Some(max_message))
}

/// Prepares a TCP connection: small messages are not delayed, and a peer that vanished is noticed. The kernel answers
/// keepalives also for a process that is stopped or blocked (`logs -f | less`); with WebSocket pings, such a process
/// would look dead.
pub(crate) fn prepare(stream: &Async<TcpStream>, keepalive: Duration) -> io::Result<()> {
    let socket = stream.get_ref();
    socket.set_nodelay(true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, keepalive)?;
    sockopt::set_tcp_keepintvl(socket, keepalive / 3)?;
    sockopt::set_tcp_keepcnt(socket, 3)?;
    Ok(())
}

/// Why a text message could not be encoded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EncodeError {
    #[error("the message cannot be written as JSON")]
    Json(#[source] serde_json::Error),
    #[error("the message has {size} bytes, more than the {max} allowed")]
    TooLarge { size: usize, max: usize },
}

/// Encodes a message as JSON.
pub(crate) fn encode<T: Serialize>(message: &T, max: usize) -> Result<String, EncodeError> {
    let json = serde_json::to_string(message).map_err(EncodeError::Json)?;
    if json.len() > max {
        return Err(EncodeError::TooLarge {
            size: json.len(),
            max,
        });
    }
    Ok(json)
}

/// A text message does not follow the protocol. Says where, but never shows the content, because it may contain a
/// secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed message: {problem} at line {line} column {column}")]
pub struct MalformedMessage {
    problem: &'static str,
    line: usize,
    column: usize,
}

/// Decodes a message from JSON.
pub(crate) fn decode<T: DeserializeOwned>(json: &str) -> Result<T, MalformedMessage> {
    serde_json::from_str(json).map_err(|e| MalformedMessage {
        problem: match e.classify() {
            serde_json::error::Category::Data => "valid JSON of the wrong shape",
            serde_json::error::Category::Eof => "JSON that ends too early",
            _ => "not JSON",
        },
        line: e.line(),
        column: e.column(),
    })
}

/// Makes a binary message.
pub(crate) fn data_message(id: u64, channel: Channel, payload: &[u8]) -> Message {
    let mut frame = Vec::with_capacity(BINARY_HEADER + payload.len());
    frame.extend_from_slice(&id.to_be_bytes());
    frame.push(channel as u8);
    frame.extend_from_slice(payload);
    Message::binary(frame)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::DataFrame;

    #[test]
    fn a_data_message_is_a_data_frame() {
        let frame = DataFrame {
            id: 7,
            channel: Channel::Stderr,
            payload: b"abc".to_vec(),
        };
        assert_eq!(
            data_message(7, Channel::Stderr, b"abc"),
            Message::binary(frame.encode())
        );
        assert_eq!(frame.encode().len(), BINARY_HEADER + 3);
    }

    #[test]
    fn numbers_mean_the_same_after_they_were_sent_on() {
        let number: f64 = decode("123456789.123456789").unwrap();
        let sent = encode(&number, 100).unwrap();
        assert_eq!(decode::<f64>(&sent).unwrap().to_bits(), number.to_bits());
    }

    #[test]
    fn what_was_malformed_is_not_repeated() {
        let error = decode::<u32>(r#""hunter2""#).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
        assert!(error.contains("line 1"), "{error}");
    }
}

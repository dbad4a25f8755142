//! Why a server refuses or loses a connection.

use std::io;
use std::time::Duration;

use async_tungstenite::tungstenite;

use crate::link::MalformedMessage;
use crate::message::{ErrorBody, ErrorCode, MalformedFrame, PROTOCOL_VERSION};

/// The phase of a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Checking certificates.
    Tls,
    /// Waiting for the HTTP request for a WebSocket.
    Upgrade,
    /// Waiting for the client's hello.
    Hello,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tls => "TLS handshake",
            Self::Upgrade => "WebSocket upgrade",
            Self::Hello => "hello",
        })
    }
}

/// Why a client was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The socket cannot be set up.
    #[error("cannot set up the connection")]
    Socket(#[source] io::Error),
    /// The client took too long.
    #[error("the client did not complete the {phase} within {limit:?}")]
    Timeout {
        /// The phase that was not finished.
        phase: Phase,
        /// How long the whole handshake may take.
        limit: Duration,
    },
    /// The client did not speak TLS, or has no certificate from our authority that is valid now.
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
    /// The request has an Origin header, so a browser sent it for some web page.
    #[error("a browser's request was refused: it has an Origin header")]
    Origin,
    /// The request is for something else.
    #[error("a request for another resource was refused")]
    Resource,
    /// The client did not send an HTTP request for a WebSocket.
    #[error("the WebSocket upgrade failed")]
    Upgrade(#[source] Box<tungstenite::Error>),
    /// The connection ended or failed before the hello.
    #[error("the connection was lost before the hello")]
    Lost(#[source] Option<Box<tungstenite::Error>>),
    /// The first message is not a hello.
    #[error("the first message is not a hello")]
    NoHello,
    /// The first message cannot be read.
    #[error("the hello cannot be read")]
    Malformed(#[source] MalformedMessage),
    /// The client speaks only other versions.
    #[error("{program} speaks protocol versions {offered:?}, this server {PROTOCOL_VERSION}")]
    Version {
        /// The versions that the client speaks.
        offered: Vec<u32>,
        /// The client's program.
        program: String,
    },
}

/// Why a connection was given up. A client that leaves, with or without a close message, is not an error.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The connection failed.
    #[error("the connection failed")]
    Transport(#[source] Box<tungstenite::Error>),
    /// The peer does not speak WebSocket.
    #[error("the client broke the WebSocket protocol")]
    WebSocket(#[source] Box<tungstenite::Error>),
    /// A message is larger than allowed.
    #[error("the client sent a message larger than the {max} bytes allowed")]
    TooLarge {
        /// The limit.
        max: usize,
    },
    /// A text message cannot be read.
    #[error("the client sent a malformed message")]
    Malformed(#[source] MalformedMessage),
    /// A binary message cannot be read.
    #[error("the client sent a malformed binary message")]
    MalformedFrame(#[source] MalformedFrame),
    /// A message breaks the rules.
    #[error("the client broke the protocol: {0}")]
    Protocol(Violation),
}

/// How a client broke the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A message of another version than agreed.
    #[error("a message of protocol version {0}")]
    Version(u32),
    /// A second hello.
    #[error("a second hello")]
    SecondHello,
    /// A request with an id that is 0 or in use.
    #[error("a request with the id {0}, which is reserved or in use")]
    RequestId(u64),
    /// Bytes on a channel that only servers use.
    #[error("bytes on a channel from server to client")]
    Channel,
    /// More stdin than granted.
    #[error("more stdin than granted on request {0}")]
    StdinOverrun(u64),
    /// More signals or other controls than anybody would send.
    #[error("too many unprocessed inputs on request {0}")]
    InputFlood(u64),
}

impl ConnectionError {
    /// What to tell the client before closing; `None` if it cannot receive anything.
    pub(super) fn refusal(&self) -> Option<ErrorBody> {
        let message = match self {
            Self::Transport(_) => return None,
            Self::Malformed(source) => source.to_string(),
            Self::MalformedFrame(source) => source.to_string(),
            other => other.to_string(),
        };
        Some(refusal(ErrorCode::Invalid, message))
    }
}

/// An error body without a hint.
pub(super) fn refusal(code: ErrorCode, message: impl Into<String>) -> ErrorBody {
    ErrorBody {
        code,
        message: message.into(),
        hint: None,
    }
}

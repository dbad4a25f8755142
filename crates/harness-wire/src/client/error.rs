//! Why a client has no connection, or no answer.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_tungstenite::tungstenite;
use futures_rustls::rustls::{self, CertificateError};

use crate::link::MalformedMessage;
use crate::message::{ErrorBody, MalformedFrame, PROTOCOL_VERSION};
use crate::tls::{TlsError, Validity};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The certificates cannot be used.
    #[error("cannot use the certificates of this home")]
    Certificates(#[from] TlsError),
    /// Nobody listens there.
    #[error("nothing listens on {address}")]
    Refused {
        /// The address dialled.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The address cannot be reached.
    #[error("cannot connect to {address}")]
    Unreachable {
        /// The address dialled.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The server has no certificate from our authority, does not accept ours, or does not speak TLS.
    #[error("the TLS handshake with {address} failed")]
    Tls {
        /// The address dialled.
        address: SocketAddr,
        /// Why; a [`rustls::Error`](futures_rustls::rustls::Error) inside.
        #[source]
        source: io::Error,
    },
    /// Our own certificate is not valid now.
    #[error("the certificate {} {}", path.display(), validity_words(*.validity))]
    ClientCertificate {
        /// The certificate.
        path: PathBuf,
        /// What is wrong with it.
        validity: Validity,
    },
    /// The server did not answer in time.
    #[error("{address} did not complete the handshake within {limit:?}")]
    Timeout {
        /// The address dialled.
        address: SocketAddr,
        /// How long it had.
        limit: Duration,
    },
    /// The server is not a harness daemon: it does not accept the WebSocket.
    #[error("{address} does not speak the harness protocol")]
    Upgrade {
        /// The address dialled.
        address: SocketAddr,
        /// Why.
        #[source]
        source: Box<tungstenite::Error>,
    },
    /// The server speaks only other protocol versions. Holds its message.
    #[error("the daemon does not speak protocol version {PROTOCOL_VERSION}")]
    Version(#[source] ErrorBody),
    /// Before the server's hello, the connection was lost, or the server sent something invalid.
    #[error("the connection to {address} was lost before the daemon's hello")]
    Lost {
        /// The address dialled.
        address: SocketAddr,
        /// Why.
        #[source]
        source: Disconnect,
    },
}

impl ConnectError {
    /// Whether a server accepted the connection and dropped it before its hello, as an ending daemon does.
    pub fn was_dropped(&self) -> bool {
        match self {
            Self::Tls { source, .. } => is_broken(source),
            Self::Upgrade { source, .. } => is_cut(source),
            Self::Lost { source, .. } => match source {
                Disconnect::Closed => true,
                Disconnect::Transport(source) => is_cut(source),
                _ => false,
            },
            _ => false,
        }
    }

    /// How a certificate, ours or the server's, is not valid now; `None` if that is not the reason.
    pub fn certificate_validity(&self) -> Option<Validity> {
        match self {
            Self::ClientCertificate { validity, .. } => Some(*validity),
            Self::Tls { source, .. } => {
                let inner = source.get_ref()?.downcast_ref::<rustls::Error>()?;
                let rustls::Error::InvalidCertificate(error) = inner else {
                    return None;
                };
                match error {
                    CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                        Some(Validity::NotYet)
                    }
                    CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                        Some(Validity::Expired)
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

fn validity_words(validity: Validity) -> &'static str {
    match validity {
        Validity::Valid => "is valid",
        Validity::NotYet => "is not valid yet by the clock of this machine",
        Validity::Expired => "has expired by the clock of this machine",
    }
}

fn is_cut(error: &tungstenite::Error) -> bool {
    use tungstenite::error::ProtocolError::{HandshakeIncomplete, ResetWithoutClosingHandshake};
    match error {
        tungstenite::Error::Io(source) => is_broken(source),
        tungstenite::Error::Protocol(source) => {
            matches!(source, HandshakeIncomplete | ResetWithoutClosingHandshake)
        }
        tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => true,
        _ => false,
    }
}

fn is_broken(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof
    )
}

/// Why a request has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// The daemon refused the request, or it failed as a whole.
    #[error(transparent)]
    Refused(ErrorBody),
    /// The connection was lost. It is not known whether the request took effect.
    #[error("the connection to the daemon was lost")]
    Disconnected(#[source] Arc<Disconnect>),
    /// The request is larger than the protocol allows; nothing was sent.
    #[error("the request has {size} bytes, more than the {max} allowed")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// The request cannot be written as JSON; nothing was sent.
    #[error("the request cannot be written as JSON")]
    Unencodable,
    /// The request has been answered already.
    #[error("the request has been answered already")]
    Answered,
}

/// How a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum Disconnect {
    /// The daemon closed it, or ended.
    #[error("the daemon closed the connection")]
    Closed,
    /// The daemon closed it, and said why.
    #[error("the daemon refused the connection")]
    Refused(#[source] ErrorBody),
    /// The connection failed.
    #[error("the connection failed")]
    Transport(#[source] Box<tungstenite::Error>),
    /// A text message from the daemon cannot be read.
    #[error("the daemon sent a malformed message")]
    Malformed(#[source] MalformedMessage),
    /// A binary message from the daemon cannot be read.
    #[error("the daemon sent a malformed binary message")]
    MalformedFrame(#[source] MalformedFrame),
    /// A message of the daemon breaks the protocol.
    #[error("the daemon sent an unexpected message")]
    Unexpected,
    /// The future that runs the connection was dropped.
    #[error("the connection is no longer running")]
    Dropped,
}

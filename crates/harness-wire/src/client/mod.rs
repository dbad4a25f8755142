//! The client's end of a connection: many requests at the same time over one socket.
//!
//! [`connect`] returns a [`Client`] and a driver future. Nothing is spawned here: the caller runs the driver on its
//! executor, or races it with its requests.

mod call;
mod driver;
mod error;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_io::{Async, Timer};
use async_net::TcpStream;
use async_tungstenite::client_async_with_config;
use async_tungstenite::tungstenite::{self, Message};
use futures_lite::{StreamExt, future};
use futures_rustls::TlsConnector;
use futures_rustls::pki_types::ServerName;
use futures_rustls::rustls;

pub use call::{Call, CallHandle, Item};
pub use driver::Driver;
use driver::{Shared, Socket, Teardown};
pub use error::{ClientError, ConnectError, Disconnect};

use crate::link::{self, Gone, MAX_TEXT, Outbox};
use crate::message::{
    ClientBody, ErrorCode, Hello, PROTOCOL_VERSION, Request, Response, ServerBody, ServerMessage,
};
use crate::tls::{SERVER_NAME, TlsDir, Validity};

/// How long connecting may take, from the first packet to the server's hello.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a server may be silent before the kernel asks whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// A connection to a daemon. Clones share it. It closes when the last clone and call are gone.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
    outbox: Outbox,
    server_program: Arc<str>,
}

impl Client {
    /// Sends a request and waits for its response. Events and bytes before the response are ignored.
    ///
    /// # Errors
    /// When the daemon refuses, or the connection is lost.
    pub async fn request(&self, request: Request) -> Result<Response, ClientError> {
        self.open(request).await?.response().await
    }

    /// Sends a request. Take its events, bytes and response from the [`Call`].
    ///
    /// # Errors
    /// When the request is too large, or the connection is lost.
    pub async fn open(&self, request: Request) -> Result<Call, ClientError> {
        let (id, state, delivered) = self.shared.begin()?;
        // From here on the call removes itself when it is dropped, also if this future is dropped.
        let call = Call::new(
            id,
            state,
            delivered,
            Arc::clone(&self.shared),
            self.outbox.clone(),
        );
        let json = driver::encode(id, ClientBody::Request(Box::new(request)))?;
        match self.outbox.send(Message::text(json)).await {
            Ok(()) => Ok(call),
            Err(Gone) => Err(self.shared.disconnected()),
        }
    }

    /// The daemon's program and version, `harness-executor-daemon 0.1.0`.
    pub fn server_program(&self) -> &str {
        &self.server_program
    }
}

/// Connects to the daemon at this address, with the certificates in this folder. `program` is the caller's program
/// and version, which its hello contains. Reads the certificates from disk, which takes much less than a millisecond.
///
/// # Errors
/// When the certificates cannot be used, nothing listens there, or the handshake fails or takes longer than 5 s.
pub async fn connect(
    address: SocketAddr,
    tls: &TlsDir,
    program: &str,
) -> Result<(Client, Driver), ConnectError> {
    let connector = TlsConnector::from(tls.client_config()?);
    let shake = async { Some(handshake(address, connector, program).await) };
    let deadline = async {
        Timer::after(HANDSHAKE_TIMEOUT).await;
        None
    };
    let Some(result) = future::or(shake, deadline).await else {
        return Err(ConnectError::Timeout {
            address,
            limit: HANDSHAKE_TIMEOUT,
        });
    };
    let (socket, hello) = result.map_err(|error| blame_own_certificate(error, tls))?;
    let (outbox, outgoings) = Outbox::new();
    let shared = Arc::new(Shared::new());
    let client = Client {
        shared: Arc::clone(&shared),
        outbox,
        server_program: hello.program.into(),
    };
    Ok((
        client,
        Box::pin(driver::drive(socket, Teardown(shared), outgoings)),
    ))
}

async fn handshake(
    address: SocketAddr,
    connector: TlsConnector,
    program: &str,
) -> Result<(Socket, Hello), ConnectError> {
    let tcp = Async::<std::net::TcpStream>::connect(address).await;
    let tcp = tcp.map_err(|source| match source.kind() {
        io::ErrorKind::ConnectionRefused => ConnectError::Refused { address, source },
        _ => ConnectError::Unreachable { address, source },
    })?;
    link::prepare(&tcp, KEEPALIVE).map_err(|source| ConnectError::Unreachable { address, source })?;
    let failed = |source| ConnectError::Tls { address, source };
    let name = ServerName::try_from(SERVER_NAME).map_err(|e| failed(io::Error::other(e)))?;
    let tls = connector
        .connect(name, TcpStream::from(tcp))
        .await
        .map_err(failed)?;
    let url = format!("ws://{SERVER_NAME}{}", link::PATH);
    let upgraded = client_async_with_config(url, tls, Some(link::web_socket_config(MAX_TEXT))).await;
    let (mut socket, _) = upgraded.map_err(|e| match e {
        // In TLS 1.3, a client learns only now that its certificate is not accepted.
        tungstenite::Error::Io(source) if is_tls(&source) => failed(source),
        source => ConnectError::Upgrade {
            address,
            source: Box::new(source),
        },
    })?;
    let lost = |source| ConnectError::Lost { address, source };
    let hello = ClientBody::Hello(Hello {
        versions: vec![PROTOCOL_VERSION],
        program: program.to_owned(),
    });
    let json = driver::encode(0, hello).map_err(|_| lost(Disconnect::Unexpected))?;
    let transport = |e| lost(Disconnect::Transport(Box::new(e)));
    socket.send(Message::text(json)).await.map_err(transport)?;
    let answer = match socket.next().await {
        Some(Ok(Message::Text(text))) => {
            link::decode::<ServerMessage>(&text).map_err(|e| lost(Disconnect::Malformed(e)))?
        }
        Some(Ok(_)) => return Err(lost(Disconnect::Unexpected)),
        Some(Err(e)) => return Err(transport(e)),
        None => return Err(lost(Disconnect::Closed)),
    };
    match answer.body {
        ServerBody::Hello(hello) if hello.versions == [PROTOCOL_VERSION] => Ok((socket, hello)),
        ServerBody::Error(body) if body.code == ErrorCode::Version => Err(ConnectError::Version(body)),
        ServerBody::Error(body) => Err(lost(Disconnect::Refused(body))),
        _ => Err(lost(Disconnect::Unexpected)),
    }
}

/// A server does not say why it refuses a certificate. The client checks whether its own certificate is out of date.
fn blame_own_certificate(error: ConnectError, tls: &TlsDir) -> ConnectError {
    if !matches!(error, ConnectError::Tls { .. } | ConnectError::Lost { .. })
        || error.certificate_validity().is_some()
    {
        return error;
    }
    match tls.client_validity(SystemTime::now()) {
        Ok(Validity::Valid) | Err(_) => error,
        Ok(validity) => ConnectError::ClientCertificate {
            path: tls.path().join("client.pem"),
            validity,
        },
    }
}

fn is_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
}

//! The handshake of a server: TLS with the client's certificate, the WebSocket upgrade, the hello, all within one
//! deadline.

use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use async_io::{Async, Timer};
use async_net::TcpStream;
use async_tungstenite::accept_hdr_async_with_config;
use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::handshake::server::{Callback, ErrorResponse, Request, Response};
use async_tungstenite::tungstenite::http::StatusCode;
use futures_lite::{AsyncReadExt, StreamExt, future};
use futures_rustls::TlsAcceptor;
use futures_rustls::rustls::ServerConfig;

use super::Limits;
use super::connection::{self, Connection, Driver, Socket};
use super::error::{AcceptError, Phase, refusal};
use super::responder;
use crate::link;
use crate::message::{ClientBody, ClientMessage, ErrorBody, ErrorCode, Hello, PROTOCOL_VERSION, ServerBody};

/// How long, and how much, to read from a refused client so that it can read why it was refused. Closing a socket
/// with unread bytes resets the connection, and the last message would be lost.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_BYTES: usize = 64 << 10;

/// Accepts or refuses one client. Except for TLS itself, nothing from the client is parsed before its certificate is
/// accepted. `program` is this server's program and version, which its hello contains.
///
/// # Errors
/// When the client is refused, too slow, or gone. If the client still listens, it has been told why. The socket is
/// closed.
pub async fn accept(
    stream: Async<std::net::TcpStream>,
    config: Arc<ServerConfig>,
    limits: &Limits,
    program: &str,
) -> Result<(Connection, Driver), AcceptError> {
    link::prepare(&stream, limits.keepalive).map_err(AcceptError::Socket)?;
    let tcp = TcpStream::from(stream);
    let mut phase = Phase::Tls;
    let shake = handshake(tcp.clone(), config, limits, program, &mut phase);
    let deadline = async {
        Timer::after(limits.handshake_timeout).await;
        None
    };
    match future::or(async { Some(shake.await) }, deadline).await {
        Some(Ok((socket, hello))) => Ok(connection::start(socket, tcp, hello, limits)),
        Some(Err(error)) => {
            linger(tcp).await;
            Err(error)
        }
        None => Err(AcceptError::Timeout {
            phase,
            limit: limits.handshake_timeout,
        }),
    }
}

async fn handshake(
    tcp: TcpStream,
    config: Arc<ServerConfig>,
    limits: &Limits,
    program: &str,
    phase: &mut Phase,
) -> Result<(Socket, Hello), AcceptError> {
    let tls = TlsAcceptor::from(config)
        .accept(tcp)
        .await
        .map_err(AcceptError::Tls)?;
    *phase = Phase::Upgrade;
    let mut refused = None;
    let gate = Gate(&mut refused);
    let web_socket_config = link::web_socket_config(limits.max_message);
    let upgraded = accept_hdr_async_with_config(tls, gate, Some(web_socket_config)).await;
    let mut socket = upgraded.map_err(|e| refused.unwrap_or_else(|| AcceptError::Upgrade(Box::new(e))))?;
    *phase = Phase::Hello;
    match read_hello(&mut socket).await {
        Ok(hello) => {
            let answer = ServerBody::Hello(Hello {
                versions: vec![PROTOCOL_VERSION],
                program: program.to_owned(),
            });
            say(&mut socket, answer).await?;
            Ok((socket, hello))
        }
        Err(error) => {
            if let Some(body) = explain(&error) {
                say(&mut socket, ServerBody::Error(body)).await?;
                let _ = socket.close(None).await;
            }
            Err(error)
        }
    }
}

/// Checks the HTTP request, and remembers why it was refused.
struct Gate<'a>(&'a mut Option<AcceptError>);

impl Callback for Gate<'_> {
    fn on_request(self, request: &Request, response: Response) -> Result<Response, ErrorResponse> {
        let (status, error) = if request.headers().contains_key("origin") {
            (StatusCode::FORBIDDEN, AcceptError::Origin)
        } else if request.uri().path() != link::PATH {
            (StatusCode::NOT_FOUND, AcceptError::Resource)
        } else {
            return Ok(response);
        };
        let mut answer = ErrorResponse::new(Some(format!("{error}\n")));
        *answer.status_mut() = status;
        *self.0 = Some(error);
        Err(answer)
    }
}

async fn read_hello(socket: &mut Socket) -> Result<Hello, AcceptError> {
    let text = match socket.next().await {
        Some(Ok(Message::Text(text))) => text,
        Some(Ok(_)) => return Err(AcceptError::NoHello),
        Some(Err(e)) => return Err(AcceptError::Lost(Some(Box::new(e)))),
        None => return Err(AcceptError::Lost(None)),
    };
    // Ignore the version in the envelope: a newer client may still speak our version too.
    let message: ClientMessage = link::decode(&text).map_err(AcceptError::Malformed)?;
    match message.body {
        ClientBody::Hello(hello) if hello.versions.contains(&PROTOCOL_VERSION) => Ok(hello),
        ClientBody::Hello(hello) => Err(AcceptError::Version {
            offered: hello.versions,
            program: hello.program,
        }),
        _ => Err(AcceptError::NoHello),
    }
}

fn explain(error: &AcceptError) -> Option<ErrorBody> {
    let code = match error {
        AcceptError::NoHello | AcceptError::Malformed(_) => ErrorCode::Invalid,
        AcceptError::Version { .. } => ErrorCode::Version,
        _ => return None,
    };
    Some(refusal(code, error.to_string()))
}

async fn say(socket: &mut Socket, body: ServerBody) -> Result<(), AcceptError> {
    let Ok(json) = responder::encode(0, body, usize::MAX) else {
        return Ok(());
    };
    socket
        .send(Message::text(json))
        .await
        .map_err(|e| AcceptError::Lost(Some(Box::new(e))))
}

/// Closes our half of the connection, and reads and discards a little of what the client still sends.
pub(super) async fn linger(mut tcp: TcpStream) {
    let swallow = async {
        tcp.shutdown(Shutdown::Write)?;
        let mut buffer = [0; 4096];
        let mut left = LINGER_BYTES;
        while left > 0 {
            match tcp.read(&mut buffer).await? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        io::Result::Ok(())
    };
    let deadline = async {
        Timer::after(LINGER).await;
        Ok(())
    };
    // In either case the socket is closed now.
    let _ = future::or(swallow, deadline).await;
}

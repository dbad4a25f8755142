//! The http check: a GET of a URL must answer 2xx or 3xx.

use std::fmt;
use std::future::Future;
use std::net::TcpStream;
use std::pin::pin;
use std::sync::OnceLock;
use std::task::Poll;
use std::time::Duration;

use async_io::{Async, Timer};
use async_trait::async_trait;
use futures_lite::future;
use harness_model::REDACTED;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use smol_hyper::rt::FuturesIo;

use super::connect::{HostPort, connect, io_outcome, parse_port, within};
use super::{ProbeConfigError, Prober};
use crate::machine::ProbeOutcome;

/// The longest response head that is read, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// How much of the body is read, in bytes, and for how long. Closing a connection with unread bytes would reset it,
/// and many servers log that as an error.
const MAX_BODY: usize = 64 * 1024;
const BODY_TIME: Duration = Duration::from_millis(100);

/// A probe that makes an HTTP request; made by [`http`].
#[derive(Clone)]
pub struct HttpProbe {
    address: HostPort,
    /// The host name that is sent to the server.
    host: HeaderValue,
    /// Path and query.
    target: Uri,
}

/// A probe that GETs `url`. 2xx and 3xx count as good; redirects are not followed. `localhost` tries v4 and v6. Each
/// probe opens a connection and closes it from its own side, so that the server never has a port in TIME_WAIT that it
/// could not bind again.
///
/// # Errors
/// When it is not a plain `http://` URL.
pub fn http(url: &str) -> Result<HttpProbe, ProbeConfigError> {
    let shown = || without_secrets(url);
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(ProbeConfigError::MissingScheme { url: shown() });
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    if authority.contains('@') {
        return Err(ProbeConfigError::Credentials);
    }
    match scheme.to_ascii_lowercase().as_str() {
        "http" => {}
        "https" => return Err(ProbeConfigError::HttpsUnsupported { url: shown() }),
        _ => return Err(ProbeConfigError::UnknownScheme { url: shown() }),
    }
    let invalid = |reason: &str| ProbeConfigError::InvalidUrl {
        url: shown(),
        reason: reason.to_owned(),
    };
    let uri: Uri = url
        .parse()
        .map_err(|error: hyper::http::uri::InvalidUri| invalid(&error.to_string()))?;
    let authority = uri.authority().ok_or_else(|| invalid("it has no host"))?;
    let port = match &authority.as_str()[authority.host().len()..] {
        "" | ":" => Some(80),
        port => port.strip_prefix(':').and_then(parse_port),
    };
    let port = port.ok_or_else(|| invalid("its port is not valid"))?;
    let address = HostPort::new(authority.host(), port).ok_or_else(|| invalid("its host is not valid"))?;
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| invalid("its host is not valid"))?;
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let target = target.parse().map_err(|_| invalid("its path is not valid"))?;
    Ok(HttpProbe {
        address,
        host,
        target,
    })
}

/// A URL as it may be shown: without its query, and without what is before an `@`.
fn without_secrets(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or(url);
    let (scheme, rest) = url
        .split_once("://")
        .map_or(("", url), |(scheme, rest)| (scheme, rest));
    let separator = if scheme.is_empty() { "" } else { "://" };
    match rest.rsplit_once('@') {
        Some((_, rest)) => format!("{scheme}{separator}{REDACTED}@{rest}"),
        None => url.to_owned(),
    }
}

impl fmt::Debug for HttpProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HttpProbe").field(&self.describe()).finish()
    }
}

#[async_trait]
impl Prober for HttpProbe {
    async fn probe(&self, timeout: Duration) -> ProbeOutcome {
        // The verdict of the head counts, even if time runs out while the body is read.
        let judged = OnceLock::new();
        let attempt = async {
            match connect(&self.address).await {
                Ok(stream) => self.ask(stream, &judged).await,
                Err(error) => error.into_outcome(),
            }
        };
        let outcome = within(timeout, attempt).await;
        judged.into_inner().unwrap_or(outcome)
    }

    fn describe(&self) -> String {
        let query = if self.target.query().is_some() { "?…" } else { "" };
        format!("http {}{}{query}", self.address, self.target.path())
    }
}

impl HttpProbe {
    async fn ask(&self, stream: Async<TcpStream>, judged: &OnceLock<ProbeOutcome>) -> ProbeOutcome {
        let shaken = http1::Builder::new()
            .max_buf_size(MAX_HEAD)
            .handshake::<_, Empty<Bytes>>(FuturesIo::new(stream))
            .await;
        let (mut sender, connection) = match shaken {
            Ok(pair) => pair,
            Err(error) => return hyper_outcome(&error),
        };
        let exchange = async {
            let response = match sender.send_request(self.request()).await {
                Ok(response) => response,
                Err(error) => return hyper_outcome(&error),
            };
            let outcome = judged.get_or_init(|| judge(response.status())).clone();
            future::or(finish(response), async {
                Timer::after(BODY_TIME).await;
            })
            .await;
            outcome
        };
        drive(connection, exchange).await
    }

    fn request(&self) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = self.target.clone();
        *request.version_mut() = Version::HTTP_11;
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(USER_AGENT, HeaderValue::from_static("harness"));
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        request
    }
}

/// Drives the connection while the exchange runs, until the exchange has its outcome.
async fn drive<T>(connection: impl Future, exchange: impl Future<Output = T>) -> T {
    let mut connection = pin!(connection);
    let mut exchange = pin!(exchange);
    let mut open = true;
    future::poll_fn(|context| {
        if let Poll::Ready(outcome) = exchange.as_mut().poll(context) {
            return Poll::Ready(outcome);
        }
        // The exchange gets an error of the connection too, and puts it into words.
        if open && connection.as_mut().poll(context).is_ready() {
            open = false;
        }
        exchange.as_mut().poll(context)
    })
    .await
}

/// Reads an ordinary body to its end, and gives up on any other.
async fn finish(response: Response<Incoming>) {
    let mut body = response.into_body();
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > MAX_BODY {
            return;
        }
    }
}

fn judge(status: StatusCode) -> ProbeOutcome {
    if status.is_success() || status.is_redirection() {
        return ProbeOutcome::Healthy;
    }
    ProbeOutcome::Unhealthy(match status.canonical_reason() {
        Some(reason) => format!("answered {} {reason}", status.as_u16()),
        None => format!("answered {}", status.as_u16()),
    })
}

fn hyper_outcome(error: &hyper::Error) -> ProbeOutcome {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<std::io::Error>() {
            return io_outcome(error);
        }
        source = cause.source();
    }
    ProbeOutcome::Unhealthy(if error.is_parse() {
        format!("no valid HTTP answer: {error}")
    } else {
        "closed the connection without an answer".to_owned()
    })
}

//! The http check: a request to a URL, by default a GET that must answer 2xx or 3xx. With `https` over TLS.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use async_io::Timer;
use async_lock::OnceCell;
use async_trait::async_trait;
use command_executor::host::{Endpoint, parse_port};
use futures_lite::future;
use futures_lite::io::{AsyncRead, AsyncWrite};
use harness_model::REDACTED;
use harness_model::spec::StatusRange;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use smol_hyper::rt::FuturesIo;

use super::outcome::{Connector, from_here, io_outcome, unconnected, within};
use super::tls::{self, Trust};
use super::{LogMatcher, ProbeConfigError, Prober};
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
    address: Endpoint,
    connect: Connector,
    /// The host name that is sent to the server.
    host: HeaderValue,
    /// Path and query.
    target: Uri,
    /// Whom to trust, and the name that the certificate must have; `None`: no TLS.
    tls: Option<(Trust, String)>,
    method: Method,
    headers: HeaderMap,
    /// The good status codes; empty: 2xx and 3xx.
    status: Vec<StatusRange>,
    /// What the body must match.
    body: Option<Arc<Body>>,
}

/// A pattern for the body, compiled by the first probe that needs it.
struct Body {
    pattern: String,
    compiled: OnceCell<LogMatcher>,
}

impl Body {
    async fn judge(&self, body: Vec<u8>) -> ProbeOutcome {
        let compiled = self
            .compiled
            .get_or_try_init(|| LogMatcher::compile(&self.pattern))
            .await;
        match compiled {
            Ok(pattern) if pattern.finds(body).await => ProbeOutcome::Healthy,
            Ok(_) => ProbeOutcome::Unhealthy(format!("the body does not match /{}/", self.pattern)),
            Err(error) => ProbeOutcome::Unhealthy(error.to_string()),
        }
    }
}

/// A probe that GETs `url`. 2xx and 3xx count as good; redirects are not followed. `localhost` tries v4 and v6. An
/// `https://` URL is asked over TLS, and the authorities of this machine are trusted. Each probe opens a connection and closes it from its own side, so that the server never has a port in TIME_WAIT that it
/// could not bind again.
///
/// # Errors
/// When it is not an `http://` or `https://` URL.
pub fn http(url: &str) -> Result<HttpProbe, ProbeConfigError> {
    let shown = || without_secrets(url);
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(ProbeConfigError::MissingScheme { url: shown() });
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    if authority.contains('@') {
        return Err(ProbeConfigError::Credentials);
    }
    let is_tls = match scheme.to_ascii_lowercase().as_str() {
        "http" => false,
        "https" => true,
        _ => return Err(ProbeConfigError::UnknownScheme { url: shown() }),
    };
    let invalid = |reason: &str| ProbeConfigError::InvalidUrl {
        url: shown(),
        reason: reason.to_owned(),
    };
    let uri: Uri = url
        .parse()
        .map_err(|error: hyper::http::uri::InvalidUri| invalid(&error.to_string()))?;
    let authority = uri.authority().ok_or_else(|| invalid("it has no host"))?;
    let port = match &authority.as_str()[authority.host().len()..] {
        "" | ":" if is_tls => Some(443),
        "" | ":" => Some(80),
        port => port.strip_prefix(':').and_then(parse_port),
    };
    let port = port.ok_or_else(|| invalid("its port is not valid"))?;
    let address = Endpoint::new(authority.host(), port).ok_or_else(|| invalid("its host is not valid"))?;
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| invalid("its host is not valid"))?;
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let target = target.parse().map_err(|_| invalid("its path is not valid"))?;
    Ok(HttpProbe {
        address,
        connect: from_here(),
        host,
        target,
        tls: is_tls.then(|| (Trust::System, authority.host().to_owned())),
        method: Method::GET,
        headers: HeaderMap::new(),
        status: Vec::new(),
        body: None,
    })
}

impl HttpProbe {
    /// Connects in this way, instead of from this machine.
    #[must_use]
    pub fn through(mut self, connect: Connector) -> Self {
        self.connect = connect;
        self
    }

    /// With this method.
    ///
    /// # Errors
    /// When it is not one.
    pub fn method(mut self, method: &str) -> Result<Self, ProbeConfigError> {
        self.method =
            Method::from_bytes(method.as_bytes()).map_err(|_| ProbeConfigError::InvalidRequest {
                what: format!("the method `{method}`"),
            })?;
        Ok(self)
    }

    /// With a header, in place of one that it would have by itself.
    ///
    /// # Errors
    /// When a request cannot have it. The value is not in the error: it may be a secret.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, ProbeConfigError> {
        let bad = || ProbeConfigError::InvalidRequest {
            what: format!("the header `{name}`"),
        };
        let value = HeaderValue::from_str(value).map_err(|_| bad())?;
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        self.headers.insert(name, value);
        Ok(self)
    }

    /// Only these status codes are good.
    #[must_use]
    pub fn status(mut self, status: Vec<StatusRange>) -> Self {
        self.status = status;
        self
    }

    /// The first 64 KiB of the body must match this regular expression. One that cannot be used makes each probe bad.
    #[must_use]
    pub fn body(mut self, pattern: String) -> Self {
        self.body = Some(Arc::new(Body {
            pattern,
            compiled: OnceCell::new(),
        }));
        self
    }

    /// Trusts others, if it is asked over TLS.
    #[must_use]
    pub fn trust(mut self, trust: Trust) -> Self {
        if let Some((trusted, _)) = &mut self.tls {
            *trusted = trust;
        }
        self
    }

    /// The certificate must be for this host, whatever address is connected to.
    #[must_use]
    pub fn certified_for(mut self, host: &str) -> Self {
        if let Some((_, name)) = &mut self.tls {
            host.clone_into(name);
        }
        self
    }
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
        // Headers and the query may be secrets.
        let query = if self.target.query().is_some() { "?…" } else { "" };
        write!(
            f,
            "HttpProbe({} {}{}{query})",
            self.method,
            self.address,
            self.target.path()
        )
    }
}

#[async_trait]
impl Prober for HttpProbe {
    async fn probe(&self, timeout: Duration) -> ProbeOutcome {
        // The verdict of the head counts, even if time runs out while the body is read.
        let judged = OnceLock::new();
        let attempt = async {
            let stream = match (self.connect)(self.address.clone()).await {
                Ok(stream) => stream,
                Err(error) => return unconnected(&error),
            };
            match &self.tls {
                None => self.ask(stream, &judged).await,
                Some((trust, name)) => match tls::connect(trust, name, stream).await {
                    Ok(stream) => self.ask(stream, &judged).await,
                    Err(outcome) => outcome,
                },
            }
        };
        let outcome = within(timeout, attempt).await;
        judged.into_inner().unwrap_or(outcome)
    }
}

impl HttpProbe {
    async fn ask(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        judged: &OnceLock<ProbeOutcome>,
    ) -> ProbeOutcome {
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
            let status = self.judge(response.status());
            if let (Some(pattern), ProbeOutcome::Healthy) = (&self.body, &status) {
                // All of it counts now, and the time is that of the probe.
                return pattern.judge(read(response).await).await;
            }
            let outcome = judged.get_or_init(|| status).clone();
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
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.clone();
        *request.version_mut() = Version::HTTP_11;
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(USER_AGENT, HeaderValue::from_static("harness"));
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
        request
    }

    fn judge(&self, status: StatusCode) -> ProbeOutcome {
        let is_good = match self.status.is_empty() {
            true => status.is_success() || status.is_redirection(),
            false => self.status.iter().any(|range| range.contains(status.as_u16())),
        };
        if is_good {
            return ProbeOutcome::Healthy;
        }
        let answered = match status.canonical_reason() {
            Some(reason) => format!("answered {} {reason}", status.as_u16()),
            None => format!("answered {}", status.as_u16()),
        };
        let wanted: Vec<String> = self.status.iter().map(ToString::to_string).collect();
        ProbeOutcome::Unhealthy(match wanted.is_empty() {
            true => answered,
            false => format!("{answered}, not {}", wanted.join(" or ")),
        })
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

/// The body, as far as it counts.
async fn read(response: Response<Incoming>) -> Vec<u8> {
    let mut body = response.into_body();
    let mut read = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(bytes) = frame.data_ref() {
            let room = MAX_BODY.saturating_sub(read.len());
            read.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        if read.len() >= MAX_BODY {
            break;
        }
    }
    read
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

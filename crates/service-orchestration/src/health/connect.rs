//! Connects to `host:port`: handles names, both address families of localhost, the timeout, and errors in one line.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use async_io::{Async, Timer};
use command_executor::patience::pass;
use futures_lite::future;
use rustix::io::Errno;

use super::names;
use crate::machine::ProbeOutcome;

/// How long an address may stay silent before the next one is tried in parallel (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);

/// Where to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostPort {
    host: Host,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    /// Both families: when a server is told to listen on "localhost", its library decides which family it uses.
    Localhost,
    Address(IpAddr),
    Name(String),
}

impl HostPort {
    /// Parses `localhost:80`, `10.0.0.1:80`, `[::1]:80`. Port 0 is refused.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        Self::new(host, parse_port(port)?)
    }

    /// The host as in a URL: an IPv6 address is in brackets.
    pub(super) fn new(host: &str, port: u16) -> Option<Self> {
        if port == 0 {
            return None;
        }
        let host = if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Host::Address(IpAddr::V6(inner.parse().ok()?))
        } else if host.eq_ignore_ascii_case("localhost") {
            Host::Localhost
        } else if let Ok(address) = host.parse::<Ipv4Addr>() {
            Host::Address(IpAddr::V4(address))
        } else if host.is_empty() || host.contains(|c: char| !is_name_char(c)) {
            return None;
        } else {
            Host::Name(host.to_owned())
        };
        Some(Self { host, port })
    }

    async fn addresses(&self) -> Result<Vec<SocketAddr>, ConnectError> {
        let at = |ip| SocketAddr::new(ip, self.port);
        match &self.host {
            Host::Address(address) => Ok(vec![at(*address)]),
            Host::Localhost => Ok(vec![
                at(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                at(IpAddr::V6(Ipv6Addr::LOCALHOST)),
            ]),
            Host::Name(name) => match names::resolve(name, self.port).await {
                Ok(found) if !found.is_empty() => Ok(found),
                Ok(_) | Err(_) => Err(ConnectError::Unresolved(name.clone())),
            },
        }
    }
}

/// Accepts only digits: the standard library would accept a sign as well.
pub(super) fn parse_port(text: &str) -> Option<u16> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())?
}

fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_' | '.')
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Localhost => write!(f, "localhost:{}", self.port),
            Host::Address(address) => write!(f, "{}", SocketAddr::new(*address, self.port)),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum ConnectError {
    Unresolved(String),
    Io(io::Error),
}

impl ConnectError {
    pub(super) fn into_outcome(self) -> ProbeOutcome {
        match self {
            Self::Unresolved(name) => ProbeOutcome::Unhealthy(format!("the name {name} cannot be resolved")),
            Self::Io(error) => io_outcome(&error),
        }
    }
}

/// What an I/O error says about the service. It says nothing if this machine has run out of something.
pub(super) fn io_outcome(error: &io::Error) -> ProbeOutcome {
    let line = io_line(error);
    match Errno::from_io_error(error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => ProbeOutcome::Unknown(line),
        _ => ProbeOutcome::Unhealthy(line),
    }
}

/// `connection refused`: the system's text, without the error number.
pub(super) fn io_line(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => error.kind().to_string(),
    }
}

/// Runs `work`, or returns `no answer within 5s` when the time is over. Then `work` is dropped, together with its
/// connections.
pub(super) async fn within(timeout: Duration, work: impl Future<Output = ProbeOutcome>) -> ProbeOutcome {
    let late = async {
        pass(timeout).await;
        ProbeOutcome::Unhealthy(format!("no answer within {}", short(timeout)))
    };
    future::or(work, late).await
}

/// `5s`, `1.5s`, `500ms`.
fn short(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{}ms", duration.as_millis())
    } else {
        format!("{}s", duration.as_millis() as f64 / 1000.0)
    }
}

type Connecting = Pin<Box<dyn Future<Output = io::Result<Async<TcpStream>>> + Send>>;

enum Progress {
    Connected(Async<TcpStream>),
    Failed(usize, io::Error),
    Silent,
}

/// Connects to the first address that accepts. The next address is tried when one fails or stays silent.
pub(super) async fn connect(to: &HostPort) -> Result<Async<TcpStream>, ConnectError> {
    let mut untried = to.addresses().await?.into_iter();
    let mut trying: Vec<Connecting> = Vec::new();
    let mut first_error: Option<io::Error> = None;
    loop {
        match untried.next() {
            Some(address) => trying.push(Box::pin(connect_one(address))),
            None if trying.is_empty() => {
                let error = first_error.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into());
                return Err(ConnectError::Io(error));
            }
            None => {}
        }
        let stagger = async {
            if untried.len() == 0 {
                future::pending::<()>().await;
            }
            Timer::after(STAGGER).await;
            Progress::Silent
        };
        match future::or(any(&mut trying), stagger).await {
            Progress::Connected(stream) => return Ok(stream),
            Progress::Failed(index, error) => {
                drop(trying.remove(index));
                if first_error.as_ref().is_none_or(no_such_family) {
                    first_error = Some(error);
                }
            }
            Progress::Silent => {}
        }
    }
}

/// Waits for the attempt that ends first.
async fn any(trying: &mut [Connecting]) -> Progress {
    future::poll_fn(|context| {
        for (index, attempt) in trying.iter_mut().enumerate() {
            match attempt.as_mut().poll(context) {
                Poll::Ready(Ok(stream)) => return Poll::Ready(Progress::Connected(stream)),
                Poll::Ready(Err(error)) => return Poll::Ready(Progress::Failed(index, error)),
                Poll::Pending => {}
            }
        }
        Poll::Pending
    })
    .await
}

/// Whether an error only says that this machine has no addresses of that family.
fn no_such_family(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT | Errno::NETUNREACH)
    )
}

async fn connect_one(address: SocketAddr) -> io::Result<Async<TcpStream>> {
    let stream = Async::<TcpStream>::connect(address).await?;
    if is_own_reflection(stream.get_ref())? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

/// A connection to a free port of this machine can by chance get that very port as its own end. TCP then connects the
/// socket to itself, although nobody listens there. Without a linger the port is free again at once.
fn is_own_reflection(stream: &TcpStream) -> io::Result<bool> {
    if stream.local_addr()? != stream.peer_addr()? {
        return Ok(false);
    }
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketType, bind, connect, getsockname, socket};

    use super::*;

    #[test]
    fn a_socket_connected_to_itself_is_no_server() {
        let own = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&own, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = SocketAddr::try_from(getsockname(&own).unwrap()).unwrap();
        connect(&own, &address).unwrap();
        let own = TcpStream::from(own);
        assert!(is_own_reflection(&own).unwrap());
        drop(own);

        // The port is free again at once, even for a service that does not set SO_REUSEADDR.
        let service = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&service, &address).unwrap();
        rustix::net::listen(&service, 1).unwrap();
        let client = TcpStream::connect(address).unwrap();
        assert!(!is_own_reflection(&client).unwrap());
    }

    #[test]
    fn a_lack_of_this_machine_is_not_held_against_the_service() {
        let outcome = |errno: Errno| io_outcome(&io::Error::from(errno));
        assert_eq!(
            outcome(Errno::CONNREFUSED),
            ProbeOutcome::Unhealthy("connection refused".into())
        );
        assert_eq!(
            outcome(Errno::HOSTUNREACH),
            ProbeOutcome::Unhealthy("no route to host".into())
        );
        assert_eq!(
            outcome(Errno::MFILE),
            ProbeOutcome::Unknown("too many open files".into())
        );
        let plain = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(
            io_outcome(&plain),
            ProbeOutcome::Unhealthy("connection refused".into())
        );
    }

    #[test]
    fn durations_are_short() {
        for (millis, text) in [(5000, "5s"), (1500, "1.5s"), (500, "500ms"), (60_000, "60s")] {
            assert_eq!(short(Duration::from_millis(millis)), text);
        }
    }
}

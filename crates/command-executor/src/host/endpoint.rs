//! An address to connect to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Where to connect to, as a host sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub(crate) peer: Peer,
    pub(crate) port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Both families: when a server is told to listen on "localhost", its library decides which family it uses.
    Localhost,
    Address(IpAddr),
    Name(String),
}

impl Endpoint {
    /// Parses `localhost:80`, `10.0.0.1:80`, `[::1]:80`; `None` for anything else, and for port 0.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        Self::new(host, parse_port(port)?)
    }

    /// The host as in a URL: an IPv6 address is in brackets. `None` if it is no such host, or the port is 0.
    pub fn new(host: &str, port: u16) -> Option<Self> {
        if port == 0 {
            return None;
        }
        let peer = if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Peer::Address(IpAddr::V6(inner.parse().ok()?))
        } else if host.eq_ignore_ascii_case("localhost") {
            Peer::Localhost
        } else if let Ok(address) = host.parse::<Ipv4Addr>() {
            Peer::Address(IpAddr::V4(address))
        } else if host.is_empty() || host.contains(|c: char| !is_name_char(c)) {
            return None;
        } else {
            Peer::Name(host.to_owned())
        };
        Some(Self { peer, port })
    }
}

/// Accepts only digits: the standard library would accept a sign as well.
pub fn parse_port(text: &str) -> Option<u16> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())?
}

fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_' | '.')
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.peer {
            Peer::Localhost => write!(f, "localhost:{}", self.port),
            Peer::Address(address) => write!(f, "{}", SocketAddr::new(*address, self.port)),
            Peer::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

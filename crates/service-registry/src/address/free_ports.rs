//! Free ports, none of them given twice.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, TcpListener, UdpSocket};

use harness_model::spec::Protocol;

/// Attempts before giving up: the system hands out ports at random, so this many repeats mean that nearly
/// everything has been given away.
const ATTEMPTS: usize = 256;

/// How many ports are remembered. They only bridge the time until the plan they were chosen for is recorded;
/// what is recorded is [`Taken`](super::Taken).
const REMEMBERED: usize = 4096;

/// Finds free ports by asking the system for one, and remembers what it gave: between the question and the
/// moment the service listens, nobody else is given the same port.
#[derive(Debug, Default)]
pub struct FreePorts {
    given: BTreeSet<(u16, Protocol)>,
    /// The same, oldest first.
    order: VecDeque<(u16, Protocol)>,
}

impl FreePorts {
    /// A port that nobody listens on at `ip` and that has not been given before.
    ///
    /// # Errors
    /// When the system refuses to bind there, or has only ports that were given already.
    pub fn take(&mut self, ip: IpAddr, protocol: Protocol) -> io::Result<u16> {
        // Sockets are kept open until a new port turns up, so that the system does not offer one twice.
        let mut refused = Vec::new();
        for _ in 0..ATTEMPTS {
            let socket = Probe::bind(ip, 0, protocol)?;
            let port = socket.port()?;
            if self.given.insert((port, protocol)) {
                self.remember((port, protocol));
                return Ok(port);
            }
            refused.push(socket);
        }
        Err(io::Error::new(
            io::ErrorKind::AddrNotAvailable,
            "every port the system offers has been given away",
        ))
    }

    fn remember(&mut self, port: (u16, Protocol)) {
        self.order.push_back(port);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.given.remove(&oldest);
        }
    }

    /// Whether a program could listen there now.
    pub fn is_free(ip: IpAddr, port: u16, protocol: Protocol) -> bool {
        Probe::bind(ip, port, protocol).is_ok()
    }
}

enum Probe {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

impl Probe {
    fn bind(ip: IpAddr, port: u16, protocol: Protocol) -> io::Result<Self> {
        match protocol {
            Protocol::Tcp => TcpListener::bind((ip, port)).map(Self::Tcp),
            Protocol::Udp => UdpSocket::bind((ip, port)).map(Self::Udp),
        }
    }

    fn port(&self) -> io::Result<u16> {
        match self {
            Self::Tcp(socket) => socket.local_addr(),
            Self::Udp(socket) => socket.local_addr(),
        }
        .map(|address| address.port())
    }
}

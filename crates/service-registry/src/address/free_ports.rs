//! Finds free ports, and never gives out one of them twice.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, TcpListener, UdpSocket};

use harness_model::spec::Protocol;

/// How many attempts to make. The system hands out ports at random, so this many repeats mean that nearly every port
/// has been given out.
const ATTEMPTS: usize = 256;

/// How many ports are remembered. This only covers the time until the plan that uses them is recorded; recorded ports
/// are in [`Taken`](super::Taken).
const REMEMBERED: usize = 4096;

/// Finds free ports by asking the system for one, and remembers what it gave out. So nobody else gets the same port
/// before the service listens on it.
#[derive(Debug, Default)]
pub struct FreePorts {
    given: BTreeSet<(u16, Protocol)>,
    /// The same ports, oldest first.
    order: VecDeque<(u16, Protocol)>,
}

impl FreePorts {
    /// A port on which nobody listens at `ip` and that was not given out before.
    ///
    /// # Errors
    /// When the system refuses to bind there, or offers only ports that were already given out.
    pub fn take(&mut self, ip: IpAddr, protocol: Protocol) -> io::Result<u16> {
        // Keep the sockets open until a new port comes, so that the system does not offer the same one twice.
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
            "every port that the system offers was already given out",
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

//! Finds out who holds a port, before a plan is started, so that "address in use" can name a program.
//!
//! [`holders`] reads the kernel's socket tables once for any number of ports. It looks into the processes only when
//! one of the ports is taken. Everything here is synchronous and short; call it through `blocking::unblock`.
//!
//! ```text
//! wanted ports --> tables (/proc/net) --> conflicts? --no--> nothing
//!                                             |yes
//!                                             +--> owners (/proc/*/fd) --> Holder {program, pid, user}
//! ```

mod conflict;
mod owner;
mod table;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use harness_model::spec::Protocol;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use conflict::Conflict;
use owner::{Owner, Owners};
use table::Entry;

/// A program that holds a wanted port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The address that was asked about.
    pub address: IpAddr,
    /// The address it is bound to, which may be a wildcard.
    pub bound: IpAddr,
    /// The port number.
    pub port: u16,
    /// The transport protocol.
    pub protocol: Protocol,
    /// The process. `None`: it belongs to another user, is in another pid namespace, or lets nobody look into it, as
    /// the daemon does.
    pub pid: Option<u32>,
    /// The name of its program.
    pub program: Option<String>,
    /// The user that it runs as: the name, or the number if it has no name.
    pub user: Option<String>,
    /// Whether it is a harness daemon: this one, or that of another home.
    pub daemon: Option<HarnessDaemon>,
}

/// A harness daemon that holds a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HarnessDaemon {
    /// This process.
    This,
    /// The daemon of another home; `None`: the home cannot be read.
    OfHome(Option<PathBuf>),
}

impl Holder {
    /// Whether it is the process `ancestor` or descends from it. Everything of a service descends from its shim, so a
    /// service that is about to be replaced is recognized on its own port. Unknown processes never match.
    pub fn descends_from(&self, ancestor: u32) -> bool {
        self.pid.is_some_and(|pid| owner::descends_from(pid, ancestor))
    }
}

impl fmt::Display for Holder {
    /// Formats as `postgres (pid 812, user postgres, not harness)`, or `the harness daemon of /srv/harness (pid 812, user
    /// root)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.daemon {
            Some(HarnessDaemon::This) => return f.write_str("this harness daemon itself"),
            Some(HarnessDaemon::OfHome(home)) => {
                match home {
                    Some(home) => write!(f, "the harness daemon of {}", home.display())?,
                    None => f.write_str("the harness daemon of another home")?,
                }
                return match (self.pid, &self.user) {
                    (Some(pid), Some(user)) => write!(f, " (pid {pid}, user {user})"),
                    (Some(pid), None) => write!(f, " (pid {pid})"),
                    (None, _) => Ok(()),
                };
            }
            None => {}
        }
        match (&self.program, self.pid) {
            (Some(program), _) => write!(f, "{program} (")?,
            (None, Some(_)) => f.write_str("a process (")?,
            (None, None) => {
                f.write_str("a process that cannot be inspected, such as another user's or another daemon")?;
                return match &self.user {
                    Some(user) => write!(f, " (user {user})"),
                    None => Ok(()),
                };
            }
        }
        if let Some(pid) = self.pid {
            write!(f, "pid {pid}, ")?;
        }
        if let Some(user) = &self.user {
            write!(f, "user {user}, ")?;
        }
        f.write_str("not harness)")
    }
}

/// Why it is unknown whether a port is free.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// A socket table of the kernel cannot be read.
    #[error("cannot read {path}")]
    Table {
        /// The table.
        path: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The port cannot be bound to try it: the address is not of this machine, or the port is privileged.
    #[error("cannot bind {address} {}", .protocol.as_str())]
    Bind {
        /// The address and port.
        address: SocketAddr,
        /// The transport protocol.
        protocol: Protocol,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Who holds any of the wanted ports, in the order in which they are wanted; one entry for each bound address in the
/// way. Port 0 (any free port) is never held. If the kernel's tables cannot be read, each port is tried by binding
/// it, and its holder stays unknown.
///
/// # Errors
/// When neither works.
pub fn holders(wanted: &[(IpAddr, u16, Protocol)]) -> Result<Vec<Holder>, PortError> {
    let ports: BTreeSet<(Protocol, u16)> = wanted
        .iter()
        .filter(|(_, port, _)| *port != 0)
        .map(|(_, port, protocol)| (*protocol, *port))
        .collect();
    if ports.is_empty() {
        return Ok(Vec::new());
    }
    let entries = match table::read(&ports) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::debug!(%error, "cannot read the socket tables, trying to bind instead");
            return holders_by_binding(wanted);
        }
    };
    let mut hits: Vec<(IpAddr, &Entry)> = Vec::new();
    for (address, port, protocol) in wanted {
        for entry in &entries {
            if entry.port == *port && entry.protocol == *protocol && in_the_way(*address, entry) {
                hits.push((*address, entry));
            }
        }
    }
    let owners = Owners::find(hits.iter().map(|(_, entry)| entry.inode).collect());
    Ok(hits
        .into_iter()
        .map(|(address, entry)| {
            let owner = owners.of(entry.inode).cloned();
            let owner = owner.or_else(|| owner::hidden_daemon(entry.uid));
            let owner = owner.as_ref();
            Holder {
                address,
                bound: entry.address,
                port: entry.port,
                protocol: entry.protocol,
                pid: owner.map(|owner| owner.pid),
                program: owner.and_then(|owner| owner.program.clone()),
                user: Some(owner::user_name(
                    owner.and_then(|owner| owner.uid).unwrap_or(entry.uid),
                )),
                daemon: owner.and_then(Owner::daemon),
            }
        })
        .collect())
}

/// Whether an entry of the tables prevents the binding of a port.
fn in_the_way(wanted: IpAddr, entry: &Entry) -> bool {
    match conflict::between(wanted, entry.address) {
        Conflict::No => false,
        Conflict::Yes => true,
        Conflict::UnlessV6Only => !matches!(is_free(wanted, entry.port, entry.protocol), Ok(true)),
    }
}

fn holders_by_binding(wanted: &[(IpAddr, u16, Protocol)]) -> Result<Vec<Holder>, PortError> {
    let mut held = Vec::new();
    for (address, port, protocol) in wanted {
        if !is_free(*address, *port, *protocol)? {
            held.push(Holder {
                address: *address,
                bound: *address,
                port: *port,
                protocol: *protocol,
                pid: None,
                program: None,
                user: None,
                daemon: None,
            });
        }
    }
    Ok(held)
}

/// Whether a port can be bound right now. It is bound for a moment to find out, but never listened on, so nobody can
/// connect to it by mistake. Ports in TIME_WAIT count as free.
///
/// # Errors
/// When the answer is neither yes nor "in use".
pub fn is_free(address: IpAddr, port: u16, protocol: Protocol) -> Result<bool, PortError> {
    let at = SocketAddr::new(address, port);
    match bind(at, protocol) {
        Ok(()) => Ok(true),
        Err(Errno::ADDRINUSE) => Ok(false),
        Err(errno) => Err(PortError::Bind {
            address: at,
            protocol,
            source: errno.into(),
        }),
    }
}

fn bind(at: SocketAddr, protocol: Protocol) -> Result<(), Errno> {
    let family = if at.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let kind = match protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    if protocol == Protocol::Tcp {
        rustix::net::sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    rustix::net::bind(&socket, &at)
}

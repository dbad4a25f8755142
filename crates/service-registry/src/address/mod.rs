//! Where each service is reached, and how one service names the address of another.
//!
//! [`assign`] gives a whole plan its addresses before anything starts; [`lookup`] answers `${service.ip}` as
//! the referring service can reach it; [`environment`] puts the same figures into variables.

mod assign;
mod containers;
mod free_ports;
mod lookup;

use std::net::IpAddr;

use harness_model::spec::{Origin, Protocol};
use harness_model::{NetworkName, PortName, ProjectName, Reference, ServiceName};
use serde::{Deserialize, Serialize};

pub use assign::assign;
pub use free_ports::FreePorts;
pub use lookup::{environment, lookup, seen_from};

use crate::network::{Cidr, Interface, Topology};

/// Where a service runs, as far as reaching it is concerned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// On this machine, in its own network namespace.
    #[default]
    Local,
    /// In a container.
    Container {
        /// The network it is attached to; the first, if it is on several.
        network: NetworkName,
        /// The addresses of that network.
        subnet: Cidr,
        /// This machine, as containers on it see it.
        gateway: IpAddr,
        /// The other networks it is attached to.
        #[serde(default)]
        also: Vec<Attached>,
    },
    /// On another host.
    Node {
        /// Its address or DNS name.
        host: String,
    },
}

/// A network that a container is attached to besides its first one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Attached {
    /// The network.
    pub network: NetworkName,
    /// The addresses of that network.
    pub subnet: Cidr,
    /// This machine, as containers on it see it.
    pub gateway: IpAddr,
    /// The container's address there.
    pub ip: IpAddr,
}

/// Where a service is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceAddresses {
    /// Where it runs.
    #[serde(default)]
    pub place: Place,
    /// Its address, as its own place sees it.
    pub ip: IpAddr,
    /// The name or address of the host it runs on.
    pub host: String,
    /// Its ports, in the order of its specification.
    pub ports: Vec<PortAssignment>,
    /// The ports that its image declares, where that was asked because it has none itself: they are those of its own
    /// address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exposed: Vec<u16>,
}

impl ServiceAddresses {
    /// The networks of a container, each with its address there, the first one first.
    pub fn networks(&self) -> impl Iterator<Item = Attached> + '_ {
        let (first, also) = match &self.place {
            Place::Container {
                network,
                subnet,
                gateway,
                also,
            } => {
                let first = Attached {
                    network: network.clone(),
                    subnet: *subnet,
                    gateway: *gateway,
                    ip: self.ip,
                };
                (Some(first), also.as_slice())
            }
            Place::Local | Place::Node { .. } => (None, [].as_slice()),
        };
        first.into_iter().chain(also.iter().cloned())
    }
}

/// A port of a service with its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortAssignment {
    /// Its name.
    pub name: Option<PortName>,
    /// The address it listens (or is published) on.
    pub host_ip: IpAddr,
    /// The port on the host, never 0.
    pub port: u16,
    /// The port inside the container, if another one.
    pub target: Option<u16>,
    /// The transport.
    pub protocol: Protocol,
    /// Whether the number was chosen (`0` is written) rather than written.
    #[serde(default)]
    pub dynamic: bool,
}

impl PortAssignment {
    /// What it occupies.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint {
            ip: self.host_ip,
            port: self.port,
            protocol: self.protocol,
        }
    }
}

/// Something only one program at a time can listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The address; unspecified (`0.0.0.0`, `::`): every address.
    pub ip: IpAddr,
    /// The port.
    pub port: u16,
    /// The transport.
    pub protocol: Protocol,
}

impl Endpoint {
    /// Whether listening on one keeps others from listening on the other.
    pub fn overlaps(&self, other: &Self) -> bool {
        let covers = |a: IpAddr, b: IpAddr| match a {
            IpAddr::V4(v4) => v4.is_unspecified() && b.is_ipv4(),
            // Sockets on `::` take IPv4 too unless told otherwise.
            IpAddr::V6(v6) => v6.is_unspecified(),
        };
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || covers(self.ip, other.ip) || covers(other.ip, self.ip))
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}/{}",
            std::net::SocketAddr::new(self.ip, self.port),
            self.protocol.as_str()
        )
    }
}

/// A service of some project.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// The project.
    pub project: ProjectName,
    /// The service.
    pub service: ServiceName,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of project {}", self.service, self.project)
    }
}

/// What the services of other projects, and strangers, occupy on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    entries: Vec<TakenBy>,
    reached: Vec<Cidr>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct TakenBy {
    holder: Holder,
    live: bool,
    addresses: ServiceAddresses,
}

impl Taken {
    /// Adds a service. While it is `live` its ports are in use; otherwise they are merely remembered for it,
    /// and only chosen addresses and ports keep away from them.
    pub fn add(&mut self, holder: Holder, live: bool, addresses: ServiceAddresses) {
        if matches!(addresses.place, Place::Local | Place::Container { .. }) {
            self.entries.push(TakenBy {
                holder,
                live,
                addresses,
            });
        }
    }

    /// Adds what this machine reaches already: networks of other engines and of other homes, tunnels, its LAN. A subnet
    /// that is chosen anew keeps away from them; one that was chosen before may be among them, as it is itself reached.
    pub fn add_reached(&mut self, topology: &Topology) {
        let of = |interface: &Interface| [interface.addresses.clone(), interface.routes.clone()].concat();
        self.reached.extend(topology.interfaces.iter().flat_map(of));
    }

    fn in_use_by(&self, endpoint: &Endpoint) -> Option<&Holder> {
        let used = |t: &&TakenBy| t.live && t.addresses.ports.iter().any(|p| p.endpoint().overlaps(endpoint));
        self.entries.iter().find(used).map(|t| &t.holder)
    }

    fn remembers(&self, endpoint: &Endpoint) -> bool {
        self.entries
            .iter()
            .any(|t| t.addresses.ports.iter().any(|p| p.endpoint().overlaps(endpoint)))
    }

    /// Whether a network of containers has one of these addresses.
    fn has_subnet(&self, subnet: &Cidr) -> bool {
        let mut theirs = self.entries.iter().flat_map(|t| t.addresses.networks());
        theirs.any(|theirs| theirs.subnet.overlaps(subnet))
    }

    /// Whether this machine reaches somebody there. What is as wide as `choices` says nothing of a part of them.
    fn is_reached(&self, subnet: &Cidr, choices: &Cidr) -> bool {
        let mut there = self.reached.iter();
        there.any(|other| other.prefix() > choices.prefix() && other.overlaps(subnet))
    }

    fn has_ip(&self, ip: IpAddr) -> bool {
        let has = |t: &TakenBy| t.addresses.ip == ip || t.addresses.networks().any(|n| n.ip == ip);
        self.entries.iter().any(has)
    }
}

/// Why a plan cannot be given addresses, or a reference has no answer.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// Two services of the plan want the same port.
    #[error("{service} and {other} both listen on {endpoint}")]
    Duplicate {
        /// The one that comes second by name.
        service: ServiceName,
        /// The one that comes first (the same service if it lists the port twice).
        other: ServiceName,
        /// What both want.
        endpoint: Endpoint,
        /// Where the second one's port is written.
        origin: Option<Box<Origin>>,
    },
    /// A running service of another project has the port.
    #[error("{service}: {endpoint} is in use by {holder}")]
    InUse {
        /// Who wants it.
        service: ServiceName,
        /// What it wants.
        endpoint: Endpoint,
        /// Who has it.
        holder: Holder,
        /// Where the port is written.
        origin: Option<Box<Origin>>,
    },
    /// A port's `host_ip` is not an address.
    #[error("{service}: `{text}` is not an IP address to listen on")]
    NotAnAddress {
        /// The service.
        service: ServiceName,
        /// What is written.
        text: String,
        /// Where the port is written.
        origin: Option<Box<Origin>>,
    },
    /// The service names a network that the project does not have.
    #[error("{service} is on network `{network}`, which the project does not have")]
    UnknownNetwork {
        /// The service.
        service: ServiceName,
        /// The network.
        network: NetworkName,
    },
    /// The subnet of its network is not in CIDR notation.
    #[error("network `{network}`: bad subnet")]
    BadSubnet {
        /// The network.
        network: NetworkName,
        /// What is wrong with it.
        #[source]
        source: crate::network::CidrError,
    },
    /// Containers get addresses of their network's subnet, which is too small for any, or not IPv4.
    #[error(
        "{service}: containers cannot have addresses in {subnet} of network `{network}`: give it an IPv4 subnet of /29 or larger"
    )]
    NoContainerSubnet {
        /// The service.
        service: ServiceName,
        /// The network.
        network: NetworkName,
        /// Its subnet.
        subnet: crate::network::Cidr,
    },
    /// An address that is written out is not one of its network's, or somebody else's.
    #[error("{service}: {ip} cannot be its address on network `{network}` ({subnet}): {why}")]
    BadAddress {
        /// The service.
        service: ServiceName,
        /// The network.
        network: NetworkName,
        /// Its subnet.
        subnet: crate::network::Cidr,
        /// The address.
        ip: IpAddr,
        /// Why not.
        why: String,
    },
    /// Its network's subnet has no address left.
    #[error("{service}: no address is left in {subnet} of network `{network}`")]
    PoolExhausted {
        /// The service.
        service: ServiceName,
        /// The network.
        network: NetworkName,
        /// Its subnet.
        subnet: crate::network::Cidr,
    },
    /// The system would not name a free port.
    #[error("{service}: finding a free {} port on {ip}", protocol.as_str())]
    NoFreePort {
        /// The service.
        service: ServiceName,
        /// Where it wants to listen.
        ip: IpAddr,
        /// The transport.
        protocol: Protocol,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The service that a reference names, or the one it stands in, has not been given an address.
    #[error("{reference}: `{service}` has no address")]
    NoAddress {
        /// The reference.
        reference: Reference,
        /// Who is missing.
        service: ServiceName,
    },
    /// A reference asks for the port of a service that has none.
    #[error("{reference}: {} declares no ports", reference.service)]
    NoPorts {
        /// The reference.
        reference: Reference,
    },
    /// A reference asks for the port of a container that has none, and its image does not say which.
    #[error("{reference}: {} has no `ports`, and its image {}", reference.service, exposes(known))]
    NotOneExposed {
        /// The reference.
        reference: Reference,
        /// What its image declares.
        known: Vec<u16>,
    },
    /// A reference asks for a port by a name that no port has.
    #[error("{reference}: {} has no port of that name (it has: {})", reference.service, names(known))]
    UnknownPort {
        /// The reference.
        reference: Reference,
        /// The names its ports have.
        known: Vec<PortName>,
    },
    /// No way is known from where the reference stands to the service.
    #[error("{reference}: {} cannot be reached from {from}", reference.service)]
    Unreachable {
        /// The reference.
        reference: Reference,
        /// The service it stands in.
        from: ServiceName,
    },
}

fn names(known: &[PortName]) -> String {
    if known.is_empty() {
        return "none with a name".to_owned();
    }
    known.iter().map(PortName::as_str).collect::<Vec<_>>().join(", ")
}

fn exposes(known: &[u16]) -> String {
    if known.is_empty() {
        return "declares none (EXPOSE): list its port under `ports`".to_owned();
    }
    let ports: Vec<String> = known.iter().map(u16::to_string).collect();
    format!(
        "declares several ({}): list the one that is meant under `ports`",
        ports.join(", ")
    )
}

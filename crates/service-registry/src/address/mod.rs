//! Where each service is reached, and how one service can refer to the address of another.
//!
//! [`assign`] gives a whole plan its addresses before anything starts: what each place is attached to, and the ways to
//! it. [`lookup`] resolves `${service.ip}` by the way from the referring service. [`environment`] puts the same values
//! into variables.
//!
//! ```text
//! service ── place ── attachments: this machine | a network | another machine, each with an address
//!        └── ways: from this machine, from each network ──▶ route: direct | published | none, because …
//! ```

mod assign;
mod containers;
mod free_ports;
mod lookup;
mod place;
mod route;
mod stored;
mod wants;

use std::net::IpAddr;

use harness_model::spec::{Origin, Protocol};
use harness_model::{NetworkName, PortName, ProjectName, Reference, ServiceName, Subnet};
use serde::{Deserialize, Serialize};

pub use assign::assign;
pub use free_ports::FreePorts;
pub use lookup::{View, environment, lookup, seen_from};
pub use place::{Attached, Attachment, Place, Point};
pub use route::{NoRoute, Route, Way, record_ways};
pub use wants::{Join, PlanWants, Wants};

use crate::network::{Interface, Topology};

/// Where a service is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "stored::Stored")]
pub struct ServiceAddresses {
    /// What the place where it runs is attached to.
    #[serde(rename = "attachments")]
    pub place: Place,
    /// The name or address of the host it runs on.
    pub host: String,
    /// Its ports, in the order of its specification.
    pub ports: Vec<PortAssignment>,
    /// The ports that its image declares. The image is asked only if the service lists no ports. They are ports at
    /// the service's own address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exposed: Vec<u16>,
    /// The ways by which others reach it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ways: Vec<Way>,
}

impl ServiceAddresses {
    /// Addresses in this place, without ways: [`record_ways`] finds them once the places of all services are known.
    pub fn at(place: Place, host: String, ports: Vec<PortAssignment>) -> Self {
        Self {
            place,
            host,
            ports,
            exposed: Vec::new(),
            ways: Vec::new(),
        }
    }

    /// Its address, as seen in its own place.
    pub fn ip(&self) -> IpAddr {
        self.place.ip()
    }

    /// The networks of a container, each with the container's address on it, the first one first.
    pub fn networks(&self) -> impl Iterator<Item = &Attached> {
        self.place.attached()
    }
}

/// A port of a service with its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortAssignment {
    /// Its name.
    pub name: Option<PortName>,
    /// The address on which it listens, or is published.
    pub host_ip: IpAddr,
    /// The port on the host, never 0.
    pub port: u16,
    /// The port inside the container, if it is different.
    pub target: Option<u16>,
    /// The transport protocol.
    pub protocol: Protocol,
    /// Whether the number was chosen (because the file says `0`).
    #[serde(default)]
    pub dynamic: bool,
}

impl PortAssignment {
    /// The address and port that it occupies.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint {
            ip: self.host_ip,
            port: self.port,
            protocol: self.protocol,
        }
    }
}

/// An address and port on which only one program at a time can listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The address. If it is unspecified (`0.0.0.0`, `::`), it means every address.
    pub ip: IpAddr,
    /// The port number.
    pub port: u16,
    /// The transport protocol.
    pub protocol: Protocol,
}

impl Endpoint {
    /// Whether listening on one prevents others from listening on the other.
    pub fn overlaps(&self, other: &Self) -> bool {
        let covers = |a: IpAddr, b: IpAddr| match a {
            IpAddr::V4(v4) => v4.is_unspecified() && b.is_ipv4(),
            // Sockets on `::` take IPv4 too, unless they are set not to.
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
    /// The name of the project.
    pub project: ProjectName,
    /// The name of the service.
    pub service: ServiceName,
    /// Whether it belongs to the project that wants the address, and the file no longer has it: it may have another name
    /// there now.
    pub is_no_longer_in_file: bool,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.is_no_longer_in_file {
            true => write!(
                f,
                "{}, which is no longer in the file and still runs",
                self.service
            ),
            false => write!(f, "{} of project {}", self.service, self.project),
        }
    }
}

/// What other projects' services and foreign programs occupy on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    entries: Vec<TakenBy>,
    reached: Vec<Subnet>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct TakenBy {
    holder: Holder,
    live: bool,
    addresses: ServiceAddresses,
}

impl Taken {
    /// Adds a service. While it is `live`, its ports are in use. Otherwise they are only remembered for it, and only
    /// new choices avoid them.
    pub fn add(&mut self, holder: Holder, live: bool, addresses: ServiceAddresses) {
        if !addresses.place.is_elsewhere() && !addresses.place.attachments.is_empty() {
            self.entries.push(TakenBy {
                holder,
                live,
                addresses,
            });
        }
    }

    /// Adds what this machine already reaches: networks of other engines and of other homes, tunnels, its LAN. A new
    /// subnet avoids them. A subnet that was chosen before may be among them, because it is itself reached.
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

    /// Whether a network of containers uses some of these addresses.
    fn has_subnet(&self, subnet: &Subnet) -> bool {
        let mut theirs = self.entries.iter().flat_map(|t| t.addresses.networks());
        theirs.any(|theirs| theirs.subnet.overlaps(subnet))
    }

    /// Whether this machine already reaches somebody in that subnet. Something as wide as `choices` does not count,
    /// because it says nothing about a part of `choices`.
    fn is_reached(&self, subnet: &Subnet, choices: &Subnet) -> bool {
        let mut there = self.reached.iter();
        there.any(|other| other.prefix() > choices.prefix() && other.overlaps(subnet))
    }

    fn has_ip(&self, ip: IpAddr) -> bool {
        let has = |t: &TakenBy| t.addresses.ip() == ip || t.addresses.networks().any(|n| n.ip == ip);
        self.entries.iter().any(has)
    }
}

/// Why a plan cannot get addresses, or a reference cannot be resolved.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// Two services of the plan want the same port.
    #[error("{service} and {other} both listen on {endpoint}")]
    Duplicate {
        /// The service that comes second by name.
        service: ServiceName,
        /// The service that comes first (the same service if it lists the port twice).
        other: ServiceName,
        /// The address and port that both want.
        endpoint: Endpoint,
        /// Where the file says the second one's port.
        origin: Option<Box<Origin>>,
    },
    /// A running service that is not in the file has the port.
    #[error("{service}: {endpoint} is in use by {holder}")]
    InUse {
        /// The service that wants it.
        service: ServiceName,
        /// The address and port that it wants.
        endpoint: Endpoint,
        /// The service that has it.
        holder: Holder,
        /// Where the file says the port.
        origin: Option<Box<Origin>>,
    },
    /// The `host_ip` of a port is not an address.
    #[error("{service}: `{text}` is not an IP address to listen on")]
    NotAnAddress {
        /// The affected service.
        service: ServiceName,
        /// The text in the file.
        text: String,
        /// Where the file says the port.
        origin: Option<Box<Origin>>,
    },
    /// Nobody said which addresses a service wants. It cannot be left out, as it would never start then.
    #[error("{service}: it is not known which addresses it wants")]
    NotKnown {
        /// The affected service.
        service: ServiceName,
    },
    /// A service that listens nowhere has ports.
    #[error("{service}: a service of its type has no ports")]
    NoPortsOfItsType {
        /// The affected service.
        service: ServiceName,
        /// Where the file says the first one.
        origin: Option<Box<Origin>>,
    },
    /// The service names a network that the project does not define.
    #[error("{service} uses network `{network}`, which the project does not define")]
    UnknownNetwork {
        /// The affected service.
        service: ServiceName,
        /// The affected network.
        network: NetworkName,
    },
    /// Containers get addresses from the subnet of their network, but this subnet is too small for that, or not IPv4.
    #[error(
        "{service}: containers cannot have addresses in {subnet} of network `{network}`: give it an IPv4 subnet of /29 or larger"
    )]
    NoContainerSubnet {
        /// The affected service.
        service: ServiceName,
        /// The affected network.
        network: NetworkName,
        /// Its subnet.
        subnet: Subnet,
    },
    /// The address that the file names is not in the network's subnet, or is already used.
    #[error("{service}: {ip} cannot be its address on network `{network}` ({subnet}): {why}")]
    BadAddress {
        /// The affected service.
        service: ServiceName,
        /// The affected network.
        network: NetworkName,
        /// Its subnet.
        subnet: Subnet,
        /// The address that the file names.
        ip: IpAddr,
        /// Why it cannot be used.
        why: String,
    },
    /// The subnet of its network has no address left.
    #[error("{service}: no address is left in {subnet} of network `{network}`")]
    PoolExhausted {
        /// The affected service.
        service: ServiceName,
        /// The affected network.
        network: NetworkName,
        /// Its subnet.
        subnet: Subnet,
    },
    /// The system offers no free port.
    #[error("{service}: cannot find a free {} port on {ip}", protocol.as_str())]
    NoFreePort {
        /// The affected service.
        service: ServiceName,
        /// The address on which it wants to listen.
        ip: IpAddr,
        /// The transport protocol.
        protocol: Protocol,
        /// The error of the system.
        #[source]
        source: std::io::Error,
    },
    /// The service that a reference names, or the one that contains the reference, has no address.
    #[error("{reference}: `{service}` has no address")]
    NoAddress {
        /// The reference that cannot be resolved.
        reference: Reference,
        /// The service without an address.
        service: ServiceName,
    },
    /// A reference asks for the port of a service without ports.
    #[error("{reference}: {} declares no ports", reference.service)]
    NoPorts {
        /// The reference that cannot be resolved.
        reference: Reference,
    },
    /// A reference asks for the port of a container without `ports`, and its image does not declare exactly one.
    #[error("{reference}: {} has no `ports`, and its image {}", reference.service, exposes(known))]
    NotOneExposed {
        /// The reference that cannot be resolved.
        reference: Reference,
        /// The ports that its image declares.
        known: Vec<u16>,
    },
    /// A reference asks for a port by a name, and no port has that name.
    #[error("{reference}: {} has no port of that name (it has: {})", reference.service, names(known))]
    UnknownPort {
        /// The reference that cannot be resolved.
        reference: Reference,
        /// The names of its ports.
        known: Vec<PortName>,
    },
    /// No way is known from the place of the reference to the service.
    #[error("{reference}: {} cannot be reached from {from}: {why}", reference.service)]
    Unreachable {
        /// The reference that cannot be resolved.
        reference: Reference,
        /// The service that contains the reference.
        from: ServiceName,
        /// Why there is no way.
        why: NoRoute,
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
        "declares several ({}): list the one you mean under `ports`",
        ports.join(", ")
    )
}

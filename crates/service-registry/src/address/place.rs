//! What the place of a service is attached to.

use std::net::{IpAddr, Ipv4Addr};

use harness_model::{NetworkName, Subnet};
use serde::{Deserialize, Serialize};

/// What a place is attached to, the most important first. Others reach the place by these. A place on this machine that
/// nobody reaches by an address has none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Place {
    /// The attachments.
    pub attachments: Vec<Attachment>,
}

/// One thing that a place is attached to, and its address there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attachment {
    /// This machine, in its own network namespace.
    Machine {
        /// The address on which it listens.
        ip: IpAddr,
    },
    /// A network with an address for each member, this machine among them.
    Network(Attached),
    /// Another machine.
    Node {
        /// Its address or DNS name.
        host: String,
        /// The address on which it listens there.
        ip: IpAddr,
    },
}

/// A network that a place is attached to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Attached {
    /// The name of the network.
    pub network: NetworkName,
    /// The subnet of that network.
    pub subnet: Subnet,
    /// The address of this machine on that network.
    pub gateway: IpAddr,
    /// The place's address there.
    pub ip: IpAddr,
}

/// From where something is reached: everybody at the same point has the same ways.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Point {
    /// From this machine.
    Machine,
    /// From a network.
    Network(NetworkName),
}

impl Place {
    /// This machine, as people and probes are on it.
    pub fn here() -> Self {
        Self::machine(Ipv4Addr::LOCALHOST.into())
    }

    /// On this machine, listening on this address.
    pub fn machine(ip: IpAddr) -> Self {
        Self {
            attachments: vec![Attachment::Machine { ip }],
        }
    }

    /// Attached to these networks, the first one first.
    pub fn networks(networks: impl IntoIterator<Item = Attached>) -> Self {
        Self {
            attachments: networks.into_iter().map(Attachment::Network).collect(),
        }
    }

    /// Its address, as seen in the place itself.
    pub fn ip(&self) -> IpAddr {
        match self.attachments.first() {
            Some(Attachment::Machine { ip } | Attachment::Node { ip, .. }) => *ip,
            Some(Attachment::Network(on)) => on.ip,
            None => Ipv4Addr::LOCALHOST.into(),
        }
    }

    /// The networks that it is attached to, the first one first. None of them means that it has no addresses of its
    /// own.
    pub fn attached(&self) -> impl Iterator<Item = &Attached> {
        self.attachments.iter().filter_map(|attachment| match attachment {
            Attachment::Network(on) => Some(on),
            Attachment::Machine { .. } | Attachment::Node { .. } => None,
        })
    }

    /// Whether it has addresses of its own on networks, apart from this machine's.
    pub fn is_apart(&self) -> bool {
        self.attached().next().is_some()
    }

    /// Whether it is on another machine.
    pub fn is_elsewhere(&self) -> bool {
        let elsewhere = |attachment: &Attachment| matches!(attachment, Attachment::Node { .. });
        self.attachments.iter().any(elsewhere)
    }

    /// The points from which it reaches others, the first one first.
    pub fn points(&self) -> impl Iterator<Item = Point> {
        // What listens nowhere still runs on this machine.
        let nowhere = self.attachments.is_empty().then_some(Point::Machine);
        let own = self.attachments.iter().filter_map(|attachment| match attachment {
            Attachment::Machine { .. } => Some(Point::Machine),
            Attachment::Network(on) => Some(Point::Network(on.network.clone())),
            // From another machine, no way is known.
            Attachment::Node { .. } => None,
        });
        nowhere.into_iter().chain(own)
    }
}

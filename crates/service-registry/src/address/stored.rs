//! How addresses are kept in the store, and how earlier versions kept them: one `ip`, and a kind of place.

use std::net::IpAddr;

use harness_model::{NetworkName, Subnet};
use serde::Deserialize;

use super::{Attached, Attachment, Place, PortAssignment, ServiceAddresses, Way, record_ways};

/// Addresses in the form of this version or of an earlier one.
#[derive(Deserialize)]
pub(super) struct Stored {
    attachments: Option<Place>,
    #[serde(default)]
    place: EarlierPlace,
    ip: Option<IpAddr>,
    host: String,
    ports: Vec<PortAssignment>,
    #[serde(default)]
    exposed: Vec<u16>,
    #[serde(default)]
    ways: Vec<Way>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum EarlierPlace {
    #[default]
    Local,
    Container {
        network: NetworkName,
        subnet: Subnet,
        gateway: IpAddr,
        #[serde(default)]
        also: Vec<Attached>,
    },
    Node {
        host: String,
    },
}

/// The record has no address at all.
#[derive(Debug, thiserror::Error)]
#[error("missing field `ip`")]
pub(super) struct NoIp;

impl EarlierPlace {
    fn at(self, ip: IpAddr) -> Place {
        match self {
            Self::Local => Place::machine(ip),
            Self::Container {
                network,
                subnet,
                gateway,
                also,
            } => {
                let first = Attached {
                    network,
                    subnet,
                    gateway,
                    ip,
                };
                Place::networks(std::iter::once(first).chain(also))
            }
            Self::Node { host } => Place {
                attachments: vec![Attachment::Node { host, ip }],
            },
        }
    }
}

impl TryFrom<Stored> for ServiceAddresses {
    type Error = NoIp;

    fn try_from(stored: Stored) -> Result<Self, NoIp> {
        let place = match (stored.attachments, stored.ip) {
            (Some(place), _) => place,
            (None, Some(ip)) => stored.place.at(ip),
            (None, None) => return Err(NoIp),
        };
        let mut addresses = Self {
            place,
            host: stored.host,
            ports: stored.ports,
            exposed: stored.exposed,
            ways: stored.ways,
        };
        if addresses.ways.is_empty() {
            // Those from this machine and its own networks are known without the other services. The next plan
            // records all.
            record_ways([&mut addresses]);
        }
        Ok(addresses)
    }
}

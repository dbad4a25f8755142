//! The ways from each point to each service, found when a plan gets its addresses, and kept with the service.
//!
//! | from | to a process here | to a container |
//! |---|---|---|
//! | this machine | direct | where it is published, or direct if it publishes nothing |
//! | a network | direct, at this machine's address on that network | direct, if it is on that network too |

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::{Attachment, Place, Point, ServiceAddresses};

/// The way to a service from a point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// It has this address there, and its own ports.
    Direct {
        /// The address.
        ip: IpAddr,
        /// A name for that address, or the address again.
        host: String,
    },
    /// Its ports are published at this address.
    Published {
        /// The address.
        ip: IpAddr,
    },
    /// There is no way.
    None(NoRoute),
}

/// Why there is no way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoRoute {
    /// Both are on networks, but on none together.
    OtherNetworks,
    /// One of them is on another machine.
    OtherMachine,
    /// The service has no address.
    NoAddress,
    /// Its ways were recorded before that point existed.
    NotRecorded,
}

impl fmt::Display for NoRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherNetworks => "they have no network in common",
            Self::OtherMachine => "they are on different machines",
            Self::NoAddress => "it has no address",
            Self::NotRecorded => "no way is known yet",
        })
    }
}

/// The way to a service from one point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// From where.
    pub from: Point,
    /// Which way.
    pub route: Route,
}

impl ServiceAddresses {
    /// The way to this service from a place: that of the first of its points from which there is one.
    pub fn route_from(&self, from: &Place) -> Route {
        let mut none = NoRoute::OtherMachine;
        for point in from.points() {
            match self
                .ways
                .iter()
                .find(|way| way.from == point)
                .map(|way| &way.route)
            {
                Some(Route::None(why)) => none = *why,
                Some(route) => return route.clone(),
                None => none = NoRoute::NotRecorded,
            }
        }
        Route::None(none)
    }
}

/// Records the ways to every one of these services, from this machine and from each network that one of them is on.
pub fn record_ways<'a>(services: impl IntoIterator<Item = &'a mut ServiceAddresses>) {
    let mut services: Vec<&mut ServiceAddresses> = services.into_iter().collect();
    let networks: BTreeMap<Point, IpAddr> = services
        .iter()
        .flat_map(|service| service.place.attached())
        .map(|on| (Point::Network(on.network.clone()), on.gateway))
        .collect();
    for service in &mut services {
        let here = (Point::Machine, from_machine(service));
        let there = networks
            .iter()
            .map(|(point, gateway)| (point.clone(), from_network(service, point, *gateway)));
        let ways = std::iter::once(here).chain(there);
        service.ways = ways.map(|(from, route)| Way { from, route }).collect();
    }
}

fn from_machine(to: &ServiceAddresses) -> Route {
    match (to.place.attachments.first(), to.ports.first()) {
        (Some(Attachment::Network(_)), Some(published)) => Route::Published {
            ip: reached_at(published.host_ip),
        },
        (Some(Attachment::Network(on)), None) => direct(on.ip),
        (Some(Attachment::Node { .. }), _) => Route::None(NoRoute::OtherMachine),
        (None, _) => Route::None(NoRoute::NoAddress),
        (Some(Attachment::Machine { ip }), _) => Route::Direct {
            ip: *ip,
            host: to.host.clone(),
        },
    }
}

/// `gateway` is the address of this machine on that network.
fn from_network(to: &ServiceAddresses, from: &Point, gateway: IpAddr) -> Route {
    let shared = to
        .place
        .attached()
        .find(|on| *from == Point::Network(on.network.clone()));
    match (shared, to.place.attachments.first()) {
        (Some(on), _) => Route::Direct {
            ip: on.ip,
            host: to.host.clone(),
        },
        (None, Some(Attachment::Network(_))) => Route::None(NoRoute::OtherNetworks),
        (None, Some(Attachment::Machine { .. })) => direct(gateway),
        (None, Some(Attachment::Node { .. })) => Route::None(NoRoute::OtherMachine),
        (None, None) => Route::None(NoRoute::NoAddress),
    }
}

fn direct(ip: IpAddr) -> Route {
    let host = ip.to_string();
    Route::Direct { ip, host }
}

/// The address by which this machine reaches what listens on this address.
fn reached_at(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

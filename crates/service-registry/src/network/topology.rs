//! The interfaces of this machine, and the kind of network that an address is on.

use std::io;
use std::net::IpAddr;

use harness_model::Subnet;
use harness_model::spec::NetworkKind;

#[cfg(target_os = "linux")]
use super::netlink;

/// The kind of network that an interface connects to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InterfaceKind {
    /// This machine itself.
    Loopback,
    /// A WireGuard tunnel.
    Wireguard,
    /// A network that is reached directly: Ethernet, Wi-Fi, a bridge.
    Lan,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name, `eth0`.
    pub name: String,
    /// What it connects to.
    pub kind: InterfaceKind,
    /// Its addresses with the prefix of their subnets.
    pub addresses: Vec<Subnet>,
    /// What else it reaches without a gateway, such as the allowed addresses of a tunnel.
    pub routes: Vec<Subnet>,
}

/// The interfaces cannot be listed.
#[derive(Debug, thiserror::Error)]
#[error("cannot list the network {what} of this machine")]
pub struct DetectError {
    /// `links`, `addresses` or `routes`.
    pub what: &'static str,
    /// The error of the system.
    #[source]
    pub source: io::Error,
}

/// The networks that this machine is connected to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topology {
    /// Its interfaces.
    pub interfaces: Vec<Interface>,
}

/// Lists the interfaces of this machine. Takes well under a millisecond and never waits for the network.
///
/// # Errors
/// When the kernel does not answer, or the platform is not Linux.
#[cfg(target_os = "linux")]
pub fn detect() -> Result<Topology, DetectError> {
    let failed = |what| move |source| DetectError { what, source };
    let links = netlink::links().map_err(failed("links"))?;
    let addresses = netlink::addresses().map_err(failed("addresses"))?;
    let routes = netlink::routes().map_err(failed("routes"))?;
    let interface = |link: netlink::Link| Interface {
        kind: match link.kind.as_deref() {
            _ if link.loopback => InterfaceKind::Loopback,
            Some("wireguard") => InterfaceKind::Wireguard,
            _ => InterfaceKind::Lan,
        },
        addresses: addresses
            .iter()
            .filter(|(index, _)| *index == link.index)
            .map(|(_, subnet)| *subnet)
            .collect(),
        routes: routes
            .iter()
            .filter(|r| r.interface == link.index)
            .map(|r| r.destination)
            .collect(),
        name: link.name,
    };
    Ok(Topology {
        interfaces: links.into_iter().map(interface).collect(),
    })
}

/// Lists the interfaces of this machine.
///
/// # Errors
/// Always: the platform is not Linux.
#[cfg(not(target_os = "linux"))]
pub fn detect() -> Result<Topology, DetectError> {
    Err(DetectError {
        what: "links",
        source: io::ErrorKind::Unsupported.into(),
    })
}

impl Topology {
    /// The kind of network that the address is on; `None` if it is behind a gateway or nowhere.
    pub fn classify(&self, ip: IpAddr) -> Option<NetworkKind> {
        let own = self
            .interfaces
            .iter()
            .flat_map(|i| &i.addresses)
            .any(|a| a.address() == ip);
        if own || ip.is_loopback() {
            return Some(NetworkKind::Local);
        }
        let reaches = |interface: &Interface| {
            let subnets = interface.addresses.iter().chain(&interface.routes);
            // A route to everything says nothing about what is near, except for a tunnel that takes everything.
            let useful = |s: &&Subnet| s.prefix() > 0 || interface.kind == InterfaceKind::Wireguard;
            subnets
                .filter(useful)
                .filter(|s| s.contains(ip))
                .map(Subnet::prefix)
                .max()
        };
        let best = self
            .interfaces
            .iter()
            .filter_map(|i| Some((reaches(i)?, i.kind)))
            .max_by_key(|(p, _)| *p)?;
        Some(match best.1 {
            InterfaceKind::Loopback => NetworkKind::Local,
            InterfaceKind::Wireguard => NetworkKind::Wireguard,
            InterfaceKind::Lan => NetworkKind::Lan,
        })
    }

    /// The kind of network that a whole subnet is on; `None` if not even its first address is near.
    pub fn classify_subnet(&self, subnet: &Subnet) -> Option<NetworkKind> {
        if subnet.is_loopback() {
            return Some(NetworkKind::Local);
        }
        // If one of our own addresses is in the subnet, this shows which interface leads there. It does not mean that
        // the subnet is this machine.
        let leads = |i: &&Interface| {
            i.addresses
                .iter()
                .chain(&i.routes)
                .any(|a| a.prefix() > 0 && a.covers(subnet))
        };
        self.interfaces.iter().find(leads).map(|i| match i.kind {
            InterfaceKind::Loopback => NetworkKind::Local,
            InterfaceKind::Wireguard => NetworkKind::Wireguard,
            InterfaceKind::Lan => NetworkKind::Lan,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str, kind: InterfaceKind, addresses: &[&str], routes: &[&str]) -> Interface {
        let parse = |texts: &[&str]| texts.iter().map(|t| t.parse().unwrap()).collect();
        Interface {
            name: name.to_owned(),
            kind,
            addresses: parse(addresses),
            routes: parse(routes),
        }
    }

    fn topology() -> Topology {
        Topology {
            interfaces: vec![
                interface("lo", InterfaceKind::Loopback, &["127.0.0.1/8", "::1/128"], &[]),
                interface(
                    "eth0",
                    InterfaceKind::Lan,
                    &["192.168.1.5/24"],
                    &["0.0.0.0/0", "192.168.1.0/24"],
                ),
                interface(
                    "wg0",
                    InterfaceKind::Wireguard,
                    &["10.0.0.1/32"],
                    &["10.0.0.0/24", "192.168.1.128/25"],
                ),
            ],
        }
    }

    #[test]
    fn addresses_are_classified_by_the_nearest_interface() {
        let classify = |ip: &str| topology().classify(ip.parse().unwrap());
        assert_eq!(classify("127.3.2.1"), Some(NetworkKind::Local));
        assert_eq!(classify("::1"), Some(NetworkKind::Local));
        assert_eq!(classify("192.168.1.5"), Some(NetworkKind::Local));
        assert_eq!(classify("192.168.1.6"), Some(NetworkKind::Lan));
        assert_eq!(
            classify("192.168.1.200"),
            Some(NetworkKind::Wireguard),
            "the longer prefix wins"
        );
        assert_eq!(classify("10.0.0.7"), Some(NetworkKind::Wireguard));
        assert_eq!(classify("8.8.8.8"), None);
    }

    #[test]
    fn subnets_are_classified() {
        let classify = |subnet: &str| topology().classify_subnet(&subnet.parse().unwrap());
        assert_eq!(classify("127.0.0.0/8"), Some(NetworkKind::Local));
        assert_eq!(classify("192.168.1.0/24"), Some(NetworkKind::Lan));
        assert_eq!(classify("10.0.0.0/24"), Some(NetworkKind::Wireguard));
        assert_eq!(classify("10.0.0.0/16"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_machine_has_a_loopback_interface() {
        let found = detect().unwrap();
        let lo = found
            .interfaces
            .iter()
            .find(|i| i.kind == InterfaceKind::Loopback)
            .expect("no loopback");
        assert!(lo.addresses.contains(&"127.0.0.1/8".parse().unwrap()), "{lo:?}");
        assert_eq!(
            found.classify("127.0.0.1".parse().unwrap()),
            Some(NetworkKind::Local)
        );
    }
}

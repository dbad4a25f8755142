//! Gives a whole plan its addresses and ports, before anything starts.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use harness_model::spec::{NetworkSpec, PortSpec, Protocol, ServiceSpec};
use harness_model::{ProjectSpec, ServiceName, Subnet};

use super::containers::Containers;
use super::{
    AddressError, Endpoint, Place, PlanWants, PortAssignment, ServiceAddresses, Taken, Wants, record_ways,
};

/// The address of every service without an address of its own.
const SHARED: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// How many ports in a row may be promised to others before the search ends.
const MAX_REFUSED: u32 = 1000;

/// Gives every service of `project` the addresses that it wants. Only those that want to be [`Wants::Elsewhere`] are
/// left out.
///
/// A container gets an address of its own on its network. The ports that it publishes are on 127.0.0.1, unless the
/// file names another address. What listens on this machine is reached at 127.0.0.1. If its network has a loopback
/// subnet narrower than 127.0.0.0/8, it gets an address of its own from that subnet. Port 0 becomes a free port from `free_port`.
/// Earlier choices for a service (`previous`) are kept, so that a replaced service stays where it was. To choose
/// again for a service, leave it out of `previous`. Ports that the file names stay as they are.
///
/// # Errors
/// When `wants` lacks a service, two services have the same port, another project uses a port, an address pool is used up, and in the other
/// cases of [`AddressError`].
pub fn assign(
    project: &ProjectSpec,
    wants: &PlanWants,
    previous: &BTreeMap<ServiceName, ServiceAddresses>,
    taken: &Taken,
    free_port: &mut dyn FnMut(IpAddr, Protocol) -> io::Result<u16>,
) -> Result<BTreeMap<ServiceName, ServiceAddresses>, AddressError> {
    if let Some(service) = project.services.keys().find(|name| !wants.contains_key(*name)) {
        return Err(AddressError::NotKnown {
            service: service.clone(),
        });
    }
    let ips = own_addresses(project, wants, previous, taken)?;
    let containers = Containers::plan(project, wants, previous, taken)?;
    let mut plan = Plan {
        taken,
        used: Vec::new(),
    };
    let mut out = BTreeMap::new();
    // First the ports that the file names, then the kept ones: new choices must avoid all of them.
    for (name, spec) in wanting(project, wants, &Wants::Local) {
        let ip = ips.get(name).copied().unwrap_or(SHARED);
        out.insert(name.clone(), plan.written(name, spec, ip)?);
    }
    for (name, spec, container) in containers.iter(project) {
        let published = plan.written(name, spec, SHARED)?;
        let host = name.as_str().to_owned();
        let addresses = ServiceAddresses::at(container.clone(), host, published.ports);
        out.insert(name.clone(), addresses);
    }
    for (name, spec) in wanting(project, wants, &Wants::Nothing) {
        if let Some(port) = spec.ports.first() {
            return Err(AddressError::NoPortsOfItsType {
                service: name.clone(),
                origin: port.origin.clone().map(Box::new),
            });
        }
        let addresses = ServiceAddresses::at(Place::default(), SHARED.to_string(), Vec::new());
        out.insert(name.clone(), addresses);
    }
    for (name, addresses) in &mut out {
        if let Some(previous) = previous.get(name) {
            plan.keep(name, addresses, previous);
        }
    }
    for (name, addresses) in &mut out {
        plan.choose(name, addresses, free_port)?;
    }
    record_ways(out.values_mut());
    Ok(out)
}

/// The services that want this.
fn wanting<'a>(
    project: &'a ProjectSpec,
    wants: &'a PlanWants,
    what: &'a Wants,
) -> impl Iterator<Item = (&'a ServiceName, &'a ServiceSpec)> {
    let services = project.services.iter();
    services.filter(move |(name, _)| wants.get(*name) == Some(what))
}

/// How the processes of a network get their addresses.
enum Addressing {
    /// All listen on the same address.
    Shared(IpAddr),
    /// Each has an address of its own.
    Pool(Subnet),
}

fn addressing(network: &NetworkSpec) -> Addressing {
    match network.subnet.filter(Subnet::is_loopback) {
        Some(subnet) if subnet.is_single() => Addressing::Shared(subnet.address()),
        // All of 127.0.0.0/8 means "this machine" and not "a pool".
        Some(subnet) if subnet.prefix() > 8 => Addressing::Pool(subnet),
        _ => Addressing::Shared(SHARED),
    }
}

/// The address of every service. Services that keep theirs come first, so that no new service takes it.
fn own_addresses(
    project: &ProjectSpec,
    wants: &PlanWants,
    previous: &BTreeMap<ServiceName, ServiceAddresses>,
    taken: &Taken,
) -> Result<BTreeMap<ServiceName, IpAddr>, AddressError> {
    let mut ips = BTreeMap::new();
    let mut used = BTreeSet::new();
    let mut without = Vec::new();
    for (name, spec) in wanting(project, wants, &Wants::Local) {
        let network = project
            .networks
            .get(&spec.network)
            .ok_or_else(|| AddressError::UnknownNetwork {
                service: name.clone(),
                network: spec.network.clone(),
            })?;
        match addressing(network) {
            Addressing::Shared(ip) => {
                ips.insert(name.clone(), ip);
            }
            Addressing::Pool(pool) => {
                let kept = previous.get(name).map(ServiceAddresses::ip);
                match kept.filter(|ip| is_choice(&pool, *ip) && !taken.has_ip(*ip) && !used.contains(ip)) {
                    Some(ip) => {
                        used.insert(ip);
                        ips.insert(name.clone(), ip);
                    }
                    None => without.push((name, &spec.network, pool)),
                }
            }
        }
    }
    for (name, network, pool) in without {
        let free = |ip: &IpAddr| is_choice(&pool, *ip) && !taken.has_ip(*ip) && !used.contains(ip);
        let ip = pool
            .hosts()
            .find(free)
            .ok_or_else(|| AddressError::PoolExhausted {
                service: name.clone(),
                network: network.clone(),
                subnet: pool,
            })?;
        used.insert(ip);
        ips.insert(name.clone(), ip);
    }
    Ok(ips)
}

/// 127.0.0.1 belongs to everybody, so no service gets it for itself, even if the pool contains it.
fn is_choice(pool: &Subnet, ip: IpAddr) -> bool {
    pool.contains(ip) && ip != SHARED
}

struct Plan<'a> {
    taken: &'a Taken,
    used: Vec<(Endpoint, ServiceName)>,
}

impl Plan<'_> {
    /// The service with the ports that the file names. Ports that still have to be chosen are 0.
    fn written(
        &mut self,
        name: &ServiceName,
        spec: &ServiceSpec,
        ip: IpAddr,
    ) -> Result<ServiceAddresses, AddressError> {
        let mut ports = Vec::new();
        for port in &spec.ports {
            let host_ip = match &port.host_ip {
                None => ip,
                Some(text) => listen_address(text).ok_or_else(|| AddressError::NotAnAddress {
                    service: name.clone(),
                    text: text.clone(),
                    origin: port.origin.clone().map(Box::new),
                })?,
            };
            let assignment = PortAssignment {
                name: port.name.clone(),
                host_ip,
                port: port.port,
                target: port.target,
                protocol: port.protocol,
                dynamic: port.port == 0,
            };
            if !assignment.dynamic {
                self.occupy(name, assignment.endpoint(), port)?;
            }
            ports.push(assignment);
        }
        // If the first port of a service is bound to one address, the service is reached only there.
        let bound = ports.first().map(|p| p.host_ip).filter(|ip| !ip.is_unspecified());
        let ip = bound.unwrap_or(ip);
        Ok(ServiceAddresses::at(Place::machine(ip), ip.to_string(), ports))
    }

    fn occupy(
        &mut self,
        name: &ServiceName,
        endpoint: Endpoint,
        port: &PortSpec,
    ) -> Result<(), AddressError> {
        if let Some((_, other)) = self.used.iter().find(|(used, _)| used.overlaps(&endpoint)) {
            return Err(AddressError::Duplicate {
                service: name.clone(),
                other: other.clone(),
                endpoint,
                origin: port.origin.clone().map(Box::new),
            });
        }
        if let Some(holder) = self.taken.in_use_by(&endpoint) {
            return Err(AddressError::InUse {
                service: name.clone(),
                endpoint,
                holder: holder.clone(),
                origin: port.origin.clone().map(Box::new),
            });
        }
        self.used.push((endpoint, name.clone()));
        Ok(())
    }

    fn may_choose(&self, endpoint: &Endpoint) -> bool {
        !self.taken.remembers(endpoint) && !self.used.iter().any(|(used, _)| used.overlaps(endpoint))
    }

    /// Uses the ports of earlier choices again, where they still fit.
    fn keep(&mut self, name: &ServiceName, addresses: &mut ServiceAddresses, previous: &ServiceAddresses) {
        let mut earlier: Vec<&PortAssignment> = previous.ports.iter().filter(|p| p.dynamic).collect();
        for port in addresses.ports.iter_mut().filter(|p| p.dynamic) {
            let same = |e: &&PortAssignment| {
                e.name == port.name && e.protocol == port.protocol && e.host_ip == port.host_ip
            };
            let Some(index) = earlier.iter().position(same) else {
                continue;
            };
            let endpoint = earlier.remove(index).endpoint();
            if self.may_choose(&endpoint) {
                self.used.push((endpoint, name.clone()));
                port.port = endpoint.port;
            }
        }
    }

    /// Finds a number for every port that has none yet.
    fn choose(
        &mut self,
        name: &ServiceName,
        addresses: &mut ServiceAddresses,
        free_port: &mut dyn FnMut(IpAddr, Protocol) -> io::Result<u16>,
    ) -> Result<(), AddressError> {
        for port in addresses.ports.iter_mut().filter(|p| p.port == 0) {
            let failed = |source| AddressError::NoFreePort {
                service: name.clone(),
                ip: port.host_ip,
                protocol: port.protocol,
                source,
            };
            let mut attempts = 0;
            let endpoint = loop {
                let number = free_port(port.host_ip, port.protocol).map_err(failed)?;
                let endpoint = Endpoint {
                    ip: port.host_ip,
                    port: number,
                    protocol: port.protocol,
                };
                if number != 0 && self.may_choose(&endpoint) {
                    break endpoint;
                }
                attempts += 1;
                if attempts == MAX_REFUSED {
                    return Err(failed(io::ErrorKind::AddrNotAvailable.into()));
                }
            };
            self.used.push((endpoint, name.clone()));
            port.port = endpoint.port;
        }
        Ok(())
    }
}

fn listen_address(text: &str) -> Option<IpAddr> {
    if text.eq_ignore_ascii_case("localhost") {
        return Some(SHARED);
    }
    text.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

//! Addresses of containers: each network with containers gets a subnet, and each container an address in it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use harness_model::spec::{NetworkSpec, ServiceSpec};
use harness_model::{NetworkName, ProjectSpec, ServiceName, Subnet};

use super::{AddressError, Attached, Join, Place, PlanWants, ServiceAddresses, Taken, Wants};

/// The range for chosen subnets: the last sixteenth of 10.0.0.0/8. Engines do not choose from it, and few others use
/// it.
const CHOICES: Subnet = Subnet::constant(IpAddr::V4(Ipv4Addr::new(10, 240, 0, 0)), 12);

/// The number of subnets with 256 addresses in that range.
const CHOICE_COUNT: u32 = 1 << 12;

/// The smallest subnet: it has room for this machine and a few containers.
const LONGEST_PREFIX: u8 = 29;

/// The containers of a plan.
pub(super) struct Containers(BTreeMap<ServiceName, Place>);

impl Containers {
    /// Chooses for every container what it had before, if that is possible, or else something new.
    pub(super) fn plan(
        project: &ProjectSpec,
        wants: &PlanWants,
        previous: &BTreeMap<ServiceName, ServiceAddresses>,
        taken: &Taken,
    ) -> Result<Self, AddressError> {
        let mut subnets: BTreeMap<NetworkName, Subnet> = BTreeMap::new();
        for (name, joins) in containers(project, wants) {
            for join in joins {
                if !subnets.contains_key(&join.network) {
                    let chosen: Vec<Subnet> = subnets.values().copied().collect();
                    let subnet = subnet(project, name, &join.network, previous, taken, &chosen)?;
                    subnets.insert(join.network.clone(), subnet);
                }
            }
        }
        let mut pool = Pool {
            taken,
            used: BTreeMap::new(),
        };
        // First the addresses that the file names, then the kept ones: new choices must avoid all of them.
        for (name, joins) in containers(project, wants) {
            for join in joins {
                if let Some(ip) = join.ip {
                    pool.written(name, &join.network, subnets[&join.network], ip.into())?;
                }
            }
        }
        for (name, joins) in containers(project, wants) {
            for join in joins.iter().filter(|join| join.ip.is_none()) {
                pool.keep(name, &join.network, subnets[&join.network], previous.get(name));
            }
        }
        let mut out = BTreeMap::new();
        for (name, joins) in containers(project, wants) {
            let mut attached = Vec::new();
            for Join { network, .. } in joins {
                let subnet = subnets[network];
                attached.push(Attached {
                    ip: pool.address(name, network, subnet)?,
                    gateway: gateway(subnet),
                    network: network.clone(),
                    subnet,
                });
            }
            out.insert(name.clone(), Place::networks(attached));
        }
        Ok(Self(out))
    }

    /// Every container, with its place.
    pub(super) fn iter<'a>(
        &'a self,
        project: &'a ProjectSpec,
    ) -> impl Iterator<Item = (&'a ServiceName, &'a ServiceSpec, &'a Place)> {
        let containers = self.0.iter();
        containers.filter_map(|(name, place)| Some((name, project.services.get(name)?, place)))
    }
}

/// The services that want to be containers, and the networks that they want to be on.
fn containers<'a>(
    project: &'a ProjectSpec,
    wants: &'a PlanWants,
) -> impl Iterator<Item = (&'a ServiceName, &'a [Join])> {
    project.services.keys().filter_map(|name| match wants.get(name)? {
        Wants::Container(joins) => Some((name, joins.as_slice())),
        Wants::Local | Wants::Nothing | Wants::Elsewhere => None,
    })
}

/// The address of this machine in a subnet of containers.
fn gateway(subnet: Subnet) -> IpAddr {
    subnet.hosts().next().unwrap_or(subnet.address())
}

/// Which container has which address on which network.
struct Pool<'a> {
    taken: &'a Taken,
    used: BTreeMap<(NetworkName, IpAddr), ServiceName>,
}

impl Pool<'_> {
    fn is_free(&self, network: &NetworkName, ip: IpAddr) -> bool {
        !self.taken.has_ip(ip) && !self.used.contains_key(&(network.clone(), ip))
    }

    fn written(
        &mut self,
        service: &ServiceName,
        network: &NetworkName,
        subnet: Subnet,
        ip: IpAddr,
    ) -> Result<(), AddressError> {
        let bad = |why: String| AddressError::BadAddress {
            service: service.clone(),
            network: network.clone(),
            subnet,
            ip,
            why,
        };
        if !subnet.contains(ip) {
            return Err(bad("it is not in the subnet".to_owned()));
        }
        if ip == gateway(subnet) {
            return Err(bad("it is this machine's address there".to_owned()));
        }
        if let Some(other) = self.used.get(&(network.clone(), ip)) {
            return Err(bad(format!("{other} has it")));
        }
        self.used.insert((network.clone(), ip), service.clone());
        Ok(())
    }

    /// Gives a container its former address, if that is free.
    fn keep(
        &mut self,
        service: &ServiceName,
        network: &NetworkName,
        subnet: Subnet,
        previous: Option<&ServiceAddresses>,
    ) {
        let same = |before: &&Attached| {
            before.network == *network && before.subnet == subnet && before.gateway == gateway(subnet)
        };
        let before = previous.and_then(|previous| previous.networks().find(same));
        if let Some(before) = before.filter(|before| self.is_free(network, before.ip)) {
            self.used.insert((network.clone(), before.ip), service.clone());
        }
    }

    /// The address that a container already has, or else a free one.
    fn address(
        &mut self,
        service: &ServiceName,
        network: &NetworkName,
        subnet: Subnet,
    ) -> Result<IpAddr, AddressError> {
        let has = self
            .used
            .iter()
            .find(|((on, _), by)| on == network && *by == service);
        if let Some(((_, ip), _)) = has {
            return Ok(*ip);
        }
        // The first address belongs to this machine.
        let free = subnet.hosts().skip(1).find(|ip| self.is_free(network, *ip));
        let ip = free.ok_or_else(|| AddressError::PoolExhausted {
            service: service.clone(),
            network: network.clone(),
            subnet,
        })?;
        self.used.insert((network.clone(), ip), service.clone());
        Ok(ip)
    }
}

/// The subnet of a container's network: the one that the file names, or the former one, or a free one.
fn subnet(
    project: &ProjectSpec,
    service: &ServiceName,
    name: &NetworkName,
    previous: &BTreeMap<ServiceName, ServiceAddresses>,
    taken: &Taken,
    chosen: &[Subnet],
) -> Result<Subnet, AddressError> {
    let network = project
        .networks
        .get(name)
        .ok_or_else(|| AddressError::UnknownNetwork {
            service: service.clone(),
            network: name.clone(),
        })?;
    if let Some(written) = written(network) {
        if !written.address().is_ipv4() || written.prefix() > LONGEST_PREFIX {
            return Err(AddressError::NoContainerSubnet {
                service: service.clone(),
                network: name.clone(),
                subnet: written,
            });
        }
        return Ok(written);
    }
    let mut before = previous.values().flat_map(ServiceAddresses::networks);
    let before = before
        .find(|before| before.network == *name)
        .map(|before| before.subnet);
    let free =
        |subnet: &Subnet| !taken.has_subnet(subnet) && !chosen.iter().any(|other| other.overlaps(subnet));
    // A project of the same name in another home chooses another subnet.
    let key = format!("{} {} {}", project.source.display(), project.name, name);
    let mut candidates = (0..CHOICE_COUNT).filter_map(|n| choice(hash(&key).wrapping_add(n)));
    before
        .filter(free)
        .or_else(|| candidates.find(|subnet| free(subnet) && !taken.is_reached(subnet, &CHOICES)))
        .ok_or_else(|| AddressError::PoolExhausted {
            service: service.clone(),
            network: name.clone(),
            subnet: CHOICES,
        })
}

/// The subnet that the file names. A loopback subnet is only for processes.
fn written(network: &NetworkSpec) -> Option<Subnet> {
    network.subnet.filter(|subnet| !subnet.is_loopback())
}

fn choice(number: u32) -> Option<Subnet> {
    let IpAddr::V4(first) = CHOICES.address() else {
        return None;
    };
    let base = first.to_bits() + (number % CHOICE_COUNT) * 256;
    Subnet::new(Ipv4Addr::from_bits(base).into(), 24)
}

/// FNV-1a: the same choice on every machine and in every version.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

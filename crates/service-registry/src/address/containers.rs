//! Addresses of containers: a subnet for each network that has any, and an address in it for each.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use harness_model::spec::{NetworkSpec, ServiceKind, ServiceSpec};
use harness_model::{NetworkName, ProjectSpec, ServiceName};

use super::{AddressError, Place, ServiceAddresses, Taken};
use crate::network::Cidr;

/// Where subnets are chosen: the last sixteenth of 10.0.0.0/8, which engines do not choose from and few others use.
const CHOICES: Cidr = Cidr::v4(Ipv4Addr::new(10, 240, 0, 0), 12);

/// How many subnets of 256 addresses that is.
const CHOICE_COUNT: u32 = 1 << 12;

/// The smallest subnet: this machine, and a few containers.
const LONGEST_PREFIX: u8 = 29;

/// The containers of a plan.
pub(super) struct Containers(BTreeMap<ServiceName, Container>);

/// One of them.
pub(super) struct Container {
    pub(super) place: Place,
    pub(super) ip: IpAddr,
}

impl Containers {
    /// Chooses for every container what it had before, if that is possible, else anew.
    pub(super) fn plan(
        project: &ProjectSpec,
        previous: &BTreeMap<ServiceName, ServiceAddresses>,
        taken: &Taken,
    ) -> Result<Self, AddressError> {
        let mut subnets: BTreeMap<NetworkName, Cidr> = BTreeMap::new();
        for (name, spec) in containers(project) {
            if !subnets.contains_key(&spec.network) {
                let chosen: Vec<Cidr> = subnets.values().copied().collect();
                let subnet = subnet(project, name, spec, previous, taken, &chosen)?;
                subnets.insert(spec.network.clone(), subnet);
            }
        }
        let mut out = BTreeMap::new();
        let mut wanting = Vec::new();
        for (name, spec) in containers(project) {
            let subnet = subnets[&spec.network];
            let place = place(&spec.network, subnet);
            let kept = previous.get(name).filter(|before| before.place == place);
            match kept.filter(|before| !taken.has_ip(before.ip)) {
                Some(before) => {
                    let ip = before.ip;
                    out.insert(name.clone(), Container { place, ip });
                }
                None => wanting.push((name, subnet, place)),
            }
        }
        for (name, subnet, place) in wanting {
            let used =
                |ip: &IpAddr| taken.has_ip(*ip) || out.values().any(|other: &Container| other.ip == *ip);
            // The first address is this machine's.
            let ip = subnet.hosts().skip(1).find(|ip| !used(ip));
            let ip = ip.ok_or_else(|| AddressError::PoolExhausted {
                service: name.clone(),
                network: project.services[name].network.clone(),
                subnet,
            })?;
            out.insert(name.clone(), Container { place, ip });
        }
        Ok(Self(out))
    }

    /// Every container with what was chosen for it.
    pub(super) fn iter<'a>(
        &'a self,
        project: &'a ProjectSpec,
    ) -> impl Iterator<Item = (&'a ServiceName, &'a ServiceSpec, &'a Container)> {
        containers(project).filter_map(|(name, spec)| Some((name, spec, self.0.get(name)?)))
    }
}

fn containers(project: &ProjectSpec) -> impl Iterator<Item = (&ServiceName, &ServiceSpec)> {
    let is_container = |(_, spec): &(_, &ServiceSpec)| matches!(spec.kind, ServiceKind::Docker(_));
    project.services.iter().filter(is_container)
}

fn place(network: &NetworkName, subnet: Cidr) -> Place {
    Place::Container {
        network: network.clone(),
        subnet,
        gateway: subnet.hosts().next().unwrap_or(subnet.address()),
    }
}

/// The subnet of a container's network: as written, as it was, or a free one.
fn subnet(
    project: &ProjectSpec,
    service: &ServiceName,
    spec: &ServiceSpec,
    previous: &BTreeMap<ServiceName, ServiceAddresses>,
    taken: &Taken,
    chosen: &[Cidr],
) -> Result<Cidr, AddressError> {
    let name = &spec.network;
    let network = project
        .networks
        .get(name)
        .ok_or_else(|| AddressError::UnknownNetwork {
            service: service.clone(),
            network: name.clone(),
        })?;
    if let Some(written) = written(name, network)? {
        if !written.address().is_ipv4() || written.prefix() > LONGEST_PREFIX {
            return Err(AddressError::NoContainerSubnet {
                service: service.clone(),
                network: name.clone(),
                subnet: written,
            });
        }
        return Ok(written);
    }
    let before = previous.values().find_map(|addresses| match &addresses.place {
        Place::Container { network, subnet, .. } if network == name => Some(*subnet),
        _ => None,
    });
    let free =
        |subnet: &Cidr| !taken.has_subnet(subnet) && !chosen.iter().any(|other| other.overlaps(subnet));
    // Another project of the same name, under another home, chooses another one.
    let key = format!("{} {} {}", project.source.display(), project.name, name);
    let candidates = (0..CHOICE_COUNT).filter_map(|n| choice(hash(&key).wrapping_add(n)));
    before
        .filter(free)
        .or_else(|| candidates.into_iter().find(free))
        .ok_or_else(|| AddressError::PoolExhausted {
            service: service.clone(),
            network: name.clone(),
            subnet: CHOICES,
        })
}

/// As the file says; a loopback subnet is for processes.
fn written(name: &NetworkName, network: &NetworkSpec) -> Result<Option<Cidr>, AddressError> {
    let Some(text) = &network.subnet else {
        return Ok(None);
    };
    let cidr: Cidr = text.parse().map_err(|source| AddressError::BadSubnet {
        network: name.clone(),
        source,
    })?;
    Ok((!cidr.is_loopback()).then_some(cidr))
}

fn choice(number: u32) -> Option<Cidr> {
    let IpAddr::V4(first) = CHOICES.address() else {
        return None;
    };
    let base = first.to_bits() + (number % CHOICE_COUNT) * 256;
    Cidr::new(Ipv4Addr::from_bits(base).into(), 24)
}

/// FNV-1a: the same choice on every machine and by every version.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

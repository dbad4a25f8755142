//! Resolves `${service.ip}`, `.host` and `.port`, and makes the variables with the same values.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use harness_model::{AddressField, PortName, Reference, ServiceName};

use super::{AddressError, Place, ServiceAddresses};

/// The text that replaces a reference in the service `from`.
///
/// # Errors
/// When one of the two services is not in `addresses`, there is no such port, or one place cannot reach the other.
pub fn lookup(
    reference: &Reference,
    addresses: &BTreeMap<ServiceName, ServiceAddresses>,
    from: &ServiceName,
) -> Result<String, AddressError> {
    let find = |service: &ServiceName| {
        addresses.get(service).ok_or_else(|| AddressError::NoAddress {
            reference: reference.clone(),
            service: service.clone(),
        })
    };
    let target = find(&reference.service)?;
    if target.place == Place::Nowhere {
        return Err(AddressError::NoAddress {
            reference: reference.clone(),
            service: reference.service.clone(),
        });
    }
    let view = seen_from(&find(from)?.place, target).ok_or_else(|| AddressError::Unreachable {
        reference: reference.clone(),
        from: from.clone(),
    })?;
    match &reference.field {
        AddressField::Ip => Ok(view.ip.to_string()),
        AddressField::Host => Ok(view.host),
        AddressField::Port(name) => port(&view, reference, name.as_ref()).map(|port| port.to_string()),
    }
}

/// The addresses of a service as they look from a place; `None` if no way to it is known.
///
/// | from | to a process here | to a container |
/// |---|---|---|
/// | a process here | its own address | the address where it is published, or its own if it publishes nothing |
/// | a container | this machine, as the container's network sees it | its own address and ports, on a network that both share |
pub fn seen_from(from: &Place, target: &ServiceAddresses) -> Option<ServiceAddresses> {
    let mut seen = target.clone();
    match (from, &target.place) {
        (Place::Local | Place::Nowhere, Place::Local) => {}
        (Place::Local | Place::Nowhere, Place::Container { .. }) => {
            if let Some(first) = target.ports.first() {
                seen.ip = match first.host_ip {
                    IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
                    IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
                    ip => ip,
                };
            }
            seen.host = seen.ip.to_string();
        }
        (Place::Container { network, also, .. }, Place::Container { .. }) => {
            let mut shared = std::iter::once(network).chain(also.iter().map(|other| &other.network));
            let met =
                shared.find_map(|network| target.networks().find(|theirs| theirs.network == *network))?;
            seen.ip = met.ip;
            for port in &mut seen.ports {
                port.port = port.target.unwrap_or(port.port);
                port.host_ip = met.ip;
            }
        }
        (Place::Container { gateway, .. }, Place::Local) => {
            seen.ip = *gateway;
            seen.host = gateway.to_string();
        }
        (Place::Node { .. }, _) | (_, Place::Node { .. } | Place::Nowhere) => return None,
    }
    Some(seen)
}

fn port(
    view: &ServiceAddresses,
    reference: &Reference,
    name: Option<&PortName>,
) -> Result<u16, AddressError> {
    let Some(first) = view.ports.first() else {
        let reference = reference.clone();
        return match (&view.place, view.exposed.as_slice()) {
            (_, [only]) if name.is_none() => Ok(*only),
            (Place::Container { .. }, _) if name.is_none() => Err(AddressError::NotOneExposed {
                reference,
                known: view.exposed.clone(),
            }),
            _ => Err(AddressError::NoPorts { reference }),
        };
    };
    let Some(name) = name else {
        return Ok(first.port);
    };
    view.ports
        .iter()
        .find(|p| p.name.as_ref() == Some(name))
        .map(|p| p.port)
        .ok_or_else(|| AddressError::UnknownPort {
            reference: reference.clone(),
            known: view.ports.iter().filter_map(|p| p.name.clone()).collect(),
        })
}

/// The addresses as variables for a service in a place: `HARNESS_<SERVICE>_IP`, `HARNESS_<SERVICE>_PORT` (the first
/// port, or else the only one that its image is known to declare), and `HARNESS_<SERVICE>_PORT_<NAME>`. Names are in
/// capitals, with `_` for every character that a variable's name cannot contain. Services that cannot be reached from
/// there are left out.
pub fn environment(
    from: &Place,
    addresses: &BTreeMap<ServiceName, ServiceAddresses>,
) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for (service, target) in addresses {
        let Some(target) = seen_from(from, target) else {
            continue;
        };
        let prefix = format!("HARNESS_{}", variable_part(service.as_str()));
        out.insert(format!("{prefix}_IP"), target.ip.to_string());
        if let Some(first) = target.ports.first() {
            out.insert(format!("{prefix}_PORT"), first.port.to_string());
        } else if let [only] = target.exposed.as_slice() {
            out.insert(format!("{prefix}_PORT"), only.to_string());
        }
        for port in &target.ports {
            if let Some(name) = &port.name {
                let name = variable_part(name.as_str());
                out.insert(format!("{prefix}_PORT_{name}"), port.port.to_string());
            }
        }
    }
    out
}

fn variable_part(name: &str) -> String {
    let letter = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_uppercase()
        } else {
            '_'
        }
    };
    name.chars().map(letter).collect()
}

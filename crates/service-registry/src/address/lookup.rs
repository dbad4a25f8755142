//! Answers to `${service.ip}`, `.host`, `.port`, and the variables that say the same.

use std::collections::BTreeMap;
use std::net::IpAddr;

use harness_model::{AddressField, PortName, Reference, ServiceName};

use super::{AddressError, Place, PortAssignment, ServiceAddresses};

/// What a reference that stands in the service `from` is replaced by.
///
/// # Errors
/// When one of the two services is not among `addresses`, the port asked for does not exist, or there is no
/// way between their places.
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
    let view = match (&find(from)?.place, &target.place) {
        (Place::Local, Place::Local) => View::of_local(target),
        (_, Place::Local | Place::Container { .. } | Place::Node { .. }) => {
            return Err(AddressError::Unreachable {
                reference: reference.clone(),
                from: from.clone(),
            });
        }
    };
    match &reference.field {
        AddressField::Ip => Ok(view.ip.to_string()),
        AddressField::Host => Ok(view.host.to_owned()),
        AddressField::Port(name) => view.port(reference, name.as_ref()).map(|p| p.port.to_string()),
    }
}

/// How a service looks from one place.
struct View<'a> {
    ip: IpAddr,
    host: &'a str,
    ports: &'a [PortAssignment],
}

impl<'a> View<'a> {
    fn of_local(target: &'a ServiceAddresses) -> Self {
        Self {
            ip: target.ip,
            host: &target.host,
            ports: &target.ports,
        }
    }

    fn port(
        &self,
        reference: &Reference,
        name: Option<&PortName>,
    ) -> Result<&'a PortAssignment, AddressError> {
        let Some(first) = self.ports.first() else {
            return Err(AddressError::NoPorts {
                reference: reference.clone(),
            });
        };
        let Some(name) = name else {
            return Ok(first);
        };
        self.ports
            .iter()
            .find(|p| p.name.as_ref() == Some(name))
            .ok_or_else(|| AddressError::UnknownPort {
                reference: reference.clone(),
                known: self.ports.iter().filter_map(|p| p.name.clone()).collect(),
            })
    }
}

/// The addresses as variables for a process on this machine: `HARNESS_<SERVICE>_IP`, `HARNESS_<SERVICE>_PORT`
/// (the first port), `HARNESS_<SERVICE>_PORT_<NAME>`. Names are in capitals, with `_` for everything that may
/// not stand in a variable's name.
pub fn environment(addresses: &BTreeMap<ServiceName, ServiceAddresses>) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for (service, target) in addresses {
        let prefix = format!("HARNESS_{}", variable_part(service.as_str()));
        out.insert(format!("{prefix}_IP"), target.ip.to_string());
        if let Some(first) = target.ports.first() {
            out.insert(format!("{prefix}_PORT"), first.port.to_string());
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

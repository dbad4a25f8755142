//! Resolves `${service.ip}`, `.host` and `.port`, and makes the variables with the same values.

use std::collections::BTreeMap;
use std::net::IpAddr;

use harness_model::{AddressField, PortName, Reference, ServiceName};

use super::{AddressError, NoRoute, Place, PortAssignment, Route, ServiceAddresses};

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
    if target.place.attachments.is_empty() {
        return Err(AddressError::NoAddress {
            reference: reference.clone(),
            service: reference.service.clone(),
        });
    }
    let view = seen_from(&find(from)?.place, target).map_err(|why| AddressError::Unreachable {
        reference: reference.clone(),
        from: from.clone(),
        why,
    })?;
    match &reference.field {
        AddressField::Ip => Ok(view.ip.to_string()),
        AddressField::Host => Ok(view.host),
        AddressField::Port(name) => {
            port(&view, target, reference, name.as_ref()).map(|port| port.to_string())
        }
    }
}

/// A service as it looks from a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Its address.
    pub ip: IpAddr,
    /// Its name, or its address again.
    pub host: String,
    /// Its ports, with the numbers at which they are reached.
    pub ports: Vec<PortAssignment>,
}

/// A service as it looks from a place, by the way that is recorded from there.
///
/// # Errors
/// When there is no way from there.
pub fn seen_from(from: &Place, target: &ServiceAddresses) -> Result<View, NoRoute> {
    let (ip, host) = match target.route_from(from) {
        Route::Direct { ip, host } => (ip, host),
        Route::Published { ip } => {
            return Ok(View {
                ip,
                host: ip.to_string(),
                ports: target.ports.clone(),
            });
        }
        Route::None(why) => return Err(why),
    };
    let mut ports = target.ports.clone();
    // What is apart from this machine has other numbers inside than it is published under.
    if target.place.is_apart() {
        for port in &mut ports {
            port.port = port.target.unwrap_or(port.port);
            port.host_ip = ip;
        }
    }
    Ok(View { ip, host, ports })
}

fn port(
    view: &View,
    target: &ServiceAddresses,
    reference: &Reference,
    name: Option<&PortName>,
) -> Result<u16, AddressError> {
    let Some(first) = view.ports.first() else {
        let reference = reference.clone();
        return match target.exposed.as_slice() {
            [only] if name.is_none() => Ok(*only),
            known if name.is_none() && target.place.is_apart() => Err(AddressError::NotOneExposed {
                reference,
                known: known.to_vec(),
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
        let Ok(view) = seen_from(from, target) else {
            continue;
        };
        let prefix = format!("HARNESS_{}", variable_part(service.as_str()));
        out.insert(format!("{prefix}_IP"), view.ip.to_string());
        if let Some(first) = view.ports.first() {
            out.insert(format!("{prefix}_PORT"), first.port.to_string());
        } else if let [only] = target.exposed.as_slice() {
            out.insert(format!("{prefix}_PORT"), only.to_string());
        }
        for port in &view.ports {
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

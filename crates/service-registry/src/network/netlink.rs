//! Links, addresses and routes from the kernel: three dumps over a netlink socket, see `rtnetlink(7)`.
//!
//! This uses netlink instead of `/proc` and `/sys`, because those miss addresses without a route of their own (such
//! as the `/32` of a WireGuard interface), or show another network namespace.

use std::io;
use std::net::IpAddr;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

use harness_model::Subnet;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_GETLINK: u16 = 18;
const RTM_GETADDR: u16 = 22;
const RTM_GETROUTE: u16 = 26;
/// `NLM_F_REQUEST | NLM_F_DUMP`
const DUMP: u16 = 0x301;

const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTN_UNICAST: u8 = 1;
const IFF_LOOPBACK: u32 = 0x8;

const MESSAGE_HEADER: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;

pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) loopback: bool,
    /// The driver's name for virtual links: `wireguard`, `bridge`, …
    pub(super) kind: Option<String>,
}

/// A destination that an interface reaches without a gateway.
pub(super) struct Route {
    pub(super) destination: Subnet,
    pub(super) interface: u32,
}

pub(super) fn links() -> io::Result<Vec<Link>> {
    Ok(dump(RTM_GETLINK, 16)?
        .iter()
        .filter_map(|body| link(body))
        .collect())
}

pub(super) fn addresses() -> io::Result<Vec<(u32, Subnet)>> {
    Ok(dump(RTM_GETADDR, 8)?
        .iter()
        .filter_map(|body| address(body))
        .collect())
}

pub(super) fn routes() -> io::Result<Vec<Route>> {
    Ok(dump(RTM_GETROUTE, 12)?
        .iter()
        .filter_map(|body| route(body))
        .collect())
}

fn link(body: &[u8]) -> Option<Link> {
    let (index, flags) = (u32_at(body, 4)?, u32_at(body, 8)?);
    let mut link = Link {
        index,
        name: String::new(),
        loopback: flags & IFF_LOOPBACK != 0,
        kind: None,
    };
    for (kind, value) in attributes(body.get(16..)?) {
        match kind {
            IFLA_IFNAME => link.name = text(value),
            IFLA_LINKINFO => {
                link.kind = attributes(value)
                    .find(|(kind, _)| *kind == IFLA_INFO_KIND)
                    .map(|(_, v)| text(v));
            }
            _ => {}
        }
    }
    (!link.name.is_empty()).then_some(link)
}

fn address(body: &[u8]) -> Option<(u32, Subnet)> {
    let (prefix, index) = (*body.get(1)?, u32_at(body, 4)?);
    let find = |wanted| {
        attributes(body.get(8..)?)
            .find(|(kind, _)| *kind == wanted)
            .and_then(|(_, v)| ip(v))
    };
    // For a point-to-point link, IFA_ADDRESS is the other end.
    let own = find(IFA_LOCAL).or_else(|| find(IFA_ADDRESS))?;
    Some((index, Subnet::new(own, prefix)?))
}

fn route(body: &[u8]) -> Option<Route> {
    let (family, prefix, kind) = (*body.first()?, *body.get(1)?, *body.get(7)?);
    let (mut destination, mut interface, mut gateway) = (None, None, false);
    for (kind, value) in attributes(body.get(12..)?) {
        match kind {
            RTA_DST => destination = ip(value),
            RTA_OIF => interface = u32_at(value, 0),
            RTA_GATEWAY => gateway = true,
            _ => {}
        }
    }
    if kind != RTN_UNICAST || gateway {
        return None;
    }
    // The default route has no destination.
    let everything: IpAddr = if u32::from(family) == u32::from(AddressFamily::INET.as_raw()) {
        std::net::Ipv4Addr::UNSPECIFIED.into()
    } else {
        std::net::Ipv6Addr::UNSPECIFIED.into()
    };
    let destination = Subnet::new(destination.unwrap_or(everything), prefix)?;
    Some(Route {
        destination,
        interface: interface?,
    })
}

/// The bodies of all messages in the answer to a dump request.
fn dump(request: u16, body_len: usize) -> io::Result<Vec<Vec<u8>>> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let mut message = Vec::with_capacity(MESSAGE_HEADER + body_len);
    let len = u32::try_from(MESSAGE_HEADER + body_len).map_err(io::Error::other)?;
    message.extend(len.to_ne_bytes());
    message.extend(request.to_ne_bytes());
    message.extend(DUMP.to_ne_bytes());
    message.resize(MESSAGE_HEADER + body_len, 0);
    send(&socket, &message, SendFlags::empty())?;

    let mut bodies = Vec::new();
    // The kernel never sends more than 32 KiB at once if the reader has a buffer of that size.
    let mut buffer = vec![0u8; 32 * 1024];
    loop {
        let (len, _) = recv(&socket, buffer.as_mut_slice(), RecvFlags::empty())?;
        let mut rest = buffer.get(..len).unwrap_or_default();
        if rest.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while let Some((kind, body, next)) = first_message(rest) {
            match kind {
                NLMSG_DONE => return Ok(bodies),
                NLMSG_ERROR => {
                    let code = u32_at(body, 0).map_or(0, u32::cast_signed);
                    return Err(io::Error::from_raw_os_error(code.saturating_neg()));
                }
                _ => bodies.push(body.to_vec()),
            }
            rest = next;
        }
    }
}

fn first_message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let len = usize::try_from(u32_at(bytes, 0)?).ok()?;
    let body = bytes.get(MESSAGE_HEADER..len)?;
    let next = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    Some((u16_at(bytes, 4)?, body, next))
}

fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16_at(bytes, 0)?);
        // The upper two bits are flags.
        let kind = u16_at(bytes, 2)? & 0x3fff;
        let value = bytes.get(ATTRIBUTE_HEADER..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|b| *b == 0).next().unwrap_or_default()).into_owned()
}

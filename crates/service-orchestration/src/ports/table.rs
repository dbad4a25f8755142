//! The kernel's socket tables: `/proc/net/{tcp,tcp6,udp,udp6}`, see proc(5).

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use harness_model::spec::Protocol;

use super::PortError;

/// A bound socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) protocol: Protocol,
    pub(super) address: IpAddr,
    pub(super) port: u16,
    pub(super) uid: u32,
    pub(super) inode: u64,
}

const TABLES: [(&str, Protocol); 4] = [
    ("/proc/net/tcp", Protocol::Tcp),
    ("/proc/net/tcp6", Protocol::Tcp),
    ("/proc/net/udp", Protocol::Udp),
    ("/proc/net/udp6", Protocol::Udp),
];

/// TCP_LISTEN, in hexadecimal.
const LISTEN: &str = "0A";

/// The sockets on any of `ports`: the listening ones of TCP, all of UDP.
pub(super) fn read(ports: &BTreeSet<(Protocol, u16)>) -> Result<Vec<Entry>, PortError> {
    let mut entries = Vec::new();
    for (path, protocol) in TABLES {
        if !ports.iter().any(|(wanted, _)| *wanted == protocol) {
            continue;
        }
        match read_table(path, protocol, ports, &mut entries) {
            // A kernel without IPv6 does not have this table.
            Err(error) if path.ends_with('6') && error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(PortError::Table { path, source }),
            Ok(()) => {}
        }
    }
    Ok(entries)
}

fn read_table(
    path: &str,
    protocol: Protocol,
    ports: &BTreeSet<(Protocol, u16)>,
    entries: &mut Vec<Entry>,
) -> io::Result<()> {
    let mut table = BufReader::new(File::open(path)?);
    let mut line = String::new();
    while table.read_line(&mut line)? > 0 {
        if let Some(entry) = parse(&line, protocol)
            && ports.contains(&(protocol, entry.port))
        {
            entries.push(entry);
        }
        line.clear();
    }
    Ok(())
}

/// Parses one line; `None` for the heading and for sockets that hold no port.
///
/// `sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode …`
fn parse(line: &str, protocol: Protocol) -> Option<Entry> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let (address, port) = words.next()?.split_once(':')?;
    let state = words.nth(1)?;
    if protocol == Protocol::Tcp && state != LISTEN {
        return None;
    }
    Some(Entry {
        protocol,
        address: parse_address(address)?,
        port: u16::from_str_radix(port, 16).ok()?,
        uid: words.nth(3)?.parse().ok()?,
        inode: words.nth(1)?.parse().ok()?,
    })
}

/// Parses an address: its 32-bit words in hexadecimal, each in the byte order of this machine.
fn parse_address(hex: &str) -> Option<IpAddr> {
    let mut octets = [0_u8; 16];
    if !hex.is_ascii() || !(hex.len() == 8 || hex.len() == 32) {
        return None;
    }
    for (index, word) in hex.as_bytes().chunks_exact(8).enumerate() {
        let word = std::str::from_utf8(word).ok()?;
        let word = u32::from_str_radix(word, 16).ok()?.to_ne_bytes();
        octets[index * 4..index * 4 + 4].copy_from_slice(&word);
    }
    Some(if hex.len() == 8 {
        IpAddr::V4(Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]))
    } else {
        IpAddr::V6(Ipv6Addr::from(octets))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn lines_as_the_kernel_writes_them() {
        let tcp = "   0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000   105        0 24871 1 0000000000000000 100 0 0 10 0";
        let entry = parse(tcp, Protocol::Tcp).unwrap();
        assert_eq!(entry.address, "127.0.0.1".parse::<IpAddr>().unwrap());
        assert_eq!((entry.port, entry.uid, entry.inode), (5432, 105, 24871));

        let tcp6 = "   1: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 99 1 0000000000000000 100 0 0 10 0";
        let entry = parse(tcp6, Protocol::Tcp).unwrap();
        assert_eq!(entry.address, "::1".parse::<IpAddr>().unwrap());

        let established = tcp.replace(" 0A ", " 01 ");
        assert_eq!(parse(&established, Protocol::Tcp), None);
        assert!(parse(&established, Protocol::Udp).is_some());
        let heading = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
        assert_eq!(parse(heading, Protocol::Tcp), None);
        assert_eq!(parse("", Protocol::Tcp), None);
        assert_eq!(parse("0: €€:1 x 0A", Protocol::Tcp), None);
    }
}

//! A subnet in CIDR notation.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A subnet: `192.168.1.0/24`, `fd00::/64`. A bare address is a subnet of one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    /// The address as written, including its host bits.
    address: IpAddr,
    prefix: u8,
}

/// The text is not a subnet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a subnet such as 192.168.1.0/24")]
pub struct CidrError {
    /// The text.
    pub text: String,
}

impl Cidr {
    /// The subnet of `address` with a prefix of this many bits; `None` if an address has fewer.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        (prefix <= bits).then_some(Self { address, prefix })
    }

    /// A subnet that is known to be valid.
    pub(crate) const fn v4(address: Ipv4Addr, prefix: u8) -> Self {
        Self {
            address: IpAddr::V4(address),
            prefix,
        }
    }

    /// The address as written.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The number of bits that all its addresses share.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether it contains the address.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let same = |a: u128, b: u128, bits: u8| {
            let host_bits = u32::from(bits - self.prefix);
            a.checked_shr(host_bits).unwrap_or(0) == b.checked_shr(host_bits).unwrap_or(0)
        };
        match (self.address, ip) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
            _ => false,
        }
    }

    /// Whether they share an address.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }

    /// Whether all its addresses are loopback addresses.
    pub fn is_loopback(&self) -> bool {
        match self.address {
            IpAddr::V4(ip) => ip.is_loopback() && self.prefix >= 8,
            IpAddr::V6(ip) => ip.is_loopback() && self.prefix == 128,
        }
    }

    /// Whether it has only one address.
    pub fn is_single(&self) -> bool {
        self.prefix == if self.address.is_ipv4() { 32 } else { 128 }
    }

    /// The addresses that hosts can have, in order. For IPv4, this leaves out the network address and the broadcast
    /// address, where they exist.
    pub fn hosts(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let (bits, start) = match self.address {
            IpAddr::V4(ip) => (32, u128::from(ip.to_bits())),
            IpAddr::V6(ip) => (128, ip.to_bits()),
        };
        let host_bits = u32::from(bits - self.prefix);
        let mask = 1u128.checked_shl(host_bits).map_or(u128::MAX, |size| size - 1);
        let (first, last) = (start & !mask, start | mask);
        let v4 = bits == 32;
        let reserved = u128::from(v4 && host_bits >= 2);
        (first + reserved..=last - reserved).map(move |n| match u32::try_from(n) {
            Ok(n) if v4 => IpAddr::V4(Ipv4Addr::from_bits(n)),
            _ => IpAddr::V6(Ipv6Addr::from_bits(n)),
        })
    }
}

impl TryFrom<String> for Cidr {
    type Error = CidrError;
    fn try_from(text: String) -> Result<Self, CidrError> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.to_string()
    }
}

impl FromStr for Cidr {
    type Err = CidrError;
    fn from_str(text: &str) -> Result<Self, CidrError> {
        let fail = || CidrError {
            text: text.to_owned(),
        };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| fail())?;
        let prefix = match prefix {
            None => {
                if address.is_ipv4() {
                    32
                } else {
                    128
                }
            }
            // `parse` alone would accept "+24".
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map_err(|_| fail())?
            }
            Some(_) => return Err(fail()),
        };
        Self::new(address, prefix).ok_or_else(fail)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn subnets_are_parsed() {
        for good in ["0.0.0.0/0", "192.168.1.0/24", "10.0.0.1/32", "::/0", "fd00::/64"] {
            assert_eq!(cidr(good).to_string(), good);
        }
        assert_eq!(cidr("127.0.0.1").prefix(), 32);
        for bad in [
            "",
            "/",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0/8",
            "::/129",
            "10.0.0.0/8/8",
            "a/8",
        ] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_lie_in_subnets() {
        let inside = |subnet: &str, ip: &str| cidr(subnet).contains(ip.parse().unwrap());
        assert!(inside("192.168.1.7/24", "192.168.1.200"));
        assert!(!inside("192.168.1.0/24", "192.168.2.0"));
        assert!(inside("0.0.0.0/0", "255.255.255.255"));
        assert!(inside("::/0", "ffff::"));
        assert!(!inside("0.0.0.0/0", "::1"));
        assert!(inside("10.0.0.1/32", "10.0.0.1") && !inside("10.0.0.1/32", "10.0.0.2"));
        assert!(inside("fd00::/64", "fd00::1:2:3:4") && !inside("fd00::/64", "fd00:0:0:1::"));
    }

    #[test]
    fn hosts_leave_out_what_hosts_may_not_have() {
        let hosts = |text: &str| cidr(text).hosts().map(|ip| ip.to_string()).collect::<Vec<_>>();
        assert_eq!(hosts("10.0.0.5/30"), ["10.0.0.5", "10.0.0.6"]);
        assert_eq!(hosts("10.0.0.4/31"), ["10.0.0.4", "10.0.0.5"]);
        assert_eq!(hosts("10.0.0.4/32"), ["10.0.0.4"]);
        assert_eq!(hosts("fd00::/127"), ["fd00::", "fd00::1"]);
        assert_eq!(
            cidr("255.255.255.0/24").hosts().last().unwrap().to_string(),
            "255.255.255.254"
        );
        assert!(cidr("::/0").hosts().next().is_some());
    }
}

//! Subnets of networks, parsed once and used as such everywhere.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

/// A subnet: `192.168.1.0/24`, `fd00::/64`. A bare address is a subnet of one. It keeps the address as written,
/// including its host bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet(IpNet);

/// The text is not a subnet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a subnet such as 192.168.1.0/24")]
pub struct SubnetError {
    /// The text.
    pub text: String,
}

impl Subnet {
    /// The subnet of `address` with a prefix of this many bits; `None` if an address has fewer.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        IpNet::new(address, prefix).ok().map(Self)
    }

    /// The same for a constant. A prefix that is too long does not compile there.
    pub const fn constant(address: IpAddr, prefix: u8) -> Self {
        Self(IpNet::new_assert(address, prefix))
    }

    /// The address as written.
    pub fn address(&self) -> IpAddr {
        self.0.addr()
    }

    /// The number of bits that all its addresses share.
    pub fn prefix(&self) -> u8 {
        self.0.prefix_len()
    }

    /// Whether it contains the address.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.0.contains(&ip)
    }

    /// Whether all addresses of the other one are in it.
    pub fn covers(&self, other: &Self) -> bool {
        self.0.contains(&other.0)
    }

    /// Whether they share an address.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// Whether all its addresses are loopback addresses.
    pub fn is_loopback(&self) -> bool {
        self.0.network().is_loopback() && self.0.broadcast().is_loopback()
    }

    /// Whether it has only one address.
    pub fn is_single(&self) -> bool {
        self.0.prefix_len() == self.0.max_prefix_len()
    }

    /// The addresses that hosts can have, in order. For IPv4, this leaves out the network address and the broadcast
    /// address, where they exist.
    pub fn hosts(&self) -> impl Iterator<Item = IpAddr> + use<> {
        self.0.hosts()
    }
}

impl FromStr for Subnet {
    type Err = SubnetError;
    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let parsed = match text.contains('/') {
            true => text.parse().ok(),
            false => text.parse::<IpAddr>().ok().map(IpNet::from),
        };
        parsed.map(Self).ok_or_else(|| SubnetError {
            text: text.to_owned(),
        })
    }
}

impl TryFrom<String> for Subnet {
    type Error = SubnetError;
    fn try_from(text: String) -> Result<Self, SubnetError> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl JsonSchema for Subnet {
    fn schema_name() -> Cow<'static, str> {
        "Subnet".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn subnets_are_parsed() {
        for good in [
            "0.0.0.0/0",
            "192.168.1.0/24",
            "192.168.1.7/24",
            "10.0.0.1/32",
            "::/0",
            "fd00::/64",
        ] {
            assert_eq!(subnet(good).to_string(), good);
        }
        assert_eq!(subnet("127.0.0.1").prefix(), 32);
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
            assert!(bad.parse::<Subnet>().is_err(), "{bad}");
        }
    }

    #[test]
    fn it_is_stored_as_text() {
        let stored = serde_json::to_string(&subnet("192.168.1.7/24")).unwrap();
        assert_eq!(stored, "\"192.168.1.7/24\"");
        assert_eq!(
            serde_json::from_str::<Subnet>(&stored).unwrap(),
            subnet("192.168.1.7/24")
        );
        let error = serde_json::from_str::<Subnet>("\"nowhere\"").unwrap_err();
        assert!(error.to_string().contains("`nowhere` is not a subnet"), "{error}");
    }

    #[test]
    fn addresses_lie_in_subnets() {
        let inside = |of: &str, ip: &str| subnet(of).contains(ip.parse().unwrap());
        assert!(inside("192.168.1.7/24", "192.168.1.200"));
        assert!(!inside("192.168.1.0/24", "192.168.2.0"));
        assert!(inside("0.0.0.0/0", "255.255.255.255"));
        assert!(inside("::/0", "ffff::"));
        assert!(!inside("0.0.0.0/0", "::1"));
        assert!(inside("10.0.0.1/32", "10.0.0.1") && !inside("10.0.0.1/32", "10.0.0.2"));
        assert!(inside("fd00::/64", "fd00::1:2:3:4") && !inside("fd00::/64", "fd00:0:0:1::"));
    }

    #[test]
    fn subnets_share_addresses() {
        let overlap = |one: &str, other: &str| {
            assert_eq!(
                subnet(one).overlaps(&subnet(other)),
                subnet(other).overlaps(&subnet(one))
            );
            subnet(one).overlaps(&subnet(other))
        };
        assert!(overlap("10.0.0.0/8", "10.1.2.3/24") && overlap("10.0.0.9/30", "10.0.0.8/31"));
        assert!(!overlap("10.0.0.0/24", "10.0.1.0/24") && !overlap("0.0.0.0/0", "::/0"));
        assert!(subnet("10.0.0.0/8").covers(&subnet("10.1.2.3/24")));
        assert!(!subnet("10.1.2.3/24").covers(&subnet("10.0.0.0/8")));
    }

    #[test]
    fn loopback_subnets_have_only_loopback_addresses() {
        for (text, expected) in [
            ("127.0.0.0/8", true),
            ("127.5.0.0/16", true),
            ("::1/128", true),
            ("127.0.0.0/7", false),
            ("::1/127", false),
            ("10.0.0.0/8", false),
        ] {
            assert_eq!(subnet(text).is_loopback(), expected, "{text}");
        }
    }

    #[test]
    fn hosts_leave_out_what_hosts_may_not_have() {
        let hosts = |text: &str| subnet(text).hosts().map(|ip| ip.to_string()).collect::<Vec<_>>();
        assert_eq!(hosts("10.0.0.5/30"), ["10.0.0.5", "10.0.0.6"]);
        assert_eq!(hosts("10.0.0.4/31"), ["10.0.0.4", "10.0.0.5"]);
        assert_eq!(hosts("10.0.0.4/32"), ["10.0.0.4"]);
        assert_eq!(hosts("fd00::/127"), ["fd00::", "fd00::1"]);
        assert_eq!(
            subnet("255.255.255.0/24").hosts().last().unwrap().to_string(),
            "255.255.255.254"
        );
        assert!(subnet("::/0").hosts().next().is_some());
    }
}

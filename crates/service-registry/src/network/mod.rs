//! What connects this machine to others: subnets, interfaces, and which kind of network an address is on.

mod cidr;
#[cfg(target_os = "linux")]
mod netlink;
mod topology;

pub use cidr::{Cidr, CidrError};
pub use topology::{DetectError, Interface, InterfaceKind, Topology, detect};

//! How this machine is connected to others: subnets, interfaces, and the kind of network that an address is on.

mod cidr;
#[cfg(target_os = "linux")]
mod netlink;
mod topology;

pub use cidr::{Cidr, CidrError};
pub use topology::{DetectError, Interface, InterfaceKind, Topology, detect};

//! How this machine is connected to others: subnets, interfaces, and the kind of network that an address is on.

#[cfg(target_os = "linux")]
mod netlink;
mod topology;

pub use topology::{DetectError, Interface, InterfaceKind, Topology, detect};

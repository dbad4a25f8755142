//! What connects this machine to others: subnets, interfaces, and which kind of network an address is on.

mod cidr;

pub use cidr::{Cidr, CidrError};

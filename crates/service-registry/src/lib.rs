#![doc = include_str!("../README.md")]

pub mod address;
pub mod changes;
pub mod network;
pub mod record;
pub mod registry;
pub mod store;

pub use changes::{Change, ChangeKind, Changes, Item, Subscription};
pub use record::{ProjectRecord, ServiceRecord};
pub use registry::Registry;

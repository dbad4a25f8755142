#![doc = include_str!("../README.md")]
//!
//! ```text
//!  Order ──▶ check ──▶ image (there, pulled or built) ──▶ network, volumes ──▶ create ──▶ start
//!                                                                               │
//!   run directory: container.json (who), log/ (what it says), lock (held while it is followed)
//!                                                                               │
//!   follow ◀── logs and end of the container, from the engine ──────────────────┘
//!      └──▶ end recorded ──▶ container removed ──▶ network removed when empty ──▶ reported
//! ```
//!
//! A container is ours because of its labels, never just because of its name. The engine's own restart policy is off:
//! ours decides. Nothing connects to the engine before the first container is needed.
//!
//! Tokio and bollard stay inside: only the module `engine::bridge` uses tokio, and no public signature mentions either.

mod container;
mod engine;
mod exec;
mod executor;
mod files;
mod image;
mod labels;
mod network;
mod output;
mod registry;
mod spec;

pub use executor::docker::DockerExecutor;

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
//! Tokio and bollard stay inside: only the module `bridge` uses tokio, and no public signature mentions either.

mod access;
mod address;
mod adopt;
mod base_images;
mod body;
mod bridge;
mod build;
mod contact;
mod context;
mod credential_helper;
mod credentials;
mod engine;
mod events;
mod exec;
mod executor;
mod files;
mod follow;
mod hide;
mod ignore;
mod image;
mod image_config;
mod instance;
mod labels;
mod membership;
mod network;
mod output;
mod processes;
mod progress;
mod prompt;
mod pump;
mod record;
mod refused_command;
mod registry;
mod stamp;
mod stop;
mod targets;
mod volumes;

pub use executor::DockerExecutor;

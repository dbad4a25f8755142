//! Compose files: what their services mean as services of `type: docker`.
//!
//! ```text
//! compose file ─ file ─▶ services, networks, volumes (nodes)
//!                             │ translate: one room per group of keys
//!                             ▼
//!        the keys of `type: docker`, each at the place where the compose file has it
//!            │                                      │
//!            ▼ `type: compose`                      ▼ `init --from compose`
//!     lowered as if they stood in services.yaml     written as YAML
//! ```
//!
//! Both use the same translation. A key without a counterpart is refused at its place, with a remedy; nothing is
//! ignored silently. What the keys of a docker service cannot express (several networks, names in the engine) comes
//! in typed fields next to the keys.

mod build;
mod deploy;
mod env_file;
mod environment;
mod file;
mod health;
mod keys;
mod needs;
mod networks;
mod nodes;
mod ports;
mod strings;
mod translate;
mod volumes;

pub(crate) use env_file::{dotenv, variables as env_file_variables};
pub(crate) use file::ComposeFile;
pub(crate) use needs::{Need, needs};
pub(crate) use networks::{Join, NetworkDefinition};
pub(crate) use nodes::{entries_of, key, string};
pub(crate) use strings::Strings;
pub(crate) use translate::{Translated, translate};

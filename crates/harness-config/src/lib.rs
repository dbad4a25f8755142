//! Turns YAML text into a validated [`ProjectSpec`](harness_model::ProjectSpec), with diagnostics that point to each
//! mistake.
//!
//! ```text
//! files -> tree (spanned nodes) -> merge -> lower (one room per section) -> check (across services) -> ProjectSpec
//!                                              \_________ every mistake goes to one list _________/
//! ```
//!
//! | room | what is in it |
//! |---|---|
//! | `source` | the texts, byte spans in them, the parts that must not be shown |
//! | `tree` | YAML as spanned nodes, whatever their types: a mistake in one never hides the next |
//! | `merge` | merges several files into one |
//! | `name` | the name of a project, for verbs that need nothing else from its files |
//! | `keys` | the one table of keys, for the reader, the JSON Schema and the reference |
//! | `types` | types of services and probes that a program adds to the table |
//! | `fields`, `read`, `words`, `env` | sections, typed scalars, commands and variables; each reports mistakes at their place |
//! | `interpolate` | `${VAR}`, `${service.ip}`, `$$` |
//! | `compose` | compose files, translated to the keys of docker services |
//! | `lower` | turns sections into specifications |
//! | `check` | checks across services: dependencies, references, ports, cycles |
//! | [`diagnostics`] | the list of mistakes, and how it is shown |
//! | `schema`, `reference` | the JSON Schema and the YAML reference, from the table |
//! | [`import`] | a first file from a compose file, a Procfile, or nothing |
#![doc = include_str!("../README.md")]

mod check;
mod compose;
pub mod diagnostics;
mod env;
mod env_file;
mod fields;
mod files;
pub mod import;
mod inherit;
mod interpolate;
mod keys;
mod limits;
mod load;
mod lower;
mod mask;
mod merge;
mod name;
mod read;
mod reference;
mod resolved;
mod scalars;
mod schema;
mod source;
mod suggest;
mod tree;
mod types;
mod variables;
mod words;

pub use diagnostics::{Diagnostic, Diagnostics, Severity};
pub use files::load_files;
pub use inherit::inherited_environment;
pub use keys::{Key, Section, Shape};
pub use load::{LoadError, LoadOptions, Loaded, find_config, load, load_text};
pub use name::{NamedFile, name_of};
pub use reference::reference_markdown;
pub use resolved::{Resolved, resolve};
pub use schema::{json_schema, json_schema_with};
pub use types::{Mistake, ProbeType, ServiceType, TypeError, Types};

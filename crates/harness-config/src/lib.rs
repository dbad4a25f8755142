//! YAML text to a validated [`ProjectSpec`](harness_model::ProjectSpec), with diagnostics that point.
//!
//! ```text
//! files -> tree (spanned nodes) -> merge -> lower (one room per section) -> check (across services) -> ProjectSpec
//!                                              \_________ every mistake goes to one list _________/
//! ```
//!
//! | room | what is in it |
//! |---|---|
//! | `source` | the texts, byte spans in them, what of them must not be shown |
//! | `tree` | YAML as spanned nodes, whatever their types: a mistake in one never hides the next |
//! | `merge` | several files made one |
//! | `name` | the name of a project, for those who need no more of its files |
//! | `keys` | the one table of keys: what the reader accepts, the JSON Schema and the reference say the same |
//! | `fields`, `read`, `words`, `env` | sections, typed scalars, commands and variables, each telling what is wrong at its place |
//! | `interpolate` | `${VAR}`, `${service.ip}`, `$$` |
//! | `compose` | compose files, in the keys of docker services |
//! | `lower` | sections to specifications |
//! | `check` | what needs more than one service to tell: dependencies, references, ports, cycles |
//! | [`diagnostics`] | the list of mistakes and how people see it |
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
mod scalars;
mod schema;
mod source;
mod suggest;
mod tree;
mod variables;
mod words;

pub use diagnostics::{Diagnostic, Diagnostics, Severity};
pub use files::load_files;
pub use inherit::inherited_environment;
pub use load::{LoadError, LoadOptions, Loaded, find_config, load, load_text};
pub use name::{NamedFile, name_of};
pub use reference::reference_markdown;
pub use schema::json_schema;

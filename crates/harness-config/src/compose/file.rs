//! A compose file as a whole.

use crate::diagnostics::Finding;
use crate::suggest::did_you_mean;
use crate::tree::{Key, Kind, Node};

use super::nodes::{entries_of, section};

/// The top-level keys that are used here, or may be ignored.
const KEYS: [&str; 7] = [
    "version", "name", "services", "networks", "volumes", "secrets", "configs",
];

/// A compose file. Its sections have not been read yet.
#[derive(Debug, Clone)]
pub(crate) struct ComposeFile {
    root: Node,
}

impl ComposeFile {
    /// Reads the top level of a tree.
    pub(crate) fn read(root: Node, said: &mut Vec<Finding>) -> Self {
        if !matches!(root.kind, Kind::Map(_)) {
            said.push(Finding::error(
                root.span,
                format!("expected a compose file, found {}", root.describe()),
            ));
        }
        for (key, value) in entries_of(&root) {
            let name = key.name.as_str();
            if matches!(name, "services" | "networks" | "volumes") {
                section(value, said);
            }
            if KEYS.contains(&name) || name.starts_with("x-") {
                continue;
            }
            said.push(match name {
                "include" => Finding::error(key.span, "`include` of a compose file is not supported")
                    .help("give each of those files a service of `type: compose`"),
                _ => Finding::error(key.span, format!("unknown key `{name}` of a compose file"))
                    .maybe_help(did_you_mean(name, KEYS)),
            });
        }
        Self { root }
    }

    /// The services of the file.
    pub(crate) fn services(&self) -> &[(Key, Node)] {
        self.section("services")
    }

    /// A service of the file.
    pub(crate) fn service(&self, name: &str) -> Option<&(Key, Node)> {
        self.services().iter().find(|(key, _)| key.name == name)
    }

    /// The definition of a network.
    pub(super) fn network(&self, name: &str) -> Option<&(Key, Node)> {
        self.section("networks").iter().find(|(key, _)| key.name == name)
    }

    /// The definition of a volume.
    pub(super) fn volume(&self, name: &str) -> Option<&(Key, Node)> {
        self.section("volumes").iter().find(|(key, _)| key.name == name)
    }

    fn section(&self, name: &str) -> &[(Key, Node)] {
        self.root.get(name).map_or(&[], entries_of)
    }
}

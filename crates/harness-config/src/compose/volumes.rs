//! `volumes` of a service, and the names of volumes in the engine.

use harness_model::spec::VolumeName;

use crate::diagnostics::Finding;
use crate::source::Span;
use crate::tree::{Key, Kind, Node};

use super::file::ComposeFile;
use super::keys::{refuse_others, unsupported};
use super::nodes::{self, entries_of, section, split_at_colons};
use super::strings::Strings;

/// What a service mounts.
#[derive(Default)]
pub(super) struct Volumes {
    /// `source:target[:ro]`
    pub(super) volumes: Vec<Node>,
    /// `target[:options]`
    pub(super) tmpfs: Vec<Node>,
    /// The named volumes, and where they are written.
    pub(super) named: Vec<(String, Span)>,
}

/// Reads `volumes`.
pub(super) fn volumes(strings: Strings<'_>, node: &Node, said: &mut Vec<Finding>) -> Volumes {
    let mut out = Volumes::default();
    let Kind::List(items) = &node.kind else {
        said.push(Finding::error(
            node.span,
            format!("`volumes` must be a list, found {}", node.describe()),
        ));
        return out;
    };
    for item in items {
        match &item.kind {
            Kind::Map(entries) => long(strings, item, entries, &mut out, said),
            _ => {
                let strings = strings.discreet(item);
                if let Some(text) = strings.plain(item, said) {
                    short(strings, item.span, &text, &mut out, said);
                }
            }
        }
    }
    out
}

fn unnamed(span: Span, target: &str) -> Finding {
    Finding::error(span, format!("the unnamed volume {target} is not supported")).help(format!(
        "give it a name: `NAME:{target}`, and `NAME` under the `volumes` of the file"
    ))
}

fn short(strings: Strings<'_>, span: Span, text: &str, out: &mut Volumes, said: &mut Vec<Finding>) {
    let parts = split_at_colons(text);
    let (source, target, modes) = match parts.as_slice() {
        [target] => {
            said.push(unnamed(span, target));
            return;
        }
        [source, target] => (*source, *target, ""),
        [source, target, modes] => (*source, *target, *modes),
        _ => {
            said.push(Finding::error(
                span,
                format!("`{text}` is not `source:target[:ro]`"),
            ));
            return;
        }
    };
    let mut read_only = false;
    for mode in modes.split(',').filter(|mode| !mode.is_empty()) {
        match mode {
            "ro" => read_only = true,
            // The last three matter only where containers run in a virtual machine.
            "rw" | "cached" | "delegated" | "consistent" => {}
            _ => said.push(
                Finding::error(span, format!("the option `{mode}` of a volume is not supported"))
                    .help("use `ro` or `rw`"),
            ),
        }
    }
    add(strings, span, source, target, read_only, out);
}

fn add(strings: Strings<'_>, span: Span, source: &str, target: &str, read_only: bool, out: &mut Volumes) {
    let mode = if read_only { ":ro" } else { "" };
    let source = if source.starts_with(['/', '~', '.']) {
        // Everything that begins with a dot is a path, also `.config`.
        match source.starts_with("./")
            || source.starts_with("..")
            || !source.starts_with('.')
            || source == "."
        {
            true => source.to_owned(),
            false => format!("./{source}"),
        }
    } else {
        if !source.starts_with("${") {
            out.named.push((source.to_owned(), span));
        }
        source.to_owned()
    };
    out.volumes
        .push(strings.literal(span, &format!("{source}:{target}{mode}")));
}

fn long(
    strings: Strings<'_>,
    item: &Node,
    entries: &[(Key, Node)],
    out: &mut Volumes,
    said: &mut Vec<Finding>,
) {
    refuse_others(
        entries,
        "a volume",
        &[
            "type",
            "source",
            "target",
            "read_only",
            "consistency",
            "bind",
            "tmpfs",
        ],
        said,
    );
    let places = ["source", "target"].map(|name| item.get(name));
    let strings = places.into_iter().flatten().fold(strings, Strings::discreet);
    let mut part = |name: &str| item.get(name).and_then(|node| strings.plain(node, said));
    let (kind, source, target) = (part("type"), part("source"), part("target"));
    let read_only = item.get("read_only").is_some_and(|node| strings.flag(node, said));
    let Some(target) = target else {
        said.push(Finding::error(item.span, "a volume needs `target`"));
        return;
    };
    if let Some(bind) = item.get("bind") {
        for (key, value) in section(bind, said) {
            if !(key.name == "create_host_path" && matches!(value.kind, Kind::Bool(true))) {
                said.push(unsupported(key, "`bind`", ""));
            }
        }
    }
    match kind.as_deref() {
        Some("tmpfs") => {
            let mut options = Vec::new();
            for (key, value) in item.get("tmpfs").map_or(&[][..], entries_of) {
                match (key.name.as_str(), strings.plain(value, said)) {
                    ("size" | "mode", Some(text)) => options.push(format!("{}={text}", key.name)),
                    _ => said.push(unsupported(key, "`tmpfs`", "")),
                }
            }
            let options = if options.is_empty() {
                String::new()
            } else {
                format!(":{}", options.join(","))
            };
            out.tmpfs
                .push(strings.literal(item.span, &format!("{target}{options}")));
        }
        Some("volume" | "bind") | None => match source {
            Some(source) => add(strings, item.span, &source, &target, read_only, out),
            None => said.push(unnamed(item.span, &target)),
        },
        Some(other) => said.push(
            Finding::error(item.span, format!("volumes of type `{other}` are not supported"))
                .help("use `volume`, `bind` or `tmpfs`"),
        ),
    }
}

/// The name of a named volume in the engine, if the compose file gives one.
pub(super) fn name_of(
    strings: Strings<'_>,
    file: &ComposeFile,
    (volume, span): &(String, Span),
    said: &mut Vec<Finding>,
) -> Option<VolumeName> {
    let Some((_, definition)) = file.volume(volume) else {
        said.push(
            Finding::error(*span, format!("the compose file has no volume `{volume}`")).help(format!(
                "write `{volume}:` under its `volumes`, or `./{volume}` for a folder"
            )),
        );
        return None;
    };
    let mut name = None;
    let mut external = false;
    for (key, value) in section(definition, said) {
        match key.name.as_str() {
            "name" => name = strings.plain(value, said),
            "external" => match &value.kind {
                Kind::Map(_) => {
                    external = true;
                    name = value.get("name").and_then(|name| strings.plain(name, said));
                }
                _ => external = strings.flag(value, said),
            },
            "driver" if strings.plain(value, said).as_deref() == Some("local") => {}
            other if other.starts_with("x-") => {}
            _ => said.push(
                Finding::error(key.span, format!("`{}` of a volume is not supported", key.name)).help(
                    format!(
                        "remove it, or create the volume yourself and write `external: true` for `{volume}`"
                    ),
                ),
            ),
        }
    }
    match (name, external) {
        (Some(name), external) => Some(VolumeName { name, external }),
        (None, true) => Some(VolumeName {
            name: volume.clone(),
            external,
        }),
        (None, false) => None,
    }
}

/// The paths of `tmpfs`.
pub(super) fn tmpfs(strings: Strings<'_>, node: &Node, said: &mut Vec<Finding>) -> Vec<Node> {
    match &node.kind {
        Kind::List(items) => items
            .iter()
            .filter_map(|item| strings.template(item, said))
            .collect(),
        _ => strings.template(node, said).into_iter().collect(),
    }
}

/// A list of strings.
pub(super) fn texts(strings: Strings<'_>, name: &Key, node: &Node, said: &mut Vec<Finding>) -> Node {
    match &node.kind {
        Kind::List(items) => {
            let items = items
                .iter()
                .filter_map(|item| strings.template(item, said))
                .collect();
            nodes::list(node.span, items)
        }
        _ => {
            said.push(Finding::error(
                node.span,
                format!("`{}` must be a list, found {}", name.name, node.describe()),
            ));
            nodes::list(node.span, Vec::new())
        }
    }
}

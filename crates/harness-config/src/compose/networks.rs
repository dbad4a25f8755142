//! `networks` of a service, and their definitions.

use std::net::{IpAddr, Ipv4Addr};

use harness_model::Subnet;

use crate::diagnostics::Finding;
use crate::scalars;
use crate::source::Span;
use crate::tree::{Key, Kind, Node};

use super::file::ComposeFile;
use super::keys::unsupported;
use super::nodes::{self, entries_of, section};
use super::strings::Strings;

/// A network that a service is on.
pub(crate) struct Join {
    /// Its name in the compose file.
    pub name: String,
    pub ipv4_address: Option<Ipv4Addr>,
    pub aliases: Vec<String>,
    pub definition: NetworkDefinition,
}

/// What a compose file says about a network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NetworkDefinition {
    /// Where it is written; `None`: it is implied.
    pub span: Option<Span>,
    /// Its name in the engine.
    pub engine_name: Option<String>,
    /// Whether it exists already and is not managed by this project.
    pub external: bool,
    /// Its addresses, in CIDR notation.
    pub subnet: Option<Subnet>,
}

/// The network of services that list no networks.
pub(crate) const DEFAULT: &str = "default";

/// Reads `networks` of a service.
pub(super) fn joins(
    strings: Strings<'_>,
    file: &ComposeFile,
    node: Option<&Node>,
    at: Span,
    said: &mut Vec<Finding>,
) -> Vec<Join> {
    let mut out = Vec::new();
    match node.map(|node| &node.kind) {
        Some(Kind::List(items)) => {
            for item in items {
                if let Some(name) = strings.plain(item, said) {
                    out.extend(join(strings, file, &name, item.span, None, said));
                }
            }
        }
        Some(Kind::Map(entries)) => {
            for (key, value) in entries {
                out.extend(join(strings, file, &key.name, key.span, Some(value), said));
            }
        }
        Some(Kind::Null) | None => {}
        Some(_) => said.extend(node.map(|node| {
            Finding::error(
                node.span,
                format!("`networks` must be a list or a map, found {}", node.describe()),
            )
        })),
    }
    if out.is_empty() {
        out.extend(join(strings, file, DEFAULT, at, None, said));
    }
    out
}

fn join(
    strings: Strings<'_>,
    file: &ComposeFile,
    name: &str,
    span: Span,
    keys: Option<&Node>,
    said: &mut Vec<Finding>,
) -> Option<Join> {
    let definition = match file.network(name) {
        Some((key, node)) => definition(strings, key, node, said),
        None if name == DEFAULT => NetworkDefinition::default(),
        None => {
            said.push(
                Finding::error(span, format!("the compose file has no network `{name}`"))
                    .help(format!("write `{name}:` under its `networks`")),
            );
            return None;
        }
    };
    let mut join = Join {
        name: name.to_owned(),
        ipv4_address: None,
        aliases: Vec::new(),
        definition,
    };
    for (key, value) in keys.map_or(&[][..], |keys| section(keys, said)) {
        match key.name.as_str() {
            "ipv4_address" => {
                let text = strings.plain(value, said)?;
                join.ipv4_address = text.parse().ok();
                if let Err(finding) = check_address(&join, &text, value.span) {
                    said.push(finding);
                }
            }
            "aliases" => match &value.kind {
                Kind::List(items) => {
                    join.aliases
                        .extend(items.iter().filter_map(|item| strings.plain(item, said)));
                }
                _ => said.push(Finding::error(value.span, "`aliases` must be a list")),
            },
            other if other.starts_with("x-") => {}
            _ => said.push(unsupported(key, "a network", "")),
        }
    }
    Some(join)
}

fn check_address(join: &Join, text: &str, span: Span) -> Result<(), Finding> {
    let Some(address) = join.ipv4_address else {
        return Err(Finding::error(span, format!("`{text}` is not an IPv4 address")));
    };
    let name = &join.name;
    match join.definition.subnet {
        _ if join.definition.external => Ok(()),
        None => Err(Finding::error(
            span,
            format!("an address on `{name}` needs the subnet of that network"),
        )
        .help(format!("write `ipam: {{config: [{{subnet: …}}]}}` for `{name}`"))),
        Some(subnet) if subnet.contains(IpAddr::V4(address)) => Ok(()),
        Some(subnet) => Err(Finding::error(
            span,
            format!("`{address}` is not in the subnet {subnet} of `{name}`"),
        )),
    }
}

fn definition(strings: Strings<'_>, key: &Key, node: &Node, said: &mut Vec<Finding>) -> NetworkDefinition {
    let mut out = NetworkDefinition {
        span: Some(key.span),
        ..NetworkDefinition::default()
    };
    for (name, value) in section(node, said) {
        match name.name.as_str() {
            "name" => out.engine_name = strings.plain(value, said),
            "external" => match &value.kind {
                Kind::Map(_) => {
                    out.external = true;
                    out.engine_name = value.get("name").and_then(|name| strings.plain(name, said));
                }
                _ => out.external = strings.flag(value, said),
            },
            "driver" if matches!(strings.plain(value, said).as_deref(), Some("bridge" | "default")) => {}
            "driver" => said.push(
                Finding::error(value.span, "this network driver is not supported")
                    .help("use `bridge`, or create the network yourself and write `external: true`"),
            ),
            "ipam" => out.subnet = ipam(strings, value, said),
            "attachable" | "internal" | "enable_ipv6" if matches!(value.kind, Kind::Bool(false)) => {}
            other if other.starts_with("x-") => {}
            _ => said.push(
                Finding::error(
                    name.span,
                    format!("`{}` of a network is not supported", name.name),
                )
                .help("remove it, or create the network yourself and write `external: true`"),
            ),
        }
    }
    if out.external && out.engine_name.is_none() {
        out.engine_name = Some(key.name.clone());
    }
    out
}

/// The subnet of `ipam`.
fn ipam(strings: Strings<'_>, node: &Node, said: &mut Vec<Finding>) -> Option<Subnet> {
    let mut subnet = None;
    for (name, value) in section(node, said) {
        match (name.name.as_str(), &value.kind) {
            ("driver", _) if strings.plain(value, said).as_deref() == Some("default") => {}
            ("config", Kind::List(configs)) => {
                for config in configs {
                    if let Some(other) = address_range(strings, config, said) {
                        if subnet.is_some() {
                            said.push(Finding::error(
                                config.span,
                                "several subnets of a network are not supported",
                            ));
                        }
                        subnet = Some(other);
                    }
                }
            }
            _ => said.push(unsupported(name, "`ipam`", "")),
        }
    }
    subnet
}

fn address_range(strings: Strings<'_>, config: &Node, said: &mut Vec<Finding>) -> Option<Subnet> {
    let written = config.get("subnet")?;
    let text = strings.plain(written, said)?;
    let subnet = scalars::subnet(&text).filter(|subnet| subnet.address().is_ipv4());
    let Some(subnet) = subnet else {
        said.push(
            Finding::error(written.span, format!("`{text}` is not an IPv4 subnet"))
                .help("write an address and a prefix length, as in `192.168.1.0/24`"),
        );
        return None;
    };
    let first = subnet.hosts().next().unwrap_or(subnet.address());
    for (name, value) in entries_of(config) {
        let text = nodes::scalar(value);
        match name.name.as_str() {
            "subnet" => {}
            "gateway" if text.as_deref() == Some(&first.to_string()) => {}
            "gateway" => said.push(unsupported(
                name,
                "`ipam`",
                &format!("leave it out: it is the first address, {first}"),
            )),
            _ => said.push(unsupported(name, "`ipam`", "")),
        }
    }
    Some(subnet)
}

/// Whether a service says which networks it is on.
pub(super) fn is_written(service: &Node) -> bool {
    service
        .get("networks")
        .is_some_and(|node| nodes::scalar(node).is_none() && !matches!(node.kind, Kind::Null))
}

//! `networks` and their nodes.

use std::collections::HashSet;

use harness_model::Subnet;
use harness_model::spec::{NetworkKind, NetworkSpec, NodeSpec};

use super::paths;
use crate::compose::NetworkDefinition;
use crate::diagnostics::Finding;
use crate::fields::Fields;
use crate::keys::{NETWORK, NODE};
use crate::read::{Reader, Text};
use crate::scalars;
use crate::source::Span;
use crate::tree::Node;

/// A network and where it is written. The span is `None` for a network that is implied.
pub(crate) struct DraftNetwork {
    pub spec: NetworkSpec,
    pub span: Option<Span>,
    /// The definition in a compose file, if it comes from one.
    pub compose: Option<NetworkDefinition>,
}

impl DraftNetwork {
    /// The network `local`, which exists without being written.
    pub(super) fn implied() -> Self {
        Self {
            spec: NetworkSpec::local(),
            span: None,
            compose: None,
        }
    }

    /// A network of a compose file.
    pub(super) fn of_compose(definition: &NetworkDefinition) -> Self {
        let mut draft = Self::implied();
        draft.spec.subnet = definition.subnet;
        draft.span = definition.span;
        draft.compose = Some(definition.clone());
        draft
    }

    /// Whether it is the same as this definition of a compose file. Two files may have the same network.
    pub(super) fn is_of_compose(&self, definition: &NetworkDefinition) -> bool {
        let same = |mine: &NetworkDefinition| {
            mine.subnet == definition.subnet && mine.engine_name == definition.engine_name
        };
        self.compose.as_ref().is_some_and(same)
    }
}

/// Reads a network. Leaves out the parts that are wrong.
pub(super) fn lower(reader: Reader<'_>, name: &str, name_span: Span, node: &Node) -> DraftNetwork {
    let mut draft = DraftNetwork::implied();
    draft.span = Some(name_span);
    let Some(fields) = Fields::open(reader, &NETWORK, node) else {
        return draft;
    };
    fields.check_keys(&format!("network `{name}`"), name_span, None);
    let spec = &mut draft.spec;
    spec.kind = match fields.choice("type") {
        Some("lan") => NetworkKind::Lan,
        Some("wireguard") => NetworkKind::Wireguard,
        _ => NetworkKind::Local,
    };
    let type_known = fields.has("type");
    if name == "local" && type_known && spec.kind != NetworkKind::Local {
        reader.report(
            Finding::error(
                fields.key_span("type"),
                "the network `local` is this machine, so its type must be `local`",
            )
            .help("give the network another name"),
        );
    }
    let subnet = fields.text("subnet").and_then(|text| lower_subnet(reader, &text));
    spec.subnet = subnet;
    if let Some(path) = fields.path("config_path") {
        if type_known && spec.kind != NetworkKind::Wireguard {
            reader.report(Finding::error(
                fields.key_span("config_path"),
                "only a network of type `wireguard` has a `config_path`",
            ));
        }
        spec.config_path = Some(paths::local(&reader, &path));
    }
    let nodes = fields.items("nodes");
    if !nodes.is_empty() && type_known && spec.kind == NetworkKind::Local {
        reader.report(
            Finding::error(
                fields.key_span("nodes"),
                "a network of type `local` is this machine and has no nodes",
            )
            .help("use type `lan` or `wireguard`"),
        );
    }
    let (mut hosts, mut names) = (HashSet::new(), HashSet::new());
    for node in nodes {
        if let Some((node, host)) = lower_node(reader, node, subnet) {
            let new_host = hosts.insert(node.host.clone());
            let new_name = node.name.clone().is_none_or(|name| names.insert(name));
            if !(new_host && new_name) {
                reader.report(Finding::error(
                    host.span,
                    "this node has the same host or name as an earlier one",
                ));
            }
            spec.nodes.push(node);
        }
    }
    draft
}

fn lower_subnet(reader: Reader<'_>, text: &Text) -> Option<Subnet> {
    let subnet = scalars::subnet(&text.value);
    if subnet.is_none() {
        reader.report(
            Finding::error(text.span, format!("`{}` is not a subnet", text.value))
                .help("write an address and a prefix length, as in `192.168.1.0/24`"),
        );
    }
    subnet
}

fn lower_node(reader: Reader<'_>, node: &Node, subnet: Option<Subnet>) -> Option<(NodeSpec, Text)> {
    let fields = Fields::open(reader, &NODE, node)?;
    fields.check_keys("a node", node.span, None);
    let name = fields.text("name");
    let ssh_user = fields.text("ssh_user").map(|text| text.value);
    let ssh_key = fields.path("ssh_key").map(|text| paths::local(&reader, &text));
    let ssh_port = fields.whole_u16("ssh_port");
    let package_deploy = fields.bool("package_deploy").unwrap_or(true);
    let host = fields.text("host")?;
    if !scalars::is_host(&host.value) {
        let help = host
            .value
            .contains(['@', ':'])
            .then(|| "the user and port have their own keys, `ssh_user` and `ssh_port`".to_owned());
        reader.report(Finding::error(host.span, format!("`{}` is not a host", host.value)).maybe_help(help));
        return None;
    }
    if let (Some(subnet), Ok(address)) = (subnet, host.value.parse())
        && !subnet.contains(address)
    {
        reader.report(Finding::warning(
            host.span,
            format!("`{}` is not in the network's subnet {subnet}", host.value),
        ));
    }
    let spec = NodeSpec {
        host: host.value.clone(),
        name: name.map(|text| text.value),
        ssh_user,
        ssh_key,
        ssh_port,
        package_deploy,
    };
    Some((spec, host))
}

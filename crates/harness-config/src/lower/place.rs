//! Where a service runs: this machine, or a node of its network.

use std::collections::BTreeMap;

use harness_model::NetworkName;
use harness_model::spec::{NetworkKind, NodeSpec, Place};

use super::DraftNetwork;
use crate::diagnostics::Finding;
use crate::fields::Fields;
use crate::read::Text;
use crate::source::Span;
use crate::suggest::{did_you_mean, listed};

/// A service's network, and its place on it. Each is `None` if there is a mistake in it.
pub(super) fn lower(
    fields: &Fields<'_>,
    service_type: &str,
    name_span: Span,
    networks: &BTreeMap<NetworkName, DraftNetwork>,
) -> (Option<NetworkName>, Option<Place>) {
    let reader = fields.reader;
    let host = fields.text("host");
    let written = fields.text("network");
    let (name, span) = match &written {
        Some(text) => (text.value.as_str(), text.span),
        None if fields.has("network") => return (None, None),
        None => ("local", name_span),
    };
    let Some((name, network)) = networks.get_key_value(name) else {
        let names = || networks.keys().map(NetworkName::as_str);
        let help = reader.context.advice(|| {
            did_you_mean(name, names())
                .unwrap_or_else(|| format!("the networks are {}", listed(names(), "none")))
        });
        reader.report(Finding::error(span, format!("there is no network `{name}`")).maybe_help(help));
        return (None, None);
    };
    let place = if fields.has("host") && host.is_none() {
        None
    } else if network.spec.kind == NetworkKind::Local {
        on_this_machine(fields, service_type, name, span, host)
    } else {
        on_a_node(fields, service_type, name, span, &network.spec.nodes, host)
    };
    (Some(name.clone()), place)
}

fn on_this_machine(
    fields: &Fields<'_>,
    service_type: &str,
    network: &NetworkName,
    span: Span,
    host: Option<Text>,
) -> Option<Place> {
    if matches!(service_type, "remote" | "package") {
        fields.reader.report(
            Finding::error(
                span,
                format!(
                    "a {service_type} service needs a network with nodes, but `{network}` is this machine"
                ),
            )
            .help("give it a `network` of type `lan` or `wireguard`"),
        );
        return None;
    }
    if let Some(host) = host {
        fields.reader.report(
            Finding::error(
                host.span,
                format!("the network `{network}` is this machine and has no hosts"),
            )
            .help("leave `host` out, or give a `network` of type `lan` or `wireguard`"),
        );
        return None;
    }
    Some(Place::Here)
}

fn on_a_node(
    fields: &Fields<'_>,
    service_type: &str,
    network: &NetworkName,
    span: Span,
    nodes: &[NodeSpec],
    host: Option<Text>,
) -> Option<Place> {
    let reader = fields.reader;
    if !matches!(service_type, "process" | "remote" | "package") {
        reader.report(
            Finding::error(
                span,
                format!("a {service_type} service cannot run on a node yet, but `{network}` has only nodes"),
            )
            .help("give it the network `local`"),
        );
        return None;
    }
    let all = || {
        let names = nodes
            .iter()
            .map(|node| node.name.as_deref().unwrap_or(&node.host));
        listed(names, "none")
    };
    let node = match (&host, nodes) {
        (_, []) => {
            reader.report(
                Finding::error(span, format!("the network `{network}` has no nodes to run on"))
                    .help("list its hosts under `nodes`"),
            );
            return None;
        }
        (Some(host), nodes) => {
            let called =
                |node: &&NodeSpec| node.host == host.value || node.name.as_deref() == Some(&host.value);
            let Some(node) = nodes.iter().find(called) else {
                let names = nodes
                    .iter()
                    .flat_map(|node| node.name.as_deref().into_iter().chain([node.host.as_str()]));
                let help =
                    did_you_mean(&host.value, names).unwrap_or_else(|| format!("its nodes are {}", all()));
                reader.report(
                    Finding::error(
                        host.span,
                        format!("the network `{network}` has no host `{}`", host.value),
                    )
                    .help(help),
                );
                return None;
            };
            node
        }
        (None, [node]) => node,
        (None, _) => {
            reader.report(
                Finding::error(
                    span,
                    format!("the network `{network}` has several nodes, so `host` is needed"),
                )
                .help(format!("one of {}", all())),
            );
            return None;
        }
    };
    if service_type == "package" && !node.package_deploy {
        reader.report(Finding::error(
            host.map_or(span, |host| host.span),
            format!("the node `{}` has `package_deploy: false`", node.host),
        ));
        return None;
    }
    Some(Place::Node(node.host.clone()))
}

//! Finds networks without services, and ports that two services want.

use std::collections::HashMap;

use harness_model::NetworkName;

use crate::diagnostics::Finding;
use crate::lower::{DraftPort, DraftProject, DraftService};
use crate::read::Context;

/// Warns of networks that no service of any profile is on.
pub(super) fn networks(context: &Context<'_>, project: &DraftProject) {
    for (name, network) in &project.networks {
        let used = project
            .services
            .values()
            .any(|draft| draft.network.as_ref() == Some(name));
        if let Some(span) = network.span
            && network.compose.is_none()
            && !used
            && *name != NetworkName::local()
        {
            context.report(
                Finding::warning(span, format!("no service is on the network `{name}`")).help(format!(
                    "write `network: {name}` in the services that belong there"
                )),
            );
        }
    }
}

/// Refuses two services that would listen on the same port of the same address of the same host.
pub(super) fn ports(context: &Context<'_>, project: &DraftProject) {
    let listening: Vec<(&str, &DraftService, &DraftPort)> = project
        .services
        .iter()
        // A oneshot has released its port before the next service needs it.
        .filter(|(_, draft)| draft.active && !draft.oneshot && !has_address_of_its_own(project, draft))
        .flat_map(|(name, draft)| draft.ports.iter().map(move |port| (name.as_str(), draft, port)))
        .filter(|(_, _, port)| port.spec.port != 0)
        .collect();
    let mut before: HashMap<_, Vec<(&str, &DraftPort)>> = HashMap::new();
    for (name, draft, port) in listening {
        let others = before
            .entry((&draft.place, port.spec.port, port.spec.protocol))
            .or_default();
        let same = |(other_name, other_port): &&(&str, &DraftPort)| {
            *other_name != name && same_address(other_port, port)
        };
        if let Some((other, other_port)) = others.iter().find(same) {
            context.report(
                Finding::error(
                    port.span,
                    format!("`{name}` and `{other}` both want port {}", port.spec.port),
                )
                .help("give one of them another port")
                .related(other_port.span, format!("port of `{other}`")),
            );
        }
        others.push((name, port));
    }
}

/// Whether processes on this network get their own addresses from a pool, so that equal ports do not conflict.
fn has_address_of_its_own(project: &DraftProject, draft: &DraftService) -> bool {
    draft
        .network
        .as_ref()
        .and_then(|name| project.networks.get(name))
        .and_then(|network| network.spec.subnet)
        .is_some_and(|subnet| subnet.address().is_loopback())
}

fn same_address(a: &DraftPort, b: &DraftPort) -> bool {
    let address = |port: &DraftPort| {
        port.spec
            .host_ip
            .clone()
            .unwrap_or_else(|| "127.0.0.1".to_owned())
    };
    let (a, b) = (address(a), address(b));
    a == b
        || [&a, &b]
            .iter()
            .any(|address| matches!(address.as_str(), "0.0.0.0" | "::"))
}

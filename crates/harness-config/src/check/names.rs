//! Finds containers with the same name on the same network.

use std::collections::BTreeMap;

use harness_model::spec::Kind;

use crate::diagnostics::Finding;
use crate::lower::{DraftProject, DraftService};
use crate::read::Context;

/// Warns about a name on a network that several services have. A lookup then returns any one of them.
pub(super) fn check(context: &Context<'_>, project: &DraftProject) {
    let mut known: BTreeMap<(String, String), (&str, &DraftService)> = BTreeMap::new();
    for (service, draft) in &project.services {
        let Some(Kind::Container(docker)) = draft.spec.as_ref().map(|spec| &spec.kind) else {
            continue;
        };
        let own = |network: &str| (network.to_owned(), service.as_str().to_owned());
        let mut names: Vec<(String, String)> = draft
            .network
            .iter()
            .map(|network| own(network.as_str()))
            .collect();
        for attachment in &docker.networks {
            let network = attachment.network.as_str();
            names.push(own(network));
            names.extend(
                attachment
                    .aliases
                    .iter()
                    .map(|alias| (network.to_owned(), alias.clone())),
            );
        }
        names.sort();
        names.dedup();
        for name in names {
            if let Some((other, other_draft)) = known.get(&name) {
                let (network, alias) = &name;
                context.report(
                    Finding::warning(
                        draft.name_span,
                        format!("`{service}` and `{other}` are both found as `{alias}` on `{network}`"),
                    )
                    .help("put one of them on another network, or remove one")
                    .related(other_draft.name_span, format!("`{other}`")),
                );
                continue;
            }
            known.insert(name, (service.as_str(), draft));
        }
    }
}

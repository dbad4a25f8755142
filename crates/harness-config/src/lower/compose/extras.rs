//! What a service of a compose file has that no key of a docker service can express: several networks, names in the
//! engine.

use std::collections::BTreeMap;
use std::collections::btree_map;

use harness_model::NetworkName;
use harness_model::spec::{DockerSpec, NetworkAttachment, VolumeName};

use super::choose::Chosen;
use crate::compose::{Join, Translated};
use crate::diagnostics::Finding;
use crate::lower::DraftNetwork;
use crate::read::Reader;

/// The values that come in addition to the keys.
#[derive(Debug, Clone, Default)]
pub(in crate::lower) struct Extras {
    /// Its name in the compose file, if it has another name here.
    alias: Option<String>,
    /// Its networks, beginning with the one where other services reach it. Empty: the project's own network.
    attachments: Vec<NetworkAttachment>,
    volume_names: BTreeMap<String, VolumeName>,
    no_health_check: bool,
}

impl Extras {
    /// The extras of a translation, and the network where other services reach the service, if that is not the
    /// project's own. Adds the networks to those of the project.
    pub(super) fn of(
        reader: Reader<'_>,
        one: &Chosen<'_>,
        translated: &Translated,
        networks: &mut BTreeMap<NetworkName, DraftNetwork>,
    ) -> (Self, Option<NetworkName>) {
        let own = |key: &str| one.own.is_some_and(|own| own.get(key).is_some());
        let mut out = Self {
            alias: (one.name.as_str() != one.service).then(|| one.service.clone()),
            attachments: Vec::new(),
            volume_names: translated.volume_names.clone(),
            no_health_check: translated.no_health_check && !own("health_check"),
        };
        if own("network") {
            return (out, None);
        }
        for join in &translated.joins {
            out.attachments.extend(attachment(reader, join, networks));
        }
        match out.attachments.iter().position(|attachment| !attachment.external) {
            Some(first) => out.attachments[..=first].rotate_right(1),
            // The service must have an address that the daemon knows.
            None => out
                .attachments
                .insert(0, NetworkAttachment::plain(NetworkName::local())),
        }
        for attachment in &mut out.attachments {
            attachment.aliases.extend(out.alias.clone());
        }
        let first = out.attachments[0].network.clone();
        if out.attachments == [NetworkAttachment::plain(NetworkName::local())] {
            out.attachments.clear();
        }
        (out, (first != NetworkName::local()).then_some(first))
    }

    /// Puts the extras into a specification. `network` is the network that the service is on.
    pub(in crate::lower) fn apply(self, docker: &mut DockerSpec, network: &NetworkName) {
        docker.networks = self.attachments;
        if docker.networks.is_empty()
            && let Some(alias) = self.alias
        {
            let mut attachment = NetworkAttachment::plain(network.clone());
            attachment.aliases.push(alias);
            docker.networks.push(attachment);
        }
        docker.volume_names = self.volume_names;
        docker.no_image_health_check = self.no_health_check;
    }
}

fn attachment(
    reader: Reader<'_>,
    join: &Join,
    networks: &mut BTreeMap<NetworkName, DraftNetwork>,
) -> Option<NetworkAttachment> {
    let definition = &join.definition;
    let mut out = NetworkAttachment::plain(NetworkName::local());
    out.ipv4_address = join.ipv4_address;
    out.aliases.clone_from(&join.aliases);
    let Some(span) = definition.span else {
        return Some(out);
    };
    out.network = match NetworkName::new(&join.name) {
        Ok(name) => name,
        Err(error) => {
            reader.report(Finding::error(span, error.to_string()));
            return None;
        }
    };
    out.engine_name.clone_from(&definition.engine_name);
    out.external = definition.external;
    if out.external {
        return Some(out);
    }
    match networks.entry(out.network.clone()) {
        btree_map::Entry::Vacant(entry) => {
            entry.insert(DraftNetwork::of_compose(definition));
        }
        btree_map::Entry::Occupied(entry) if entry.get().is_of_compose(definition) => {}
        btree_map::Entry::Occupied(entry) => {
            let mut finding =
                Finding::error(span, format!("the project has another network `{}`", out.network))
                    .help("rename one of them");
            if let Some(other) = entry.get().span {
                finding = finding.related(other, "the other one");
            }
            reader.report(finding);
        }
    }
    Some(out)
}

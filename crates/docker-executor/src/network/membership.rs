//! How a container is connected to each of its networks.

use std::net::IpAddr;

use bollard::models::{EndpointIpamConfig, EndpointSettings, NetworkConnectRequest};
use harness_model::spec::{Kind, NetworkAttachment};
use service_orchestration::executor::Order;
use service_registry::address::Attached;

use crate::engine::{Engine, EngineError};

/// A network that a container is on.
#[derive(Debug, Clone)]
pub(crate) struct Membership {
    /// The engine's name of it.
    pub(crate) engine_name: String,
    /// If the network is the project's: the network and the container's address on it. `None` if it belongs to
    /// somebody else.
    pub(crate) own: Option<Attached>,
    /// The container's address there.
    ip: Option<IpAddr>,
    /// The names under which the container is found there.
    aliases: Vec<String>,
}

impl Membership {
    /// In the form of the engine's API.
    pub(crate) fn endpoint(&self) -> EndpointSettings {
        EndpointSettings {
            ipam_config: self.ip.map(|ip| EndpointIpamConfig {
                ipv4_address: Some(ip.to_string()),
                ..EndpointIpamConfig::default()
            }),
            aliases: Some(self.aliases.clone()),
            ..EndpointSettings::default()
        }
    }
}

/// The networks of an order's container: those of the project, the first one first, and then those of others.
pub(crate) fn of(order: &Order) -> Vec<Membership> {
    let attachments = match &order.spec.kind {
        Kind::Container(docker) => docker.networks.as_slice(),
        _ => &[],
    };
    let aliases = |attachment: Option<&NetworkAttachment>| {
        let more = attachment.map(|attachment| attachment.aliases.clone());
        let mut all = vec![order.service.as_str().to_owned()];
        all.extend(more.unwrap_or_default());
        all
    };
    let own = order.own.networks().map(|own| {
        let attachment = attachments
            .iter()
            .find(|attachment| attachment.network == own.network);
        let engine_name = attachment.and_then(|attachment| attachment.engine_name.clone());
        Membership {
            engine_name: engine_name.unwrap_or_else(|| format!("{}_{}", order.project, own.network)),
            ip: Some(own.ip),
            aliases: aliases(attachment),
            own: Some(own.clone()),
        }
    });
    let external = attachments.iter().filter(|attachment| attachment.external);
    let external = external.map(|attachment| Membership {
        engine_name: attachment
            .engine_name
            .clone()
            .unwrap_or_else(|| attachment.network.as_str().to_owned()),
        own: None,
        ip: attachment.ipv4_address.map(IpAddr::V4),
        aliases: aliases(Some(attachment)),
    });
    own.chain(external).collect()
}

/// Connects a container that was created on its first network to the others. Engines take one network at a time.
pub(crate) async fn join_others(
    engine: &Engine,
    id: &str,
    memberships: &[Membership],
) -> Result<(), EngineError> {
    for membership in memberships.iter().skip(1) {
        let request = NetworkConnectRequest {
            container: id.to_owned(),
            endpoint_config: Some(membership.endpoint()),
        };
        let name = &membership.engine_name;
        engine
            .ask("join", &format!("network {name}"), |docker| async move {
                docker.connect_network(name, request).await
            })
            .await?;
    }
    Ok(())
}

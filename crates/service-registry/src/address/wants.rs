//! The addresses that a service wants. Its executor says it; nobody here looks into a kind.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use harness_model::spec::NetworkAttachment;
use harness_model::{NetworkName, ServiceName};

/// The addresses that a service wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wants {
    /// It listens on this machine: at an address of its own if its network is a pool of loopback addresses, else at the
    /// one that all share.
    Local,
    /// An address of its own on each of these networks, the first one first, in a network namespace of its own. Its ports
    /// are published on this machine.
    Container(Vec<Join>),
    /// Nothing: nobody reaches it by an address, and it has no ports.
    Nothing,
    /// It is not run by this daemon, so it gets no addresses here.
    Elsewhere,
}

/// What each service of a plan wants.
pub type PlanWants = BTreeMap<ServiceName, Wants>;

/// A network of the project that a container wants to be on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// The network.
    pub network: NetworkName,
    /// The address that it must have there; `None`: one is chosen.
    pub ip: Option<Ipv4Addr>,
}

impl Wants {
    /// What a container on this network of the project wants, with these attachments if it has any. Engines give the
    /// addresses on networks outside the project.
    pub fn container(own: &NetworkName, attachments: &[NetworkAttachment]) -> Self {
        let inside = |attachment: &&NetworkAttachment| !attachment.external;
        let mut joins: Vec<Join> = attachments
            .iter()
            .filter(inside)
            .map(|attachment| Join {
                network: attachment.network.clone(),
                ip: attachment.ipv4_address,
            })
            .collect();
        // A container that is only on external networks still gets an address on the project's own network.
        if joins.is_empty() {
            joins.push(Join {
                network: own.clone(),
                ip: None,
            });
        }
        Self::Container(joins)
    }
}

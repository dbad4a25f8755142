//! `env`: the addresses of a project as environment variables, as this machine reaches its services.

use std::collections::BTreeMap;

use harness_wire::message::{EnvReport, EnvRequest, Response};
use service_registry::address;

use super::{Answer, Context};

pub(super) async fn env(context: &Context, request: &EnvRequest) -> Answer {
    let project = context.changed(&request.project).await?;
    let addresses: BTreeMap<_, _> = context
        .registry
        .services(&project.name)
        .iter()
        .map(|record| (record.name.clone(), record.addresses.clone()))
        .collect();
    Ok(Response::Env(EnvReport {
        variables: address::environment(&address::Place::here(), &addresses),
    }))
}

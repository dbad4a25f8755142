//! `status`: the state of a project's services, from the registry only.

use harness_model::WallTime;
use harness_wire::message::{Response, StatusReport, StatusRequest};

use super::{Answer, Context};
use crate::convert;

pub(super) async fn status(context: &Context, request: &StatusRequest) -> Answer {
    let project = context.looked_at(&request.project).await?;
    let now = WallTime::steady();
    let records = context.services(&project.name, &request.services)?;
    let services = records.iter().map(|record| convert::view(record, now)).collect();
    Ok(Response::Status(StatusReport {
        project: project.name.clone(),
        services,
        groups: context.groups(&project.name),
    }))
}

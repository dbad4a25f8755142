//! `graph`: which services depend on which, and whether the conditions hold now.

use std::collections::BTreeMap;
use std::sync::Arc;

use harness_model::spec::Condition;
use harness_model::{Health, ServiceName, ServiceState, WallTime};
use harness_wire::message::{Graph, GraphEdge, GraphNode, GraphRequest, Response};
use service_registry::record::ServiceRecord;

use super::{Answer, Context};
use crate::convert;

type Records = BTreeMap<ServiceName, Arc<ServiceRecord>>;

pub(super) async fn graph(context: &Context, request: &GraphRequest) -> Answer {
    let project = context.looked_at(&request.project).await?;
    let records: Records = context
        .registry
        .services(&project.name)
        .into_iter()
        .map(|r| (r.name.clone(), r))
        .collect();
    let now = WallTime::steady();
    let mut depths = BTreeMap::new();
    let nodes = records
        .values()
        .map(|record| GraphNode {
            view: convert::view(record, now),
            depth: depth(&record.name, &records, &mut depths),
        })
        .collect();
    let edges = records
        .values()
        .flat_map(|record| {
            record.spec.dependencies.iter().map(|dependency| GraphEdge {
                from: record.name.clone(),
                to: dependency.service.clone(),
                condition: label(&dependency.condition).into(),
                holds: records
                    .get(&dependency.service)
                    .is_some_and(|to| holds(&dependency.condition, to)),
            })
        })
        .collect();
    Ok(Response::Graph(Graph {
        project: project.name.clone(),
        nodes,
        edges,
    }))
}

/// The length of the longest chain of dependencies of a service. Files have no cycles; a cycle in a record would
/// count as 0.
fn depth(name: &ServiceName, records: &Records, known: &mut BTreeMap<ServiceName, u32>) -> u32 {
    if let Some(depth) = known.get(name) {
        return *depth;
    }
    known.insert(name.clone(), 0);
    let dependencies = records
        .get(name)
        .map(|record| record.spec.dependencies.as_slice())
        .unwrap_or_default();
    let depth = dependencies
        .iter()
        .map(|d| depth(&d.service, records, known) + 1)
        .max()
        .unwrap_or(0);
    known.insert(name.clone(), depth);
    depth
}

/// The condition as written in a file. `ready` is the default where the image decides.
pub(super) fn label(condition: &Condition) -> String {
    match condition {
        Condition::Started => "started".to_owned(),
        Condition::Ready => "ready".to_owned(),
        Condition::Healthy => "healthy".to_owned(),
        Condition::Completed => "completed".to_owned(),
        Condition::Log(pattern) => format!("log /{pattern}/"),
        Condition::None => "none".to_owned(),
    }
}

fn holds(condition: &Condition, to: &ServiceRecord) -> bool {
    match condition {
        Condition::Started | Condition::Log(_) => {
            matches!(
                to.state,
                ServiceState::Starting | ServiceState::Running | ServiceState::Completed
            )
        }
        Condition::Ready => {
            to.state == ServiceState::Completed || to.state == ServiceState::Running && to.ready
        }
        Condition::Healthy => to.state == ServiceState::Running && to.health == Health::Healthy,
        Condition::Completed => to.state == ServiceState::Completed,
        Condition::None => true,
    }
}

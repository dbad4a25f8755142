//! Converts between the domain and the wire. This is the only place that does.

use std::collections::BTreeMap;
use std::time::Duration;

use command_executor::boot_clock::since_boot;
use harness_model::{ProjectName, ServiceName, ServiceState, WallTime};
use harness_wire::message::{
    Change, ChangeEvent, ChangeKind, ErrorBody, ErrorCode, PathStep, PlanStep, PortConflict, PortView,
    Progress, ProgressPhase, ProjectState, ServiceView, WaitingFor,
};
use service_orchestration::actor::{OrderError, PlannedChange};
use service_orchestration::machine::{self, Timing};
use service_registry::address::AddressError;
use service_registry::record::{ProjectRecord, ServiceRecord};

use crate::home;

/// A service as clients see it. `now` is from [`WallTime::steady`].
pub fn view(record: &ServiceRecord, now: WallTime) -> ServiceView {
    let live = record.state.is_live();
    ServiceView {
        name: record.name.clone(),
        kind: record.spec.type_name().to_owned(),
        status: record.state,
        health: record.health,
        network: record.spec.network.to_string(),
        host: host(record).into(),
        ports: record
            .addresses
            .ports
            .iter()
            .map(|port| PortView {
                name: port.name.clone(),
                host_ip: port.host_ip.to_string(),
                port: port.port,
                target: port.target,
                protocol: port.protocol,
            })
            .collect(),
        pid: record.pid.filter(|_| live),
        uptime_s: uptime(record, now).filter(|_| live).map(|up| up.as_secs()),
        restarts: record.restarts,
        retry_in_s: record.retry_at.map(|at| at.since(now).as_secs_f64()),
        exit_code: record
            .exit
            .filter(|_| !live)
            .and_then(harness_model::ExitStatus::code),
        signal: record
            .exit
            .filter(|_| !live)
            .and_then(harness_model::ExitStatus::signal),
        error: record.error.as_deref().map(Into::into),
        in_file: record.in_file,
    }
}

/// How long its newest process had been running at `now`, which is from [`WallTime::steady`].
fn uptime(record: &ServiceRecord, now: WallTime) -> Option<Duration> {
    let up_since = Duration::from_nanos(record.up_since_ns?);
    let ago = WallTime::steady().since(now);
    Some(since_boot().saturating_sub(up_since).saturating_sub(ago))
}

/// The name for people of the host where it runs. This machine is `localhost`, whatever loopback address the service
/// has.
fn host(record: &ServiceRecord) -> String {
    match record.spec.place.node() {
        Some(node) => node.to_owned(),
        None if record.addresses.ip().is_loopback() => "localhost".to_owned(),
        None => record.addresses.host.clone(),
    }
}

/// The progress of a service in a running operation. `began` is when the operation began; both times are from
/// [`WallTime::steady`].
pub fn progress(record: &ServiceRecord, change: Change, began: WallTime, now: WallTime) -> Progress {
    let reason = || match &record.error {
        Some(error) => error.clone(),
        None => record.state.to_string(),
    };
    let left = |at: Option<WallTime>| at.map_or(0, |at| millis(at.since(now)));
    let phase = match record.state {
        _ if record.ready => ProgressPhase::Ready { change },
        ServiceState::Pending => ProgressPhase::Waiting(
            record
                .waiting
                .iter()
                .map(|w| WaitingFor {
                    service: w.service.clone(),
                    condition: w.condition.clone().into(),
                })
                .collect(),
        ),
        ServiceState::Starting if record.doing.is_some() => ProgressPhase::Launching {
            doing: record.doing.as_deref().unwrap_or_default().into(),
        },
        ServiceState::Starting | ServiceState::Running | ServiceState::Unknown => ProgressPhase::Starting {
            last_probe: probe_line(record).map(Into::into),
            left_ms: left(record.startup_deadline),
        },
        ServiceState::Restarting => ProgressPhase::Retrying {
            reason: reason().into(),
            in_ms: left(record.retry_at),
        },
        ServiceState::Stopping => match &record.doing {
            Some(doing) => ProgressPhase::Ending {
                doing: doing.clone().into(),
            },
            None => ProgressPhase::Stopping,
        },
        ServiceState::Stopped => ProgressPhase::Stopped,
        ServiceState::Completed | ServiceState::Failed => ProgressPhase::Failed {
            reason: reason().into(),
        },
    };
    let passed = now.since(began);
    let elapsed = match uptime(record, now) {
        Some(up) if record.state != ServiceState::Pending => up.min(passed),
        _ => passed,
    };
    Progress {
        view: view(record, now),
        phase,
        elapsed_ms: millis(elapsed),
    }
}

/// The last probe and its result: `http localhost:8080/health: connection refused`.
pub fn probe_line(record: &ServiceRecord) -> Option<String> {
    let answer = record.last_probe.as_ref()?;
    let check = record.health_check()?;
    Some(format!("{}: {answer}", check.probe.describe()))
}

/// What an operation does to a service, with the differences in its spec.
pub fn change(change: machine::Change, differences: &[String]) -> Change {
    match change {
        machine::Change::Start => Change::Started,
        machine::Change::Unchanged => Change::Unchanged,
        machine::Change::Replace => {
            Change::Replaced(differences.iter().map(|what| what.as_str().into()).collect())
        }
        machine::Change::Restart => Change::Restarted,
        machine::Change::Stop => Change::Stopped,
    }
}

/// Converts a plan.
pub fn plan(steps: &[PlannedChange]) -> Vec<PlanStep> {
    steps
        .iter()
        .map(|step| PlanStep {
            service: step.service.clone(),
            change: change(step.change, &step.differences),
            after: step.after.clone(),
        })
        .collect()
}

/// Converts a change of the registry into an event.
pub fn change_event(change: &service_registry::Change) -> ChangeEvent {
    use service_registry::ChangeKind as Kind;
    ChangeEvent {
        sequence: change.sequence,
        time: change.time,
        project: change.project.clone(),
        service: change.service.clone(),
        kind: match change.kind {
            Kind::Registered => ChangeKind::Registered,
            Kind::Removed => ChangeKind::Removed,
            Kind::State => ChangeKind::State,
            Kind::Health => ChangeKind::Health,
            Kind::Adopted => ChangeKind::Adopted,
            Kind::Hook => ChangeKind::Hook,
            Kind::Project => ChangeKind::Project,
        },
        message: change.message.as_str().into(),
        view: change.record.as_ref().map(|record| view(record, change.time)),
    }
}

/// The chain of services that took the longest: from the last one that became ready, back through the dependency that
/// became ready last.
pub fn critical_path(
    timings: &BTreeMap<ServiceName, Timing>,
    records: &BTreeMap<ServiceName, std::sync::Arc<ServiceRecord>>,
) -> Vec<PathStep> {
    let done = |name: &ServiceName| {
        timings
            .get(name)
            .filter(|t| t.launched.is_some())
            .and_then(|t| t.done)
    };
    let mut path = Vec::new();
    let mut at = timings
        .keys()
        .filter(|name| done(name).is_some())
        .max_by_key(|name| done(name))
        .cloned();
    while let Some(name) = at {
        if let Some(Timing {
            launched: Some(launched),
            done: Some(done),
            ..
        }) = timings.get(&name)
        {
            path.push(PathStep {
                service: name.clone(),
                elapsed_ms: millis(done.since(*launched)),
            });
        }
        let dependencies = records
            .get(&name)
            .map(|record| record.spec.dependencies.as_slice());
        at = dependencies
            .unwrap_or_default()
            .iter()
            .map(|dependency| &dependency.service)
            .filter(|name| done(name).is_some())
            .max_by_key(|name| done(name))
            .cloned();
    }
    path.reverse();
    path
}

/// Converts a refusal of the orchestrator. `services` and `projects` are the known ones, for suggestions.
pub fn order_error(error: &OrderError, services: &[ServiceName], projects: &[ProjectName]) -> ErrorBody {
    let message = error.to_string();
    let (code, hint) = match error {
        OrderError::ShuttingDown => (ErrorCode::ShuttingDown, None),
        OrderError::NoSuchProject(_) => (ErrorCode::NoSuchProject(projects.to_vec()), None),
        OrderError::NoSuchService { service, .. } => return no_such_service(service.as_str(), services),
        OrderError::NameTaken { name, .. } => (
            ErrorCode::NameTaken,
            Some(format!(
                "give this project another name with `name:` or -p; or `harness -p {name} start` makes \
                    this file the one of `{name}`"
            )),
        ),
        OrderError::Unsupported(_) => (
            ErrorCode::Unsupported,
            Some(
                "nothing was started; start only the services that are supported: harness start SERVICE…"
                    .to_owned(),
            ),
        ),
        OrderError::Images(_) => (
            ErrorCode::Invalid,
            Some("nothing was started; list the port under `ports`, or fix the image".to_owned()),
        ),
        OrderError::GivenUp => (ErrorCode::Cancelled, None),
        OrderError::Address(AddressError::InUse { holder, .. }) if holder.is_no_longer_in_file => (
            ErrorCode::Invalid,
            Some("nothing was started; `harness start --prune` stops it first".to_owned()),
        ),
        OrderError::Address(_) => (
            ErrorCode::Invalid,
            Some("nothing was started; change the file and start again".to_owned()),
        ),
        OrderError::PortsTaken(conflicts) => {
            let conflicts = conflicts
                .iter()
                .map(|conflict| PortConflict {
                    service: conflict.service.clone(),
                    port: conflict.port,
                    protocol: conflict.protocol,
                    holder: conflict.holder.to_string().into(),
                    origin: conflict.origin.clone(),
                })
                .collect();
            (
                ErrorCode::PortsTaken(conflicts),
                Some("nothing was started".to_owned()),
            )
        }
        OrderError::StillUp { project, .. } => (
            ErrorCode::StillRunning,
            Some(format!("harness -p {project} stop --all")),
        ),
        OrderError::NotForgotten { source, .. } => (ErrorCode::Internal, home::remedy(source)),
        OrderError::NoRoom(no_room) => (ErrorCode::NoRoom, home::remedy(&no_room.source)),
        OrderError::DiskSilent { .. } => (ErrorCode::NotReached, Some("nothing was started".to_owned())),
        OrderError::Ports(_) => (ErrorCode::Internal, None),
    };
    ErrorBody { code, message, hint }
}

/// A project in a list.
pub fn project_summary(
    project: &ProjectRecord,
    services: &[std::sync::Arc<ServiceRecord>],
) -> harness_wire::message::ProjectSummary {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    harness_wire::message::ProjectSummary {
        name: project.name.clone(),
        source: project.source.clone(),
        services: count(services.len()),
        up: count(services.iter().filter(|record| record.state.is_live()).count()),
        state: project_state(services),
    }
}

fn project_state(services: &[std::sync::Arc<ServiceRecord>]) -> ProjectState {
    let wanted = || services.iter().filter(|record| record.wanted);
    if wanted().next().is_some() {
        return match wanted().all(|record| record.ready) {
            true => ProjectState::Up,
            false => ProjectState::Partly,
        };
    }
    match services.iter().any(|record| record.state.is_live()) {
        true => ProjectState::Partly,
        false => ProjectState::Stopped,
    }
}

/// The error for a name that is not a service, with the nearest one as a suggestion.
pub fn no_such_service(name: &str, services: &[ServiceName]) -> ErrorBody {
    let suggestion = nearest(name, services);
    let hint = match &suggestion {
        Some(near) => Some(format!("did you mean `{near}`?")),
        None if services.is_empty() => None,
        None => {
            let names: Vec<&str> = services.iter().map(ServiceName::as_str).collect();
            Some(format!("the services are: {}", names.join(", ")))
        }
    };
    ErrorBody {
        code: ErrorCode::NoSuchService {
            name: name.to_owned(),
            suggestion,
        },
        message: format!("there is no service `{name}`"),
        hint,
    }
}

fn nearest(name: &str, services: &[ServiceName]) -> Option<ServiceName> {
    services
        .iter()
        .map(|service| (strsim::damerau_levenshtein(name, service.as_str()), service))
        .filter(|(distance, service)| *distance <= (service.as_str().len().max(name.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, service)| service.clone())
}

/// Whole milliseconds.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

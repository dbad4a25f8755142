//! A daemon built with the builder, driven over its own protocol.

#![cfg(test)]

mod common;

use std::time::Duration;

use common::{Daemon, project, service};
use harness_core::{Action, ActionContext, ActionError, EventSink};
use harness_model::{Health, ServiceState};
use harness_wire::message::{ActionCall, Change, ErrorCode, Request, Response};

struct Double;

#[async_trait::async_trait]
impl Action for Double {
    const NAME: &'static str = "double";
    const DESCRIPTION: &'static str = "Doubles a number";
    type Input = u32;
    type Event = String;
    type Output = u32;

    async fn call(
        &self,
        _: &ActionContext,
        input: u32,
        events: EventSink<String>,
    ) -> Result<u32, ActionError> {
        events.send(&"doubling".to_owned()).await;
        Ok(input * 2)
    }
}

#[test]
fn actions_are_listed_and_called_with_checked_input() {
    let daemon = Daemon::start(|builder| builder.action(Double));
    let Response::Actions(actions) = daemon.ask(Request::Actions {}).unwrap() else {
        panic!()
    };
    let names: Vec<&str> = actions.iter().map(|a| a.name.as_str()).collect();
    assert_eq!(names, ["double"]);
    assert_eq!(actions[0].input["type"], "integer");
    let call = |input: serde_json::Value| {
        Request::Action(ActionCall {
            name: "double".into(),
            input,
        })
    };
    let Response::Action(output) = daemon.ask(call(21.into())).unwrap() else {
        panic!()
    };
    assert_eq!(output, 42);
    let error = daemon.ask(call("x".into())).unwrap_err();
    assert_eq!(error.code, ErrorCode::Invalid);
}

#[test]
fn a_service_starts_is_left_alone_is_replaced_and_stops() {
    let daemon = Daemon::start(|builder| builder);
    let mut spec = project(&daemon, &[("db", service(&["sleep", "1000"]))]);
    let first = daemon.start_project(&spec);
    assert!(first.failures.is_empty(), "{first:?}");
    assert_eq!(first.services[0].change, Change::Started);
    let pid = first.services[0].view.pid.unwrap();
    assert_eq!(first.services[0].view.health, Health::None);

    let second = daemon.start_project(&spec);
    assert_eq!(second.services[0].change, Change::Unchanged);
    assert_eq!(second.services[0].view.pid, Some(pid));

    let db = spec.services.values_mut().next().unwrap();
    db.env.insert("LOG_LEVEL".into(), "debug".into());
    let third = daemon.start_project(&spec);
    assert_eq!(
        third.services[0].change,
        Change::Replaced(vec!["env LOG_LEVEL added".into()])
    );
    assert_ne!(third.services[0].view.pid, Some(pid));
    assert!(!common::is_alive(pid));

    let pid = third.services[0].view.pid.unwrap();
    let stopped = daemon.stop_all();
    assert_eq!(stopped.stopped.len(), 1);
    assert!(!common::is_alive(pid));
    assert_eq!(daemon.status()[0].status, ServiceState::Stopped);
    assert_eq!(daemon.stop_all().already.len(), 1);
}

#[test]
fn a_failing_start_says_why_and_what_is_blocked() {
    let daemon = Daemon::start(|builder| builder);
    let mut api = service(&[
        "sh",
        "-c",
        "echo starting >&2; echo FATAL: no database >&2; exit 3",
    ]);
    api.startup_timeout = Duration::from_secs(5);
    let mut worker = service(&["sleep", "1000"]);
    worker.dependencies.push(common::started("api"));
    worker.dependencies[0].condition = harness_model::spec::Condition::Completed;
    let cache = service(&["sleep", "1000"]);
    let spec = project(&daemon, &[("api", api), ("worker", worker), ("cache", cache)]);
    let report = daemon.start_project(&spec);
    assert_eq!(report.failures.len(), 1, "{report:?}");
    let failure = &report.failures[0];
    assert_eq!(failure.service.as_str(), "api");
    assert!(
        failure.reason.raw().starts_with("exited 3 after"),
        "{}",
        failure.reason
    );
    assert_eq!(failure.last_lines, ["starting", "FATAL: no database"]);
    assert_eq!(failure.blocked[0].as_str(), "worker");
    assert_eq!(failure.still_up[0].as_str(), "cache");
}

//! Group names in requests mean the services of the group.

#![cfg(test)]

mod common;

use common::{Daemon, project, selector, service};
use harness_model::{ServiceName, ServiceState};
use harness_wire::message::{
    Change, ErrorBody, ErrorCode, ExecRequest, Request, Response, StartRequest, StatusRequest, StopRequest,
    WaitFor, WaitRequest,
};

fn name(text: &str) -> ServiceName {
    ServiceName::new(text).unwrap()
}

fn names(texts: &[&str]) -> Vec<ServiceName> {
    texts.iter().map(|text| name(text)).collect()
}

fn ask_status(daemon: &Daemon, services: &[&str]) -> Result<Vec<(String, ServiceState)>, ErrorBody> {
    let request = StatusRequest {
        project: selector(),
        services: names(services),
    };
    match daemon.ask(Request::Status(request))? {
        Response::Status(report) => {
            assert_eq!(report.groups.into_keys().collect::<Vec<_>>(), names(&["stack"]));
            let services = report.services.into_iter();
            Ok(services
                .map(|view| (view.name.to_string(), view.status))
                .collect())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_name_of_a_group_means_its_services_wherever_several_may_be_named() {
    let daemon = Daemon::start(|builder| builder);
    let sleeper = || service(&["sleep", "1000"]);
    let mut app = sleeper();
    app.dependencies.push(common::started("db"));
    let mut spec = project(
        &daemon,
        &[
            ("api", sleeper()),
            ("app", app),
            ("cache", sleeper()),
            ("db", sleeper()),
        ],
    );
    spec.groups
        .insert(name("stack"), names(&["api", "db"]).into_iter().collect());

    let start = |restart: bool, services: &[&str]| {
        let request = Box::new(StartRequest {
            project: spec.clone(),
            services: names(services),
            no_deps: restart,
            prune: false,
            dry_run: false,
            rollback_on_failure: false,
            detach: false,
            project_named: false,
            environment: Default::default(),
            umask: None,
        });
        let request = if restart {
            Request::Restart(request)
        } else {
            Request::Start(request)
        };
        match daemon.ask(request)? {
            Response::Start(report) => Ok(report
                .services
                .into_iter()
                .map(|outcome| (outcome.view.name.to_string(), outcome.change))
                .collect::<Vec<_>>()),
            other => panic!("{other:?}"),
        }
    };
    let changed = |services: &[&str], change: Change| {
        let services = services.iter().map(|name| ((*name).to_owned(), change.clone()));
        Ok(services.collect::<Vec<_>>())
    };
    assert_eq!(start(false, &["stack"]), changed(&["api", "db"], Change::Started));
    assert_eq!(start(false, &["app", "cache"]).unwrap().len(), 3);
    assert_eq!(
        start(true, &["stack"]),
        changed(&["api", "db"], Change::Restarted)
    );

    let running = |name: &str| (name.to_owned(), ServiceState::Running);
    assert_eq!(
        ask_status(&daemon, &["stack", "cache", "api"]).unwrap(),
        [running("api"), running("cache"), running("db")]
    );
    // A dependent of a member keeps running, as if the member itself were stopped.
    let stop = |services: &[&str]| {
        let request = StopRequest {
            project: selector(),
            services: names(services),
            all: false,
            volumes: false,
        };
        match daemon.ask(Request::Stop(request))? {
            Response::Stop(report) => Ok((report.stopped.len(), report.already.len())),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(stop(&["stack"]), Ok((2, 0)));
    assert_eq!(stop(&["stack", "db"]), Ok((0, 2)));
    let all = ask_status(&daemon, &[]).unwrap();
    let live = all
        .into_iter()
        .filter(|(_, state)| *state == ServiceState::Running);
    assert_eq!(live.collect::<Vec<_>>(), [running("app"), running("cache")]);
    let waited = daemon.ask(Request::Wait(WaitRequest {
        project: selector(),
        services: names(&["stack"]),
        until: WaitFor::Stopped,
    }));
    assert!(
        matches!(waited, Ok(Response::Status(report)) if report.services.len() == 2),
        "two have stopped"
    );

    let exec = daemon.ask(Request::Exec(ExecRequest {
        project: selector(),
        service: name("stack"),
        command: vec!["true".to_owned()],
        terminal: None,
        stdin: false,
        env: Default::default(),
        user: None,
        working_dir: None,
    }));
    let refused = exec.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Invalid);
    assert_eq!(refused.hint.unwrap(), "name one of its services: api, db");
    for refused in [
        ask_status(&daemon, &["stakc"]).err(),
        start(false, &["stakc"]).err(),
        stop(&["stakc"]).err(),
    ] {
        assert_eq!(refused.unwrap().hint.unwrap(), "did you mean `stack`?");
    }
}

//! A daemon on one executor and its client on another: neither may need its own runtime.

#![cfg(test)]

mod common;

use std::pin::Pin;
use std::sync::Arc;

use common::{Daemon, is_alive, project, selector, service};
use harness_core::{ConnectOptions, DaemonBuilder, Home, Session, connect};
use harness_model::{ServiceName, ServiceState};
use harness_wire::message::{DaemonStopRequest, Request, Response, StatusRequest};

type Run = fn(DaemonBuilder) -> Result<(), harness_core::lifecycle::DaemonError>;
type Spawn = Arc<dyn Fn(Pin<Box<dyn Future<Output = ()> + Send>>) + Send + Sync>;

fn on_tokio(daemon: DaemonBuilder) -> Result<(), harness_core::lifecycle::DaemonError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    runtime.block_on(async { tokio::spawn(daemon.run()).await.unwrap() })
}

fn on_async_executor(daemon: DaemonBuilder) -> Result<(), harness_core::lifecycle::DaemonError> {
    let executor = async_executor::Executor::new();
    let task = executor.spawn(daemon.run());
    futures_lite::future::block_on(executor.run(task))
}

/// Asks for the status and ends the daemon with its services.
async fn client(home: Home, spawn: Spawn) {
    let options = ConnectOptions {
        home,
        port: None,
        autostart: false,
        on_autostart: Box::new(|_| {}),
    };
    let Session { client, driver, .. } = connect(&options).await.unwrap();
    spawn(driver);
    let status = Request::Status(StatusRequest {
        project: selector(),
        services: Vec::new(),
    });
    let Response::Status(status) = client.request(status).await.unwrap() else {
        panic!()
    };
    assert_eq!(status.services[0].status, ServiceState::Running);
    let stop = Request::DaemonStop(DaemonStopRequest {
        services: true,
        successor: None,
    });
    let Response::DaemonStop(report) = client.request(stop).await.unwrap() else {
        panic!()
    };
    assert_eq!(report.stopped[0].services, [ServiceName::new("db").unwrap()]);
}

fn story(run: Run, client: impl FnOnce(Home)) {
    let daemon = Daemon::start_under(run);
    let report = daemon.start_project(&project(&daemon, &[("db", service(&["sleep", "1000"]))]));
    let pid = report.services[0].view.pid.unwrap();
    client(Home::at(daemon.home.path()));
    daemon.join();
    assert!(!is_alive(pid));
}

#[test]
fn a_daemon_on_smol_and_a_client_on_tokio() {
    story(
        |daemon| smol::block_on(daemon.run()),
        |home| {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .build()
                .unwrap();
            let handle = runtime.handle().clone();
            runtime.block_on(client(home, Arc::new(move |task| drop(handle.spawn(task)))));
        },
    );
}

#[test]
fn a_daemon_on_tokio_and_a_client_on_async_executor() {
    story(on_tokio, |home| {
        let executor = Arc::new(async_executor::Executor::new());
        let spawner = Arc::clone(&executor);
        let client = client(home, Arc::new(move |task| spawner.spawn(task).detach()));
        futures_lite::future::block_on(executor.run(client));
    });
}

#[test]
fn a_daemon_on_async_executor_and_a_client_on_smol() {
    story(on_async_executor, |home| {
        smol::block_on(client(home, Arc::new(|task| smol::spawn(task).detach())));
    });
}

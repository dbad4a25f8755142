//! A daemon in a thread of the test, with its own home, and helpers to send requests to it.
#![allow(dead_code, reason = "not every test uses all of it")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use harness_core::lifecycle::DaemonError;
use harness_core::{ConnectOptions, DaemonBuilder, Home, Session, connect};
use harness_model::spec::{Condition, Dependency};
use harness_model::{ProjectName, ProjectSpec, ServiceName, ServiceSpec};
use harness_wire::client::ClientError;
use harness_wire::message::{
    DaemonStopRequest, ErrorBody, ProjectSelector, Request, Response, ServiceView, StartReport, StartRequest,
    StatusRequest, StopReport, StopRequest,
};

pub(crate) struct Daemon {
    pub(crate) home: tempfile::TempDir,
    thread: Option<JoinHandle<Result<(), DaemonError>>>,
}

pub(crate) fn shim() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples")
        .join("core_shim")
}

impl Daemon {
    pub(crate) fn start(configure: impl FnOnce(DaemonBuilder) -> DaemonBuilder + Send + 'static) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), configure)
    }

    pub(crate) fn start_in(
        home: tempfile::TempDir,
        configure: impl FnOnce(DaemonBuilder) -> DaemonBuilder + Send + 'static,
    ) -> Self {
        Self::spawn(home, configure, |daemon| smol::block_on(daemon.run()))
    }

    /// A daemon that another executor runs.
    pub(crate) fn start_under(run: fn(DaemonBuilder) -> Result<(), DaemonError>) -> Self {
        Self::spawn(tempfile::tempdir().unwrap(), |builder| builder, run)
    }

    fn spawn(
        home: tempfile::TempDir,
        configure: impl FnOnce(DaemonBuilder) -> DaemonBuilder + Send + 'static,
        run: fn(DaemonBuilder) -> Result<(), DaemonError>,
    ) -> Self {
        let builder = configure(
            DaemonBuilder::new("test-daemon", Home::at(home.path()))
                .port(0)
                .shim(shim()),
        );
        let thread =
            std::thread::spawn(move || run(builder).inspect_err(|error| eprintln!("daemon: {error:?}")));
        let daemon = Self {
            home,
            thread: Some(thread),
        };
        daemon.wait_until_up();
        daemon
    }

    /// Waits until it has ended after a request.
    pub(crate) fn join(mut self) {
        let thread = self.thread.take().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while !thread.is_finished() {
            assert!(Instant::now() < deadline, "the daemon does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
        thread.join().unwrap().unwrap();
    }

    fn wait_until_up(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        let info = self.home.path().join("daemon.json");
        while !info.exists() {
            let ended = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
            assert!(!ended && Instant::now() < deadline, "the daemon did not come up");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn ask(&self, request: Request) -> Result<Response, ErrorBody> {
        match self.try_ask(request) {
            Ok(response) => Ok(response),
            Err(ClientError::Refused(error)) => Err(error),
            Err(error) => panic!("{error:?}"),
        }
    }

    fn try_ask(&self, request: Request) -> Result<Response, ClientError> {
        let options = ConnectOptions {
            home: Home::at(self.home.path()),
            port: None,
            autostart: false,
            on_autostart: Box::new(|_| {}),
        };
        smol::block_on(async {
            let Session { client, driver, .. } = connect(&options).await.unwrap();
            let _task = smol::spawn(driver);
            client.request(request).await
        })
    }

    pub(crate) fn start_project(&self, project: &ProjectSpec) -> StartReport {
        let request = StartRequest {
            project: project.clone(),
            services: Vec::new(),
            no_deps: false,
            prune: false,
            dry_run: false,
            rollback_on_failure: false,
            detach: false,
            project_named: false,
            environment: BTreeMap::new(),
            umask: None,
        };
        match self.ask(Request::Start(Box::new(request))).unwrap() {
            Response::Start(report) => report,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn stop_all(&self) -> StopReport {
        let request = StopRequest {
            project: selector(),
            services: Vec::new(),
            all: true,
            volumes: false,
        };
        match self.ask(Request::Stop(request)).unwrap() {
            Response::Stop(report) => report,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn status(&self) -> Vec<ServiceView> {
        let request = StatusRequest {
            project: selector(),
            services: Vec::new(),
        };
        match self.ask(Request::Status(request)).unwrap() {
            Response::Status(report) => report.services,
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            return;
        }
        let stopped = self.try_ask(Request::DaemonStop(DaemonStopRequest {
            services: true,
            successor: None,
        }));
        if std::thread::panicking() {
            return;
        }
        stopped.unwrap();
        self.thread.take().unwrap().join().unwrap().unwrap();
    }
}

pub(crate) fn selector() -> ProjectSelector {
    ProjectSelector::Named(ProjectName::new("test").unwrap())
}

pub(crate) fn project(daemon: &Daemon, services: &[(&str, ServiceSpec)]) -> ProjectSpec {
    let home = daemon.home.path();
    let name = ProjectName::new("test").unwrap();
    ProjectSpec {
        services: services
            .iter()
            .map(|(name, spec)| (ServiceName::new(name).unwrap(), spec.clone()))
            .collect(),
        ..ProjectSpec::new(name, home.join("services.yaml"), home.to_owned())
    }
}

pub(crate) fn service(words: &[&str]) -> ServiceSpec {
    ServiceSpec::process(words[0], words[1..].iter().copied())
}

pub(crate) fn started(service: &str) -> Dependency {
    Dependency {
        service: ServiceName::new(service).unwrap(),
        condition: Condition::Started,
        restart: false,
        required: true,
    }
}

pub(crate) fn is_alive(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

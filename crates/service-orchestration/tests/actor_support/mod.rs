//! An orchestrator over a home of its own, with real processes under the real shim.
#![allow(dead_code, reason = "each test program uses its part of it")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_channel::Receiver;
use async_io::Timer;
use command_executor::Local;
use futures_lite::FutureExt;
use harness_model::spec::{Condition, Dependency, RestartMode};
use harness_model::{ProjectName, ProjectSpec, ServiceName, ServiceSpec, ServiceState};
use service_orchestration::Orchestrator;
use service_orchestration::actor::{Operation, OperationEvent, StartOrder, StopOrder};
use service_orchestration::executor::{Executors, ProcessExecutor};
use service_orchestration::layout::Layout;
use service_orchestration::machine::{Change, Outcome};
use service_registry::Registry;
use service_registry::record::ServiceRecord;
use tempfile::TempDir;

/// Far longer than anything here takes (an order waits 30 s for a place that does not answer), but still a limit.
const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;
pub(crate) type Spawn = Arc<dyn Fn(Task) + Send + Sync>;

pub(crate) fn spawn_on_smol() -> Spawn {
    Arc::new(|task| smol::spawn(task).detach())
}

pub(crate) fn shim() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples/orchestration_shim")
}

pub(crate) fn project_name() -> ProjectName {
    ProjectName::new("test").unwrap()
}

pub(crate) fn name(name: &str) -> ServiceName {
    ServiceName::new(name).unwrap()
}

/// The core of a daemon, without the daemon.
pub(crate) struct Heart {
    pub(crate) orchestrator: Orchestrator,
    pub(crate) registry: Registry,
    cut: async_channel::Sender<()>,
    ended: Receiver<()>,
}

impl Heart {
    /// A core over this home, after it has taken over what is there.
    pub(crate) async fn new(home: &Path, spawn: &Spawn) -> Self {
        Self::with(home, spawn, |executors| executors).await
    }

    /// The same with more executors.
    pub(crate) async fn with(home: &Path, spawn: &Spawn, more: impl FnOnce(Executors) -> Executors) -> Self {
        let registry = Registry::open(home.join("state")).await.unwrap().registry;
        let here = Arc::new(Local::new(shim(), home));
        let executors = Executors::default().with(Arc::new(ProcessExecutor::new(here, home)));
        let executors = more(executors);
        let (orchestrator, driver) = Orchestrator::new(registry.clone(), executors, Layout::new(home));
        let (cut, cuts) = async_channel::bounded::<()>(1);
        let (end, ended) = async_channel::bounded::<()>(1);
        spawn(Box::pin(async move {
            let cut = async {
                let _ = cuts.recv().await;
            };
            driver.or(cut).await;
            drop(end);
        }));
        in_time("recovery", orchestrator.ready()).await;
        Self {
            orchestrator,
            registry,
            cut,
            ended,
        }
    }

    /// Ends in good order: drops every handle and waits until everything is written.
    pub(crate) async fn end(self) {
        drop(self.orchestrator);
        in_time("the end of the driver", self.ended.recv())
            .await
            .unwrap_err();
        self.registry.flush().await.unwrap();
    }

    /// Stops at once: nothing that has begun is finished.
    pub(crate) async fn cut(self) {
        self.cut.close();
        in_time("the end of the driver", self.ended.recv())
            .await
            .unwrap_err();
        self.registry.flush().await.unwrap();
    }

    pub(crate) fn record(&self, service: &str) -> Arc<ServiceRecord> {
        self.registry.service(&project_name(), &name(service)).unwrap()
    }

    pub(crate) fn pid(&self, service: &str) -> u32 {
        let record = self.record(service);
        record
            .pid
            .unwrap_or_else(|| panic!("{service} is {}", record.state))
    }

    /// Waits until the record of a service satisfies this.
    pub(crate) async fn until(
        &self,
        service: &str,
        what: &str,
        holds: impl Fn(&ServiceRecord) -> bool,
    ) -> Arc<ServiceRecord> {
        let end = Instant::now() + PATIENCE;
        loop {
            let record = self.record(service);
            if holds(&record) {
                return record;
            }
            assert!(Instant::now() < end, "{service} {what}: {record:?}");
            Timer::after(Duration::from_millis(2)).await;
        }
    }

    pub(crate) async fn running(&self, service: &str) -> u32 {
        let runs = |record: &ServiceRecord| record.state == ServiceState::Running && record.pid.is_some();
        self.until(service, "runs", runs).await.pid.unwrap()
    }

    /// Brings everything up, and returns what was done with each service.
    pub(crate) async fn start(&self, project: &ProjectSpec) -> BTreeMap<String, Change> {
        let order = StartOrder::whole(project.clone());
        let operation = in_time("start", self.orchestrator.start(order)).await.unwrap();
        let changes = operation
            .steps
            .iter()
            .map(|step| (step.service.to_string(), step.change))
            .collect();
        assert_eq!(finished(&operation).await, Outcome::Done);
        changes
    }

    pub(crate) async fn stop_all(&self) {
        let order = StopOrder {
            project: project_name(),
            targets: None,
        };
        let operation = in_time("stop", self.orchestrator.stop(order)).await.unwrap();
        assert_eq!(finished(&operation).await, Outcome::Done);
    }
}

pub(crate) async fn finished(operation: &Operation) -> Outcome {
    in_time("an operation", async {
        loop {
            if let OperationEvent::Finished(outcome) = operation.events.recv().await.unwrap() {
                return outcome.outcome;
            }
        }
    })
    .await
}

pub(crate) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    let late = async {
        Timer::after(PATIENCE).await;
        panic!("not within {PATIENCE:?}: {what}")
    };
    future.or(late).await
}

pub(crate) fn home() -> TempDir {
    tempfile::Builder::new().prefix("ho").tempdir().unwrap()
}

pub(crate) fn project(home: &Path, services: &[(&str, ServiceSpec)]) -> ProjectSpec {
    ProjectSpec {
        services: services
            .iter()
            .map(|(service, spec)| (name(service), spec.clone()))
            .collect(),
        ..ProjectSpec::new(project_name(), home.join("services.yaml"), home.to_owned())
    }
}

pub(crate) fn sh(script: &str) -> ServiceSpec {
    service(&["/bin/sh", "-c", script])
}

pub(crate) fn sleeper() -> ServiceSpec {
    service(&["sleep", "1000"])
}

fn service(words: &[&str]) -> ServiceSpec {
    ServiceSpec {
        startup_timeout: Duration::from_secs(20),
        ..ServiceSpec::process(words[0], words[1..].iter().copied())
    }
}

pub(crate) fn on(mut spec: ServiceSpec, dependency: &str, condition: Condition) -> ServiceSpec {
    spec.dependencies.push(Dependency {
        service: name(dependency),
        condition,
        restart: false,
        required: true,
    });
    spec
}

pub(crate) fn restarting(mut spec: ServiceSpec, mode: RestartMode) -> ServiceSpec {
    spec.restart.mode = mode;
    spec
}

pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .and_then(|(_, rest)| rest.trim_start().chars().next())
        .is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

pub(crate) fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

//! A place that does not answer: it delays neither the daemon nor any other service, orders on it end with what is
//! known, and what was asked is done when it answers again.

#![cfg(test)]

mod actor_support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actor_support::{
    Heart, finished, home, in_time, is_alive, name, project, project_name, shim, sleeper, spawn_on_smol,
};
use async_channel::{Receiver, Sender};
use async_trait::async_trait;
use command_executor::Local;
use harness_model::spec::{Kind, ServiceSpec, Settings};
use harness_model::{ServiceState, WallTime};
use service_orchestration::actor::{StartOrder, StopOrder};
use service_orchestration::executor::{
    CommandAnswer, Description, Executor, Expiry, Fate, Instance, KindOf, Known, LaunchError, Order,
    PlaceCommand, ProcessExecutor, RunTrace, Session, SessionError,
};
use service_orchestration::machine::{Change, Ended, FailureCause, Lost, Outcome};
use service_registry::address::Wants;

/// Runs services of a type of its own on this machine, behind a link that can be cut.
#[derive(Clone)]
struct Far {
    types: &'static [&'static str],
    processes: Arc<ProcessExecutor>,
    home: PathBuf,
    /// Closed while the link is whole.
    link: Receiver<()>,
}

struct FarInstance {
    near: Arc<dyn Instance>,
    link: Receiver<()>,
    told: async_lock::Mutex<bool>,
}

impl Far {
    /// With a link that is whole once the sender is gone.
    fn new(home: &Path) -> (Self, Sender<()>) {
        let (cut, link) = async_channel::bounded(1);
        let home = home.join("far");
        let here = Arc::new(Local::new(shim(), &home));
        let processes = Arc::new(ProcessExecutor::new(here, &home));
        let far = Self {
            types: &["far"],
            processes,
            home,
            link,
        };
        (far, cut)
    }

    async fn reached(&self) {
        // Nothing is ever sent; it is closed.
        let _ = self.link.recv().await;
    }

    /// The order as it is carried out there.
    fn near(&self, order: &Order) -> Order {
        let run_dir = self.home.join(order.generation.to_string());
        Order {
            run_dir,
            spec: Arc::new(sleeper()),
            ..order.clone()
        }
    }

    fn behind(&self, known: Known) -> Known {
        match known {
            Known::Running(near) => Known::Running(Arc::new(FarInstance {
                near,
                link: self.link.clone(),
                told: async_lock::Mutex::new(false),
            })),
            other => other,
        }
    }
}

impl KindOf for Far {
    fn types(&self) -> &'static [&'static str] {
        self.types
    }

    fn wants(&self, _: &ServiceSpec) -> Wants {
        Wants::Local
    }

    fn describe(&self, _: &ServiceSpec) -> Description {
        Description::default()
    }
}

#[async_trait]
impl Executor for Far {
    async fn survey(&self) {
        self.reached().await;
    }

    async fn launch(&self, order: &Order) -> Fate {
        let (far, near) = (self.clone(), self.near(order));
        if self.link.is_closed() {
            let known = far.processes.launch(&near).await.settled(drop).await;
            return Fate::Known(far.behind(known));
        }
        Fate::NotKnownYet {
            why: "the link was lost amid the launch".into(),
            later: Box::pin(async move {
                far.reached().await;
                let known = far.processes.launch(&near).await.settled(drop).await;
                far.behind(known)
            }),
        }
    }

    async fn adopt(&self, order: &Order, trace: Option<&RunTrace>) -> Fate {
        self.reached().await;
        let known = self.processes.adopt(&self.near(order), trace).await;
        Fate::Known(self.behind(known.settled(drop).await))
    }

    async fn exec(&self, order: &Order, command: &PlaceCommand) -> Result<Box<dyn Session>, LaunchError> {
        self.reached().await;
        self.processes.exec(&self.near(order), command).await
    }

    async fn run(
        &self,
        order: &Order,
        command: &PlaceCommand,
        expiry: Expiry<'_>,
    ) -> Result<CommandAnswer, LaunchError> {
        self.reached().await;
        self.processes.run(&self.near(order), command, expiry).await
    }
}

#[async_trait]
impl Instance for FarInstance {
    fn pid(&self) -> Option<u32> {
        self.near.pid()
    }

    fn root_pid(&self) -> Option<u32> {
        self.near.root_pid()
    }

    fn started_at(&self) -> WallTime {
        self.near.started_at()
    }

    async fn contact(&self) -> Option<Lost> {
        let mut told = self.told.lock().await;
        if !*told && !self.link.is_closed() {
            *told = true;
            return Some(Lost::Contact("the link is lost".into()));
        }
        let _ = self.link.recv().await;
        if std::mem::take(&mut *told) {
            return None;
        }
        futures_lite::future::pending().await
    }

    async fn wait(&self) -> Ended {
        self.near.wait().await
    }

    async fn stop(&self) {
        let _ = self.link.recv().await;
        self.near.stop().await;
    }

    async fn kill(&self) {
        let _ = self.link.recv().await;
        self.near.kill().await;
    }

    async fn write_stdin(&self, bytes: &[u8]) -> Result<(), SessionError> {
        self.near.write_stdin(bytes).await
    }

    async fn close_stdin(&self) {
        self.near.close_stdin().await;
    }

    async fn resize(&self, columns: u16, rows: u16) {
        self.near.resize(columns, rows).await;
    }

    async fn signal(&self, signal: i32) -> Result<(), SessionError> {
        self.near.signal(signal).await
    }
}

fn far_service() -> ServiceSpec {
    ServiceSpec::new(Kind::Other {
        type_name: "far".to_owned(),
        settings: Settings::default(),
    })
}

#[test]
fn a_silent_place_delays_neither_the_daemon_nor_another_service() {
    smol::block_on(async {
        let (home, spawn) = (home(), spawn_on_smol());
        let spec = project(home.path(), &[("db", sleeper()), ("far", far_service())]);
        let first = Heart::with(home.path(), &spawn, |with| {
            with.with(Arc::new(Far::new(home.path()).0))
        })
        .await;
        first.start(&spec).await;
        let (db, far) = (first.running("db").await, first.running("far").await);
        first.cut().await;

        let (executor, link) = Far::new(home.path());
        // Another one is as silent, and has no service that one could wait for.
        let farther = Far {
            types: &["farther"],
            home: home.path().join("farther"),
            ..executor.clone()
        };
        let began = Instant::now();
        let second = Heart::with(home.path(), &spawn, |with| {
            with.with(Arc::new(executor)).with(Arc::new(farther))
        })
        .await;
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        assert_eq!(second.running("db").await, db);
        assert_eq!(second.record("far").state, ServiceState::Unknown);
        // What is in reach can be started and stopped meanwhile.
        let order = StopOrder {
            project: project_name(),
            targets: Some([name("db")].into()),
        };
        let operation = in_time("stop", second.orchestrator.stop(order)).await.unwrap();
        assert_eq!(finished(&operation).await, Outcome::Done);
        assert!(!is_alive(db));
        // Orders on it end with what is known.
        let order = StopOrder {
            project: project_name(),
            targets: None,
        };
        let operation = in_time("stop", second.orchestrator.stop(order)).await.unwrap();
        let Outcome::Failed(roots) = finished(&operation).await else {
            panic!("a stop of what cannot be reached is not done");
        };
        assert_eq!(
            (roots[0].service.as_str(), &roots[0].cause),
            ("far", &FailureCause::NotReached)
        );
        assert!(is_alive(far));
        // The wish stays.
        drop(link);
        second
            .until("far", "is stopped", |record| {
                record.state == ServiceState::Stopped
            })
            .await;
        assert!(!is_alive(far));
        second.end().await;
    });
}

#[test]
fn a_launch_whose_answer_is_lost_is_neither_doubled_nor_forgotten() {
    smol::block_on(async {
        let (home, spawn) = (home(), spawn_on_smol());
        let (executor, link) = Far::new(home.path());
        let spec = project(home.path(), &[("far", far_service())]);
        let heart = Heart::with(home.path(), &spawn, |with| with.with(Arc::new(executor))).await;
        let order = StartOrder::whole(spec.clone());
        let operation = in_time("start", heart.orchestrator.start(order)).await.unwrap();
        heart
            .until("far", "is unknown", |record| {
                record.state == ServiceState::Unknown
            })
            .await;
        let record = heart.record("far");
        // Nothing is launched while the executor has not answered since the daemon started.
        assert!(record.error.is_some(), "{record:?}");
        drop(link);
        assert_eq!(finished(&operation).await, Outcome::Done);
        let pid = heart.running("far").await;
        assert_eq!(heart.record("far").generation, 1);
        assert_eq!(heart.start(&spec).await["far"], Change::Unchanged);
        assert_eq!(heart.running("far").await, pid);
        heart.stop_all().await;
        assert!(!is_alive(pid));
        heart.end().await;
    });
}

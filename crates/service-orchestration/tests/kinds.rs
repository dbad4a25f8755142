//! What the actor asks of a kind, and what it does if nobody answers.

#![cfg(test)]

mod actor_support;

use std::sync::Arc;
use std::time::Duration;

use actor_support::{Heart, home, in_time, name, project, sleeper, spawn_on_smol};
use async_trait::async_trait;
use harness_model::ServiceSpec;
use harness_model::spec::{HealthCheck, HttpCheck, Kind, Place, Probe, Setting, Settings};
use service_orchestration::actor::StartOrder;
use service_orchestration::executor::{
    CommandAnswer, Description, Executor, Expiry, Fate, KindOf, LaunchError, Order, PlaceCommand, RunTrace,
    Session,
};
use service_registry::address::Wants;

/// A type whose executor gives this answer, and launches nothing.
struct Odd(Wants);

#[async_trait]
impl KindOf for Odd {
    fn types(&self) -> &'static [&'static str] {
        &["odd"]
    }
    fn wants(&self, _spec: &ServiceSpec) -> Wants {
        self.0.clone()
    }
    fn describe(&self, _spec: &ServiceSpec) -> Description {
        Description {
            more: vec![("oddness".to_owned(), "great".to_owned())],
            ..Description::default()
        }
    }
}

fn nothing_runs() -> LaunchError {
    LaunchError::Refused {
        why: "nothing odd runs here".to_owned(),
    }
}

#[async_trait]
impl Executor for Odd {
    async fn launch(&self, _order: &Order) -> Fate {
        Fate::never(nothing_runs())
    }
    async fn adopt(&self, _order: &Order, _trace: Option<&RunTrace>) -> Fate {
        Fate::never(LaunchError::NeverStarted)
    }
    async fn exec(&self, _order: &Order, _command: &PlaceCommand) -> Result<Box<dyn Session>, LaunchError> {
        Err(nothing_runs())
    }
    async fn run(
        &self,
        _order: &Order,
        _command: &PlaceCommand,
        _expiry: Expiry<'_>,
    ) -> Result<CommandAnswer, LaunchError> {
        Err(nothing_runs())
    }
}

fn odd() -> ServiceSpec {
    ServiceSpec::new(Kind::Other {
        type_name: "odd".to_owned(),
        settings: Settings::default(),
    })
}

fn start(wants: Option<Wants>, spec: ServiceSpec) -> Result<(), String> {
    smol::block_on(async {
        let home = home();
        let spawn = spawn_on_smol();
        let heart = Heart::with(home.path(), &spawn, |executors| match wants {
            Some(wants) => executors.with(Arc::new(Odd(wants))),
            None => executors,
        })
        .await;
        let project = project(home.path(), &[("strange", spec), ("plain", sleeper())]);
        let order = StartOrder::whole(project);
        let started = in_time("start", heart.orchestrator.start(order)).await;
        if started.is_ok() {
            heart.stop_all().await;
        }
        heart.end().await;
        started.map(drop).map_err(|error| format!("{error}: {error:?}"))
    })
}

#[test]
fn a_service_without_addresses_is_never_passed_over() {
    let refused = start(Some(Wants::Elsewhere), odd()).unwrap_err();
    assert!(
        refused.contains("strange: it is not known which addresses it wants"),
        "{refused}"
    );
    start(Some(Wants::Nothing), odd()).unwrap();
}

#[test]
fn a_type_without_an_executor_is_refused_by_its_name() {
    let refused = start(None, odd()).unwrap_err();
    assert!(refused.contains("\"odd\""), "{refused}");
    let mut far = sleeper();
    far.place = Place::Node("edge".to_owned());
    let refused = start(None, far).unwrap_err();
    assert!(refused.contains("\"remote\""), "{refused}");
}

#[test]
fn a_probe_that_nobody_registered_is_refused_by_its_name() {
    let mut probed = odd();
    probed.health_check = Some(HealthCheck {
        probe: Probe::Other {
            name: "ticks".to_owned(),
            setting: Setting::Number(3.into()),
        },
        http: HttpCheck::default(),
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        retries: 3,
        start_period: Duration::ZERO,
    });
    let refused = start(Some(Wants::Nothing), probed).unwrap_err();
    assert!(refused.contains("NoProbe { name: \"ticks\" }"), "{refused}");
}

/// An executor that knows only this machine would run it here.
#[test]
fn a_type_is_not_run_here_if_it_belongs_on_a_node() {
    let mut far = odd();
    far.place = Place::Node("edge".to_owned());
    let refused = start(Some(Wants::Nothing), far).unwrap_err();
    assert!(refused.contains("NotOnNode"), "{refused}");
}

/// Only what the order starts has to have an executor.
#[test]
fn others_start_beside_a_type_without_an_executor() {
    smol::block_on(async {
        let home = home();
        let spawn = spawn_on_smol();
        let heart = Heart::new(home.path(), &spawn).await;
        let project = project(home.path(), &[("strange", odd()), ("plain", sleeper())]);
        let mut order = StartOrder::whole(project);
        order.targets = Some([name("plain")].into());
        in_time("start", heart.orchestrator.start(order)).await.unwrap();
        heart.running("plain").await;
        heart.stop_all().await;
        heart.end().await;
    });
}

#[test]
fn a_kind_describes_itself() {
    smol::block_on(async {
        let home = home();
        let spawn = spawn_on_smol();
        let with = |executors: service_orchestration::executor::Executors| {
            executors.with(Arc::new(Odd(Wants::Nothing)))
        };
        let heart = Heart::with(home.path(), &spawn, with).await;
        let described = heart.orchestrator.describe(&odd());
        assert_eq!(described.more, [("oddness".to_owned(), "great".to_owned())]);
        let described = heart.orchestrator.describe(&sleeper());
        assert_eq!(described.command, "sleep 1000");
        heart.end().await;
    });
}

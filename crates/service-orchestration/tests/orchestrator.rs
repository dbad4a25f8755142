//! What a new orchestrator does with what another one left when it was cut off at some instant.

#![cfg(test)]

mod actor_support;

use std::collections::BTreeMap;
use std::time::Duration;

use actor_support::{
    Heart, finished, home, in_time, is_alive, kill, name, on, project, project_name, restarting, sh, sleeper,
    spawn_on_smol,
};
use harness_model::spec::{Condition, HealthCheck, Probe, RestartMode};
use harness_model::{Health, Redactor, ServiceState, Template, WallTime};
use service_orchestration::actor::{StartOrder, StopOrder};
use service_orchestration::layout::Layout;
use service_orchestration::machine::{Change, FailureCause, Outcome};
use service_registry::address::Wants;
use service_registry::record::{ProjectRecord, ServiceRecord};
use service_registry::{ChangeKind, Registry};

/// Ignores the first signal as long as the file exists.
const RELUCTANT: &str = "trap 'while [ -e \"$0/hold\" ]; do sleep 0.02; done; exit 0' TERM; touch \"$0/up\"; while :; do sleep 0.02; done";

async fn appears(path: &std::path::Path) {
    in_time("a file", async {
        while !path.exists() {
            async_io::Timer::after(Duration::from_millis(5)).await;
        }
    })
    .await;
}

fn reluctant(home: &std::path::Path) -> harness_model::ServiceSpec {
    sh(&RELUCTANT.replace("$0", home.to_str().unwrap()))
}

#[test]
fn a_restart_that_was_cut_off_is_carried_on() {
    smol::block_on(async {
        let home = home();
        let spawn = spawn_on_smol();
        std::fs::write(home.path().join("hold"), "").unwrap();
        let spec = project(home.path(), &[("db", reluctant(home.path()))]);
        let first = Heart::new(home.path(), &spawn).await;
        first.start(&spec).await;
        let old = first.running("db").await;
        appears(&home.path().join("up")).await;
        let order = StartOrder {
            restart: true,
            ..StartOrder::whole(spec.clone())
        };
        first.orchestrator.start(order).await.unwrap();
        first
            .until("db", "is being stopped", |record| {
                record.state == ServiceState::Stopping
            })
            .await;
        first.cut().await;
        assert!(is_alive(old));

        let second = Heart::new(home.path(), &spawn).await;
        std::fs::remove_file(home.path().join("hold")).unwrap();
        second
            .until("db", "runs again", |r| {
                r.generation == 2 && r.state == ServiceState::Running
            })
            .await;
        assert!(!is_alive(old));
        second.stop_all().await;
        second.end().await;
    });
}

#[test]
fn a_stop_that_was_cut_off_is_carried_on() {
    smol::block_on(async {
        let home = home();
        let spawn = spawn_on_smol();
        std::fs::write(home.path().join("hold"), "").unwrap();
        let db = restarting(reluctant(home.path()), RestartMode::Always);
        let api = on(sleeper(), "db", Condition::Started);
        let spec = project(home.path(), &[("db", db), ("api", api)]);
        let first = Heart::new(home.path(), &spawn).await;
        first.start(&spec).await;
        let (db, api) = (first.running("db").await, first.running("api").await);
        appears(&home.path().join("up")).await;
        let order = service_orchestration::actor::StopOrder {
            project: project_name(),
            targets: None,
        };
        first.orchestrator.stop(order).await.unwrap();
        first
            .until("db", "is being stopped", |record| !record.wanted)
            .await;
        first.cut().await;

        let second = Heart::new(home.path(), &spawn).await;
        std::fs::remove_file(home.path().join("hold")).unwrap();
        for service in ["api", "db"] {
            second
                .until(service, "stopped", |record| record.state == ServiceState::Stopped)
                .await;
        }
        assert!(!is_alive(db) && !is_alive(api));
        second.end().await;
    });
}

#[test]
fn what_was_launched_and_not_yet_recorded_is_adopted_and_left_alone() {
    smol::block_on(async {
        let home = home();
        let spawn = spawn_on_smol();
        let mut db = sleeper();
        let first = Heart::new(home.path(), &spawn).await;
        first.start(&project(home.path(), &[("db", db.clone())])).await;
        let before = first.record("db");
        db.env.insert("LOG_LEVEL".into(), "debug".into());
        let spec = project(home.path(), &[("db", db)]);
        first.start(&spec).await;
        let pid = first.running("db").await;
        let after = first.record("db");
        assert_eq!((before.generation, after.generation), (1, 2));
        let registry = first.registry.clone();
        first.cut().await;
        // The state on disk after the order was accepted, but before the new generation was recorded.
        let mut stale = (*before).clone();
        stale.spec = after.spec.clone();
        stale.digest = after.digest.clone();
        stale.state = ServiceState::Stopping;
        registry.upsert_service(stale, ChangeKind::State, "stopping");
        registry.flush().await.unwrap();
        drop(registry);

        let second = Heart::new(home.path(), &spawn).await;
        assert_eq!(second.running("db").await, pid);
        second.start(&spec).await;
        assert_eq!(second.pid("db"), pid);
        second.stop_all().await;
        assert!(!is_alive(pid));
        second.end().await;
    });
}

#[test]
fn what_was_recorded_and_never_launched_is_launched() {
    smol::block_on(async {
        let home = home();
        let spawn = spawn_on_smol();
        let spec = project(home.path(), &[("db", sleeper())]);
        let first = Heart::new(home.path(), &spawn).await;
        first.start(&spec).await;
        let record = first.record("db");
        first.stop_all().await;
        let registry = first.registry.clone();
        first.cut().await;
        let mut starting = (*record).clone();
        starting.state = ServiceState::Starting;
        starting.generation = 2;
        starting.pid = None;
        starting.trace = None;
        registry.upsert_service(starting, ChangeKind::State, "starting");
        registry.flush().await.unwrap();
        drop(registry);

        let second = Heart::new(home.path(), &spawn).await;
        let pid = second.running("db").await;
        assert!(is_alive(pid) && second.record("db").generation > 2);
        second.stop_all().await;
        second.end().await;
    });
}

#[test]
fn what_ends_while_nobody_looks_is_restarted_by_its_policy_or_reported() {
    smol::block_on(async {
        let home = home();
        let spawn = spawn_on_smol();
        let services = [
            ("again", restarting(sleeper(), RestartMode::OnFailure)),
            ("once", sleeper()),
        ];
        let spec = project(home.path(), &services);
        let first = Heart::new(home.path(), &spawn).await;
        first.start(&spec).await;
        let pids = [first.running("again").await, first.running("once").await];
        first.end().await;
        pids.into_iter().for_each(kill);
        let second = Heart::new(home.path(), &spawn).await;
        second
            .until("again", "was restarted", |record| record.restarts == 1)
            .await;
        assert_ne!(second.running("again").await, pids[0]);
        let once = second
            .until("once", "failed", |record| record.state == ServiceState::Failed)
            .await;
        assert!(
            once.error.as_deref().unwrap().contains("SIGKILL"),
            "{:?}",
            once.error
        );
        second.stop_all().await;
        second.end().await;
    });
}

#[test]
fn a_line_that_told_health_and_was_rotated_away_still_tells_it_to_the_next_one() {
    smol::block_on(async {
        let home = home();
        let spawn = spawn_on_smol();
        // It fills its log only once it has been seen ready, so rotation drops lines that nobody has looked at yet.
        let go = home.path().join("go");
        let mut chatty = sh(&format!(
            "echo ready; until [ -e {} ]; do sleep 0.01; done; i=0; \
             while [ $i -lt 4000 ]; do echo filling $i; i=$((i+1)); done; echo full; exec sleep 1000",
            go.display()
        ));
        chatty.logs.max_size = 16 << 10;
        chatty.logs.max_files = 2;
        chatty.health_check = Some(HealthCheck {
            http: Default::default(),
            probe: Probe::Log("^ready$".to_owned()),
            interval: Duration::from_millis(50),
            timeout: Duration::from_millis(200),
            retries: 1,
            start_period: Duration::ZERO,
        });
        let spec = project(home.path(), &[("chatty", chatty)]);
        let first = Heart::new(home.path(), &spawn).await;
        first.start(&spec).await;
        let pid = first.running("chatty").await;
        std::fs::write(&go, "").unwrap();
        let run_dir = Layout::new(home.path()).generation(&project_name(), &name("chatty"), 1);
        in_time("rotation", async {
            loop {
                let lines = service_orchestration::logs::last_lines(&run_dir, 1, &Redactor::default())
                    .await
                    .unwrap();
                if lines.lines.first().is_some_and(|line| line.starts_with(b"full")) {
                    break;
                }
                async_io::Timer::after(Duration::from_millis(5)).await;
            }
        })
        .await;
        first.end().await;

        let second = Heart::new(home.path(), &spawn).await;
        second
            .until("chatty", "is healthy", |record| record.health == Health::Healthy)
            .await;
        // It would become unhealthy after one interval and one timeout.
        let unhealthy = async {
            second
                .until("chatty", "is unhealthy", |record| {
                    record.health != Health::Healthy
                })
                .await;
            panic!("it is not healthy any more");
        };
        let good = async_io::Timer::after(Duration::from_millis(600));
        futures_lite::future::or(unhealthy, async { _ = good.await }).await;
        assert_eq!(second.pid("chatty"), pid);
        second.stop_all().await;
        second.end().await;
    });
}

#[test]
fn old_run_directories_go_and_the_newest_stay() {
    smol::block_on(async {
        let home = home();
        let spawn = spawn_on_smol();
        let spec = project(home.path(), &[("db", sleeper())]);
        let heart = Heart::new(home.path(), &spawn).await;
        for _ in 0..12 {
            heart.start(&spec).await;
            heart.running("db").await;
            heart.stop_all().await;
        }
        let kept = Layout::new(home.path()).generations(&project_name(), &name("db"));
        assert_eq!(kept.last(), Some(&12));
        assert!(kept.len() <= 10 && kept.len() >= 9, "{kept:?}");
        heart.end().await;
    });
}

#[test]
fn what_runs_and_cannot_be_managed_is_not_started_a_second_time() {
    smol::block_on(async {
        let home = home();
        let spawn = spawn_on_smol();
        let spec = project(home.path(), &[("db", restarting(sleeper(), RestartMode::Always))]);
        let first = Heart::new(home.path(), &spawn).await;
        first.start(&spec).await;
        let pid = first.running("db").await;
        let mut record = (*first.record("db")).clone();
        let registry = first.registry.clone();
        first.cut().await;
        // Its supervisor is alive, but neither the disk nor the store says who it is, as with an earlier version.
        record.trace = None;
        registry.upsert_service(record, ChangeKind::State, "of an earlier version");
        registry.flush().await.unwrap();
        drop(registry);
        let run_dir = Layout::new(home.path()).generation(&project_name(), &name("db"), 1);
        let identity = run_dir.join("identity");
        let hidden = run_dir.join("hidden");
        std::fs::rename(&identity, &hidden).unwrap();
        let began = std::time::Instant::now();
        let second = Heart::new(home.path(), &spawn).await;
        // A supervisor may take ten seconds to say who it is. Nobody else waits for that.
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        let record = second
            .until("db", "has no known pid", |record| record.pid.is_none())
            .await;
        assert_eq!((record.generation, record.state), (1, ServiceState::Unknown));
        assert!(is_alive(pid));
        // Once it says who it is, it is managed like any other.
        std::fs::rename(&hidden, &identity).unwrap();
        assert_eq!(second.running("db").await, pid);
        second.stop_all().await;
        assert!(!is_alive(pid));
        assert_eq!(second.record("db").generation, 1);
        second.end().await;
    });
}

#[test]
fn what_has_lost_its_identity_is_managed_on_by_what_the_store_knows() {
    smol::block_on(async {
        let home = home();
        let spawn = spawn_on_smol();
        let spec = project(home.path(), &[("db", restarting(sleeper(), RestartMode::Always))]);
        let first = Heart::new(home.path(), &spawn).await;
        first.start(&spec).await;
        let pid = first.running("db").await;
        first.end().await;
        let run_dir = Layout::new(home.path()).generation(&project_name(), &name("db"), 1);
        std::fs::remove_file(run_dir.join("identity")).unwrap();
        let second = Heart::new(home.path(), &spawn).await;
        assert_eq!(second.running("db").await, pid);
        second.stop_all().await;
        assert!(!is_alive(pid));
        assert_eq!(second.record("db").generation, 1);
        second.end().await;
    });
}

#[test]
fn what_is_stopped_before_its_supervisor_says_who_it_is_is_stopped_when_it_does() {
    smol::block_on(async {
        let home = home();
        let spawn = spawn_on_smol();
        let spec = project(home.path(), &[("db", sleeper())]);
        let first = Heart::new(home.path(), &spawn).await;
        first.start(&spec).await;
        let pid = first.running("db").await;
        // As if the daemon had ended before it could record the launch.
        let record = ServiceRecord {
            trace: None,
            ..ServiceRecord::clone(&first.record("db"))
        };
        first
            .registry
            .upsert_service(record, ChangeKind::State, "as it was");
        first.end().await;
        let run_dir = Layout::new(home.path()).generation(&project_name(), &name("db"), 1);
        let (identity, hidden) = (run_dir.join("identity"), run_dir.join("hidden"));
        std::fs::rename(&identity, &hidden).unwrap();
        let second = Heart::new(home.path(), &spawn).await;
        let stop = second.stop_all();
        let reveal = async {
            second
                .until("db", "is stopping", |record| {
                    record.state == ServiceState::Stopping
                })
                .await;
            assert!(is_alive(pid));
            std::fs::rename(&hidden, &identity).unwrap();
        };
        futures_lite::future::zip(stop, reveal).await;
        assert!(!is_alive(pid));
        second.end().await;
    });
}

/// A shim of a newer version: its identity is refused with an error that names it, and the service is neither doubled
/// nor touched.
#[test]
fn what_a_newer_version_runs_is_not_started_a_second_time() {
    smol::block_on(async {
        let home = home();
        let spawn = spawn_on_smol();
        let spec = project(home.path(), &[("db", restarting(sleeper(), RestartMode::Always))]);
        let first = Heart::new(home.path(), &spawn).await;
        first.start(&spec).await;
        let pid = first.running("db").await;
        first.end().await;
        let run_dir = Layout::new(home.path()).generation(&project_name(), &name("db"), 1);
        let identity = run_dir.join("identity");
        let text = std::fs::read_to_string(&identity).unwrap();
        let newer = text.replacen("harness-identity 1", "harness-identity 2", 1);
        std::fs::write(&identity, &newer).unwrap();
        let second = Heart::new(home.path(), &spawn).await;
        second
            .until("db", "has no known pid", |record| record.pid.is_none())
            .await;
        async_io::Timer::after(Duration::from_millis(500)).await;
        assert!(is_alive(pid));
        assert_eq!(second.record("db").generation, 1);
        assert_eq!(std::fs::read_to_string(&identity).unwrap(), newer);
        std::fs::write(&identity, &text).unwrap();
        second.stop_all().await;
        assert!(!is_alive(pid));
        second.end().await;
    });
}

#[test]
fn what_a_lost_store_knew_is_found_on_the_disk() {
    smol::block_on(async {
        let home = home();
        let spawn = spawn_on_smol();
        let mut once = sh("exit 0");
        once.oneshot = true;
        let spec = project(
            home.path(),
            &[
                ("db", restarting(sleeper(), RestartMode::Always)),
                ("once", once),
                ("gone", restarting(sleeper(), RestartMode::Always)),
            ],
        );
        let first = Heart::new(home.path(), &spawn).await;
        first.start(&spec).await;
        let (db, gone) = (first.running("db").await, first.running("gone").await);
        let stop = StopOrder {
            project: project_name(),
            targets: Some([name("gone")].into()),
        };
        let stopped = in_time("stop", first.orchestrator.stop(stop)).await.unwrap();
        assert_eq!(finished(&stopped).await, Outcome::Done);
        assert!(!is_alive(gone));
        first.cut().await;
        std::fs::write(home.path().join("state"), "garbage".repeat(1000)).unwrap();

        let second = Heart::new(home.path(), &spawn).await;
        assert_eq!(second.running("db").await, db);
        let completed = |record: &ServiceRecord| record.state == ServiceState::Completed;
        second.until("once", "is known to be done", completed).await;
        // Whether it was wanted was lost with the store.
        let at_rest = |record: &ServiceRecord| record.state == ServiceState::Stopped;
        second.until("gone", "stays stopped", at_rest).await;
        let changes = second.start(&spec).await;
        assert_eq!(changes["db"], Change::Unchanged, "{changes:?}");
        assert_eq!(changes["once"], Change::Unchanged, "{changes:?}");
        assert_eq!(second.pid("db"), db);
        second.stop_all().await;
        assert!(!is_alive(db));
        second.end().await;
    });
}

#[test]
fn what_an_earlier_version_recorded_is_hidden_once_it_is_taken_over() {
    smol::block_on(async {
        let home = home();
        let spawn = spawn_on_smol();
        let mut spec = sleeper();
        let secrets = ["PASSWORD", "OTHER_PASSWORD"]
            .map(|name| (name.to_owned(), Template::secret(format!("quagga-{name}"))));
        spec.env.extend(secrets);
        let file = project(home.path(), &[("api", spec.clone())]);
        let registry = Registry::open(home.path().join("state")).await.unwrap().registry;
        let addresses = registry
            .assign_addresses(&file, &[(name("api"), Wants::Local)].into())
            .unwrap()[&name("api")]
            .clone();
        let record = ServiceRecord {
            wanted: true,
            state: ServiceState::Failed,
            error: Some("could not be launched: no quagga-PASSWORD, quagga-OTHER_PASSWORD".into()),
            last_probe: Some("exited 1: quagga-PASSWORD".into()),
            failure: serde_json::to_value(FailureCause::Launch("no quagga-OTHER_PASSWORD".into())).ok(),
            ended: None,
            is_masked: false,
            is_unreached: false,
            ..ServiceRecord::new(project_name(), name("api"), spec, BTreeMap::new(), addresses)
        };
        registry.upsert_project(
            ProjectRecord {
                name: project_name(),
                source: file.source.clone(),
                spec: file,
                created_at: WallTime::now(),
                folder: None,
                earlier_files: Vec::new(),
            },
            "as it was",
        );
        registry.upsert_service(record, ChangeKind::State, "as it was");
        registry.close().await.unwrap();
        let next = Heart::new(home.path(), &spawn).await;
        let record = next.record("api");
        let told = format!("{:?} {:?} {:?}", record.error, record.last_probe, record.failure);
        assert!(told.contains("no •••") && !told.contains("quagga"), "{told}");
        next.end().await;
    });
}

#[test]
fn what_is_kept_beside_services_is_for_their_owner_alone_and_goes_with_them() {
    use std::os::unix::fs::PermissionsExt;
    smol::block_on(async {
        let home = home();
        let spawn = spawn_on_smol();
        let heart = Heart::new(home.path(), &spawn).await;
        heart.start(&project(home.path(), &[("db", sleeper())])).await;
        let folder = Layout::new(home.path()).service(&project_name(), &name("db"));
        for file in [folder.join("record.json"), folder.join("../project.json")] {
            let mode = std::fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", file.display());
        }
        heart.stop_all().await;
        heart.cut().await;
        std::fs::remove_file(home.path().join("state")).unwrap();
        std::fs::write(folder.join("record.json"), "{").unwrap();
        let again = Heart::new(home.path(), &spawn).await;
        assert!(again.registry.project(&project_name()).is_some());
        assert!(again.registry.services(&project_name()).is_empty());
        again.end().await;
    });
}

//! Orders are carried out one after the other, even if the first has to ask the kernel about its ports. And a service
//! that is forgotten may come again before its folder is gone.

#![cfg(test)]

mod actor_support;

use std::net::TcpListener;

use actor_support::{
    Heart, finished, home, in_time, kill, name, project, project_name, restarting, sleeper, spawn_on_smol,
};
use futures_lite::future::zip;
use harness_model::ServiceState;
use harness_model::spec::{PortSpec, Protocol, RestartMode, ServiceSpec};
use service_orchestration::actor::{OrderError, StartOrder, StopOrder};
use service_orchestration::layout::{Layout, remove_discarded};
use service_orchestration::machine::{Change, Outcome};
use service_registry::record::ServiceRecord;

fn with_port(mut spec: ServiceSpec, port: u16) -> ServiceSpec {
    spec.ports = vec![PortSpec {
        name: None,
        host_ip: None,
        port,
        target: None,
        protocol: Protocol::Tcp,
        origin: None,
    }];
    spec
}

fn stop() -> StopOrder {
    StopOrder {
        project: project_name(),
        targets: None,
    }
}

#[test]
fn a_stop_comes_after_the_start_before_it_whose_ports_are_asked_about() {
    smol::block_on(async {
        let home = home();
        let spawn = spawn_on_smol();
        let heart = Heart::new(home.path(), &spawn).await;
        let spec = project(home.path(), &[("db", with_port(sleeper(), 0))]);
        let orders = &heart.orchestrator;
        for _ in 0..10 {
            // All are sent before the first is answered. If one overtook another, it would find no project, or leave
            // something running.
            let started = zip(orders.start(StartOrder::whole(spec.clone())), orders.stop(stop()));
            let again = zip(orders.start(StartOrder::whole(spec.clone())), orders.stop(stop()));
            let ((first, second), (third, last)) = in_time("the answers", zip(started, again)).await;
            drop((first.unwrap(), second.unwrap(), third.unwrap()));
            assert_eq!(finished(&last.unwrap()).await, Outcome::Done);
            assert_eq!(heart.record("db").state, ServiceState::Stopped);
        }
        heart.end().await;
    });
}

#[test]
fn a_refused_start_holds_up_nobody() {
    smol::block_on(async {
        let home = home();
        let spawn = spawn_on_smol();
        let heart = Heart::new(home.path(), &spawn).await;
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let refused = project(home.path(), &[("db", with_port(sleeper(), port))]);
        let good = project(home.path(), &[("db", sleeper())]);
        let orders = &heart.orchestrator;
        let both = zip(
            orders.start(StartOrder::whole(refused)),
            orders.start(StartOrder::whole(good)),
        );
        let (first, second) = in_time("the answers", both).await;
        match first.unwrap_err() {
            OrderError::PortsTaken(conflicts) => {
                assert_eq!(conflicts.len(), 1);
                assert_eq!(conflicts[0].holder.pid, Some(std::process::id()));
            }
            other => panic!("{other}"),
        }
        assert_eq!(finished(&second.unwrap()).await, Outcome::Done);
        heart.stop_all().await;
        heart.end().await;
    });
}

#[test]
fn a_forgotten_service_may_come_again_at_once() {
    smol::block_on(async {
        let home = home();
        let spawn = spawn_on_smol();
        let heart = Heart::new(home.path(), &spawn).await;
        let layout = Layout::new(home.path());
        let both = project(home.path(), &[("db", sleeper()), ("old", sleeper())]);
        let one = project(home.path(), &[("db", sleeper())]);
        for _ in 0..5 {
            heart.start(&both).await;
            let pid = heart.running("old").await;
            // Something that takes a while to remove.
            let newest = heart.record("old").generation;
            let folder = layout
                .generation(&project_name(), &name("old"), newest)
                .join("log");
            std::fs::create_dir_all(&folder).unwrap();
            for number in 0..200 {
                std::fs::write(folder.join(format!("extra-{number}")), "x").unwrap();
            }
            let order = StartOrder {
                prune: true,
                ..StartOrder::whole(one.clone())
            };
            let pruned = in_time("prune", heart.orchestrator.start(order)).await.unwrap();
            assert_eq!(finished(&pruned).await, Outcome::Done);
            assert!(heart.registry.service(&project_name(), &name("old")).is_none());
            assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
            assert!(!layout.service(&project_name(), &name("old")).exists());
        }
        heart.start(&both).await;
        heart.running("old").await;
        let newest = heart.record("old").generation;
        let run_dir = layout.generation(&project_name(), &name("old"), newest);
        assert!(run_dir.join("identity").exists());
        heart.stop_all().await;
        heart.end().await;
        // What a killed daemon did not get to remove is removed when the next one starts.
        let left = layout.discard_service(&project_name(), &name("old")).unwrap();
        assert!(left.exists() && layout.discarded().contains(&left));
        let next = Heart::new(home.path(), &spawn).await;
        in_time("the removal", async {
            while left.exists() {
                async_io::Timer::after(std::time::Duration::from_millis(5)).await;
            }
        })
        .await;
        remove_discarded(&left);
        next.end().await;
    });
}

#[test]
fn a_disk_that_hangs_stops_nothing_but_the_order_that_needs_it() {
    smol::block_on(async {
        let home = home();
        let spawn = spawn_on_smol();
        let heart = Heart::new(home.path(), &spawn).await;
        let spec = project(home.path(), &[("db", restarting(sleeper(), RestartMode::Always))]);
        heart.start(&spec).await;
        let before = heart.running("db").await;
        // Opening it for writing hangs until somebody reads.
        let room = home.path().join("projects/.room");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &room,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        let more = project(
            home.path(),
            &[
                ("db", restarting(sleeper(), RestartMode::Always)),
                ("more", sleeper()),
            ],
        );
        let orders = heart.orchestrator.clone();
        let order = smol::spawn(async move { orders.start(StartOrder::whole(more)).await });
        kill(before);
        let again = |record: &ServiceRecord| record.pid.is_some_and(|pid| pid != before);
        heart.until("db", "is restarted", again).await;
        assert!(!order.is_finished());
        let reader = smol::unblock(move || std::fs::File::open(room)).await.unwrap();
        let refused = in_time("the answer", order).await.unwrap_err();
        assert!(matches!(refused, OrderError::NoRoom(_)), "{refused}");
        drop(reader);
        assert_eq!(heart.start(&spec).await["db"], Change::Unchanged);
        heart.stop_all().await;
        heart.end().await;
    });
}

//! The same test under three executors.

#![cfg(test)]

mod common;

use common::{project, project_record, record, service};
use harness_model::ServiceState;
use service_registry::{ChangeKind, Item, Registry};

async fn story() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let registry = Registry::open(&path).await.unwrap().registry;
    let mut changes = registry.changes().subscribe(None);
    registry.upsert_project(project_record("shop"), "started");
    registry.upsert_service(record("shop", "db"), ChangeKind::Registered, "new");
    let mut running = record("shop", "db");
    running.state = ServiceState::Running;
    registry.upsert_service(running.clone(), ChangeKind::State, "running");

    let mut messages = Vec::new();
    for _ in 0..3 {
        let Item::Change(change) = changes.next().await else {
            panic!("missed some")
        };
        messages.push(change.message.clone());
    }
    assert_eq!(messages, ["started", "new", "running"]);
    registry.flush().await.unwrap();
    drop((registry, changes));

    let registry = Registry::open(&path).await.unwrap().registry;
    assert_eq!(
        *registry.service(&project("shop"), &service("db")).unwrap(),
        running
    );
    assert_eq!(registry.projects().len(), 1);
}

#[test]
fn smol() {
    smol::block_on(story());
}

#[test]
fn tokio() {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap()
        .block_on(async {
            tokio::spawn(story()).await.unwrap();
        });
}

#[test]
fn async_executor() {
    let executor = async_executor::Executor::new();
    let task = executor.spawn(story());
    futures_lite::future::block_on(executor.run(task));
}
